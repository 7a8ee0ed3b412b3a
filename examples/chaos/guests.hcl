# Ten minutes with an application that the drill brings along and keeps running,
# so that nobody else's is harmed on purpose, and no controller is needed.
#
#   DROPLET=https://blobs.example/web.tgz DROPLET_SHA1=… \
#     deacon chaos run examples/chaos/guests.hcl --node node-7 --report ./guests

duration = "10m"
recovery = "30s" # until all is well again after a fault is over

application "guinea-pig" {
  droplet   = env("DROPLET")
  sha1      = env("DROPLET_SHA1")
  memory    = "64MiB"
  disk      = "64MiB"
  instances = 10
}

load {
  path    = "/"
  every   = "500ms" # each instance
  timeout = "5s"
}

random {
  every   = "10s" # on average
  overlap = 2     # at a time, at most

  fault "init-killed" { weight = 3 }
  fault "job-killed" { weight = 3 }
  fault "agent-killed" { weight = 2 }
  fault "agent-stopped" { for = "5s" }
  fault "actor-panics" {}
  fault "steps-fail" { rate = 0.5 }
  fault "steps-slow" { delay = "1s" }
  fault "nats-partitioned" { for = "15s" }
  fault "nats-duplicated" {}
  fault "nats-reordered" {}
  fault "link-deleted" {}
  fault "group-removed" {}
  fault "table-flushed" {}
}
