node {
  state = "var/lib/deacon" # wrong
  id = "a.b" # wrong
  address = "::1" # wrong
  index = -1 # wrong
  uid_base = 1000 # wrong
  shutdown_timeout = 60 # wrong
  zone = "" # wrong
}
resources {
  memory = "16GB" # wrong
  memory_overcommit = 0 # wrong
  disk = 100 # wrong
}
intervals {
  heartbeat = "30s" # wrong
  advertise = "soon" # wrong
}
instance {
  cpu_shares_min = 512 # wrong
  processes = 1.5 # wrong
  output_max = "1KiB" # wrong
  stop_grace = null # wrong
  starts_max = "many" # wrong
  sessions_max = -1 # wrong
  log_rate = -1 # wrong
  log_line_max = "1MiB" # wrong
  disk_inodes = 1e999999999 # wrong
}
network {
  pool = "10.254.0.1/16" # wrong
  port_first = 30000 # wrong
  port_last = 20000
  mtu = 100 # wrong
  denied = ["192.0.2.1"] # wrong
  dns = ["resolver"] # wrong
  loopback = "maybe" # wrong
}
