node {
  on_usr2 = "evacuat" # wrong
}
network {
  allowed = ["10.0.0.1/8"] # wrong
  host_access = "perhaps" # wrong
  release_delay = 5 # wrong
}
log {
  file = "deacon.log" # wrong
  syslog = "a node" # wrong
}
stack "lucid64" {
  path = "/stacks/lucid64"
}
warden {
  sockt = "/tmp/warden.sock" # wrong
  socket = "/a/path/of/more/than/one/hundred/and/eight/bytes/which/is/all/that/the/kernel/has/room/for/in/the/address/of/a/socket" # wrong
  mode = "0888" # wrong
  group = "a:b" # wrong
  rootfs = "lucid" # wrong
  grace_time = "nevr" # wrong
  job_output_limit = 10485760 # wrong
  disk_quota = "of" # wrong
  allow_nested = true # wrong
  pid_file = "warden.pid" # wrong
  health_check = ":2345" # wrong
  syslog_socket = null # wrong
  rlimits {
    nofiles = 8192 # wrong
    nproc = -1 # wrong
    stack = "unlimitd" # wrong
    core = 1.5 # wrong
    cpu = 18446744073709551616 # wrong
  }
}
