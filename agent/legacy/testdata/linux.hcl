# Made by deacon warden-config import from linux.yml. What isn't here is deacon's default;
# config.hcl of its sources explains every setting.

node {
  # server.container_depot_path, line 12, and a folder of our own below it
  state = "/tmp/warden/containers/deacon"
  # Warden dies of SIGTERM, and its containers live on
  on_term = "detach"
  # Warden drains at SIGUSR2, and its containers live on
  on_usr2 = "detach"
}

network {
  # network.pool_start_address, line 31; network.pool_size, line 32
  pool = "10.254.0.0/22"
  # port.pool_start_port isn't set: Warden begins above the ports that the kernel gives to
  # connections, which on the machine of the import end at 60999
  port_first = 61000
  # port.pool_size isn't set: Warden ends there
  port_last = 65000
}

log {
  # logging.level, line 28, "debug2"
  level = "debug"
}

warden {
  # server.unix_domain_path isn't set: Warden's default
  socket = "/tmp/warden.sock"
  # server.unix_domain_permissions, line 9
  mode = "0777"
  # server.container_rootfs_path, line 11
  rootfs = "/tmp/warden/rootfs"
  # server.container_grace_time, line 7
  grace_time = "300s"
  # server.job_output_limit isn't set: Warden's default
  job_output_limit = "10MiB"
  # server.quota.disk_quota_enabled, line 20
  disk_quota = true
  # health_check_server.port, line 25
  health_check = "127.0.0.1:2345"

  rlimits {
    # server.container_rlimits.as, line 15
    as = 4294967296
    # server.container_rlimits.nofile, line 16
    nofile = 8192
    # server.container_rlimits.nproc, line 17
    nproc = 512
  }
}

# What has no counterpart:
# - server.allow_nested_warden: it is never allowed (line 22)
# - server.container_klass: every container is one of Linux (line 4)
# - user.pool_start_uid: each container has 65536 user ids of its own, and they begin at
#   node.uid_base (line 35)
# - user.pool_size: there are user ids for every container that network.pool has addresses for (line
#   36)
# - network.release_delay isn't set: Warden lets addresses rest for 5 s; here they rest until the
#   kernel has let go of them
# - Warden needs no NATS, and its clients need none here: without a server the node serves them and
#   goes on trying nats.servers
