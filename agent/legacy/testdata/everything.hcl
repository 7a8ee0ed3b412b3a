# Made by deacon warden-config import from everything.yml. What isn't here is deacon's default;
# config.hcl of its sources explains every setting.

node {
  # server.container_depot_path, line 6, and a folder of our own below it
  state = "/var/vcap/data/warden/depot/deacon"
  # user.pool_start_uid, line 49
  uid_base = 70000
  # Warden dies of SIGTERM, and its containers live on
  on_term = "detach"
  # Warden drains at SIGUSR2, and its containers live on
  on_usr2 = "detach"
}

network {
  # network.pool_start_address, line 38; network.pool_size, line 39
  pool = "10.0.0.128/25"
  # port.pool_start_port, line 46
  port_first = 20000
  # port.pool_size, line 47
  port_last = 24499
  # network.mtu, line 43
  mtu = 1454
  # network.release_delay, line 40
  release_delay = "0s"
  # network.allow_networks, line 41
  allowed = ["10.1.2.3/32", "10.2.0.0/16", "192.168.0.0/16"]
  # network.allow_host_access, line 42
  host_access = true
  # network.dns_servers, line 44
  dns = ["10.1.0.2", "10.1.0.3"]
}

disk {
  # server.quota.disk_quota_enabled, line 26: nothing is limited
  driver = "none"
}

log {
  # logging.level, line 33, "all"
  level = "trace"
  # logging.file, line 34
  file = "/var/vcap/sys/log/warden/warden.log"
  # logging.syslog, line 35
  syslog = "vcap.warden"
}

warden {
  # server.unix_domain_path, line 2
  socket = "/var/vcap/data/warden/warden.sock"
  # server.unix_domain_permissions, line 3
  mode = "0770"
  # server.container_rootfs_path, line 5
  rootfs = "/var/vcap/packages/rootfs_$${lucid64}"
  # server.container_grace_time, line 7
  grace_time = "never"
  # server.job_output_limit, line 24
  job_output_limit = "100001B"
  # server.quota.disk_quota_enabled, line 26
  disk_quota = false
  # server.pidfile, line 28
  pid_file = "/var/vcap/sys/run/warden/warden.pid"
  # health_check_server.port, line 31
  health_check = "127.0.0.1:8088"
  # server.syslog_socket, line 29
  syslog_socket = "/var/vcap/sys/run/syslog"

  rlimits {
    # server.container_rlimits.as, line 9
    as = 1
    # server.container_rlimits.core, line 10
    core = 0
    # server.container_rlimits.cpu, line 11
    cpu = 3
    # server.container_rlimits.data, line 12
    data = 4
    # server.container_rlimits.fsize, line 13
    fsize = 5
    # server.container_rlimits.locks, line 14
    locks = 6
    # server.container_rlimits.memlock, line 15
    memlock = 65536
    # server.container_rlimits.msgqueue, line 16
    msgqueue = 819200
    # server.container_rlimits.nice, line 17
    nice = 9
    # server.container_rlimits.nofile, line 18
    nofile = 8
    # server.container_rlimits.nproc, line 19
    nproc = 11
    # server.container_rlimits.rss, line 20
    rss = 12
    # server.container_rlimits.rtprio, line 21
    rtprio = 13
    # server.container_rlimits.sigpending, line 22
    sigpending = 14
    # server.container_rlimits.stack, line 23
    stack = "unlimited"
  }
}

# What has no counterpart:
# - network.pool_start_address: 64 networks from 10.0.0.64 don't make one network; the pool is
#   10.0.0.128/25, with 32 of them (line 38)
# - server.allow_nested_warden: containers inside of containers are not built; a container may use
#   the few devices that every one has (line 27)
# - server.container_klass: every container is one of Linux (line 4)
# - user.pool_size: there are user ids for every container that network.pool has addresses for (line
#   50)
# - Warden needs no NATS, and its clients need none here: without a server the node serves them and
#   goes on trying nats.servers
