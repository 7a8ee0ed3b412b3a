# What a disk does to a node. Filling it is done only where the state folder is
# on a file system of its own; elsewhere the report says that it was not done.
#
#   deacon chaos run examples/chaos/disk.hcl

duration = "90s"

fault "disk-slow" {
  at  = "5s"
  for = "15s"
}
fault "disk-full" {
  at  = "25s"
  for = "10s"
}
fault "no-inodes" {
  at  = "45s"
  for = "10s"
}
fault "state-flipped" { at = "60s" }
