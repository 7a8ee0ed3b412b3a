# Two minutes with what a node of others' applications sees in a bad week. The
# applications that run are asked all the time; whoever controls them has to
# start again what crashes.
#
#   deacon chaos run examples/chaos/first.hcl --report ./first

duration = "2m"

fault "agent-killed" { at = "5s" }   # needs chaos { supervised = true }
fault "nats-partitioned" {
  at  = "25s"
  for = "15s"
}
fault "nats-killed" {
  at  = "45s"
  for = "10s"
}
fault "actor-panics" { at = "60s" }
fault "steps-slow" { at = "70s" }
fault "memory-pressure" { at = "85s" }
fault "no-descriptors" {
  at  = "100s"
  for = "5s"
}
