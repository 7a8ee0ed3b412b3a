# Made by deacon warden-config import from older.yml. What isn't here is deacon's default;
# config.hcl of its sources explains every setting.

node {
  # Warden dies of SIGTERM, and its containers live on
  on_term = "detach"
  # Warden drains at SIGUSR2, and its containers live on
  on_usr2 = "detach"
}

network {
  # network.pool_network isn't set: Warden's default
  pool = "10.254.0.0/24"
  # port.pool_start_port isn't set: Warden begins above the ports that the kernel gives to
  # connections, which on the machine of the import end at 60999
  port_first = 61000
  # port.pool_size isn't set: Warden ends there
  port_last = 65000
}

log {
  # logging.level isn't set: Warden's default, "debug2"
  level = "debug"
}

warden {
  # server.unix_domain_path isn't set: Warden's default
  socket = "/tmp/warden.sock"
  # server.unix_domain_permissions isn't set: Warden's default
  mode = "0755"
  # server.container_grace_time, line 9
  grace_time = "20s"
  # server.job_output_limit isn't set: Warden's default
  job_output_limit = "10MiB"
  # server.quota.disk_quota_enabled isn't set: Warden's default
  disk_quota = true
  # health_check_server.port isn't set: Warden's default
  health_check = "127.0.0.1:2345"
}

# What has no counterpart:
# - server.container_klass isn't set: Warden's containers are without isolation then, and here every
#   one is isolated
# - server.container_rootfs_path isn't set: Warden looks below its own folder then; here containers
#   get the stack host, which is made of the machine's own /usr. warden.rootfs names another
# - server.container_depot_path isn't set: Warden takes a place below its own folder then; here it
#   is node.state's default
# - network.release_delay isn't set: Warden lets addresses rest for 5 s; here they rest until the
#   kernel has let go of them
# - Warden needs no NATS, and its clients need none here: without a server the node serves them and
#   goes on trying nats.servers
