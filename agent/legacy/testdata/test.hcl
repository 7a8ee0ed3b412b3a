# Made by deacon warden-config import from test.yml. What isn't here is deacon's default; config.hcl
# of its sources explains every setting.

node {
  # Warden dies of SIGTERM, and its containers live on
  on_term = "detach"
  # Warden drains at SIGUSR2, and its containers live on
  on_usr2 = "detach"
}

network {
  # network.pool_network, line 15
  pool = "10.244.0.0/22"
  # port.pool_start_port isn't set: Warden begins above the ports that the kernel gives to
  # connections, which on the machine of the import end at 60999
  port_first = 61000
  # port.pool_size isn't set: Warden ends there
  port_last = 65000
}

disk {
  # server.quota.disk_quota_enabled, line 9: nothing is limited
  driver = "none"
}

log {
  # logging.level, line 12, "fatal"
  level = "error"
  # logging.file, line 13
  file = "/tmp/warden-test.log"
}

warden {
  # server.unix_domain_path, line 4
  socket = "/tmp/warden-test.sock"
  # server.unix_domain_permissions isn't set: Warden's default
  mode = "0755"
  # server.container_grace_time, line 6
  grace_time = "1s"
  # server.job_output_limit, line 7
  job_output_limit = "100KiB"
  # server.quota.disk_quota_enabled, line 9
  disk_quota = false
  # server.pidfile, line 10
  pid_file = "/tmp/warden-test.pid"
  # health_check_server.port isn't set: Warden's default
  health_check = "127.0.0.1:2345"
}

# What has no counterpart:
# - server.container_klass: containers without isolation are not built; every container is isolated
#   (line 5)
# - server.container_rootfs_path isn't set: Warden looks below its own folder then; here containers
#   get the stack host, which is made of the machine's own /usr. warden.rootfs names another
# - server.container_depot_path isn't set: Warden takes a place below its own folder then; here it
#   is node.state's default
# - network.release_delay isn't set: Warden lets addresses rest for 5 s; here they rest until the
#   kernel has let go of them
# - Warden needs no NATS, and its clients need none here: without a server the node serves them and
#   goes on trying nats.servers
