bind_mount "data" { # wrong
  source = "/a"
}
bind_mount "/data/" { # wrong
  source = "a" # wrong
}
bind_mount "/proc/x" { # wrong
  source = "/a"
}
bind_mount "/home/vcap" { # wrong
  source = "/a"
  access = "wr" # wrong
}
bind_mount "/a" { # wrong
}
bind_mount "/a" { # wrong
  source = "/a"
}
