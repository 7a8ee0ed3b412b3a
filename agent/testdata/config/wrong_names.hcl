node {
  stat = "/var/lib/deacon" # wrong
  on_term = "detatch" # wrong
}
intervals {
  hartbeat = "10s" # wrong
}
netwrk { # wrong
}
network {
  egress = "deny" # wrong
}
log {
  level = "warning" # wrong
  format = "jason" # wrong
}
disk {
  driver = "btrfs"
}
disk { # wrong
}
stack "ho ts" {} # wrong
stack "a" {
  path = "/a"
}
stack "a" { # wrong
  path = "/b"
}
stack "host" {
  path = "/usr" # wrong
}
