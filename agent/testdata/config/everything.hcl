node {
  state            = "/srv/deacon/"
  id               = "n1"
  address          = "192.0.2.7"
  index            = 3
  zone             = "z2"
  uid_base         = 2000000
  on_term          = "shutdown"
  on_reboot        = "report"
  on_usr2          = "detach"
  shutdown_timeout = "1m30s"
  evacuate_within  = "15m"
  init             = "/opt/deacon-init"
}
nats {
  servers  = ["tls://a:4222", "nats://b"]
  user     = "u"
  password = env("DEACON_TEST_PASSWORD")
  tls {
    ca   = "/c/ca.pem"
    cert = "/c/cert.pem"
    key  = "/c/key.pem"
  }
}
resources {
  memory            = "4GiB"
  memory_overcommit = 1.5
  disk              = "1TiB"
  disk_overcommit   = 2
}
intervals {
  heartbeat       = "9s"
  advertise       = "1500ms"
  router_register = "1m"
}
instance {
  health_check_timeout      = "2m"
  stop_grace                = "0s"
  memory_to_cpu_share_ratio = 4
  cpu_shares_min            = 2
  cpu_shares_max            = 512
  disk_inodes               = 5000
  processes                 = 64
  crash_lifetime            = "24h"
  output_max                = "128KiB"
  starts_max                = 4
  sessions_max              = 7
  log_rate                  = 100
  log_line_max              = "1KiB"
  spares                    = 0
  bandwidth {
    rate  = "5MiB"
    burst = "256KiB"
  }
}
hooks {
  before_start = "/h/1"
  after_start  = "/h/2"
  before_stop  = "/h/3/"
  after_stop   = "/h/4"
  post_setup   = "export A=1\n"
  hook_timeout = "2m"
}
runtime "ruby19" {
  executable        = "/opt/ruby"
  version_flag      = "-v"
  version_output    = "1\\.9"
  additional_checks = "-e 'puts true'"
  environment       = { B = "2", A = "$B" }
  debug_env         = { run = "X=1\nY=a=b", suspend = "" }
}
bind_mount "/data" {
  source = "/srv/data"
  access = "rw"
}
bind_mount "/home/vcap/models" {
  source = "/srv/models/"
}
runtime "java" {
  executable = "java"
}
network {
  pool       = "10.9.0.0/20"
  port_first = 2000
  port_last  = 2999
  mtu        = 1400
  egress     = "reject"
  denied     = ["192.168.0.0/16"]
  allowed    = ["192.0.2.0/24"]
  host_access   = true
  release_delay = "5s"
  dns        = ["192.0.2.53"]
  loopback   = false
}
disk {
  driver    = "btrfs"
  pool_size = "2GiB"
}
stack "lucid64" {
  path = "/stacks/lucid64"
}
stack "host" {}
log {
  level  = "debug"
  format = "json"
  file   = "/var/log/deacon.log"
  syslog = "deacon-1"
}
status {
  listen        = "127.0.0.1:0"
  user          = "m"
  password_file = "/c/password"
  tls {
    cert = "/c/s.pem"
    key  = "/c/s.key"
  }
}
warden {
  socket           = "/run/./warden.sock"
  mode             = "0770"
  group            = "adm"
  rootfs           = "host"
  grace_time       = "never"
  job_output_limit = "100000B"
  disk_quota       = false
  allow_nested     = false
  pid_file         = "/run/warden.pid"
  health_check     = "127.0.0.1:2345"
  syslog_socket    = "/run/syslog"
  rlimits {
    as         = 1
    core       = 0
    cpu        = 3
    data       = 4
    fsize      = 5
    locks      = 6
    memlock    = 7
    msgqueue   = 8
    nice       = 9
    nofile     = "10"
    nproc      = 11
    rss        = 12
    rtprio     = 13
    sigpending = 18446744073709551614
    stack      = "unlimited"
  }
}
