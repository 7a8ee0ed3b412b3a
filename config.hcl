# The configuration of a deacon node. Everything here is the default: an empty
# file means the same. Lines that begin with # and a setting have no default or
# take it from the machine; take the # away to set them.
#
# Durations have a unit ("250ms", "10s", "1h30m"), sizes too ("512MiB", "20GiB";
# powers of 1024), paths begin with /. env("NAME") stands for an environment
# variable, which must be set. `deacon config check FILE` finds every fault.

node {
  # Everything that outlives an agent: who the node is, containers, droplets.
  # One agent at a time works on a folder.
  state = "/var/lib/deacon"

  # Who the node is, for good. Left out: chosen at the first start, and kept.
  #id = "node-7"

  # Where mapped ports are reached from outside, told to routers and to
  # applications. Left out: the address of the default route's link.
  #address = "192.0.2.7"

  # Number of the component, for tags; and the zone, for placement.
  index = 0
  zone  = "default"

  # The first container's first user id on the node; each container has 65536
  # of its own. Nobody else on the machine may use ids from here upwards.
  uid_base = 1000000

  # What SIGTERM does: "detach" leaves every application running for the next
  # agent, "shutdown" stops them all first, "evacuate" has others take over and
  # then shuts down. SIGINT and SIGQUIT always shut down.
  on_term          = "detach"
  shutdown_timeout = "60s" # then whatever still runs is killed

  # What SIGUSR2 does: "evacuate" as the DEA did, or "detach" as Warden did. An
  # evacuated node takes nothing new, and tells of its applications as EVACUATING
  # until they run elsewhere and are stopped here, or until evacuate_within is
  # over. Then it shuts down. Detaching answers what was asked already and ends,
  # with every application and container running on.
  on_usr2         = "evacuate"
  evacuate_within = "10m"

  # What becomes of the applications that ran when the machine ended: "start"
  # starts them again from their droplets, "report" tells that they crashed and
  # leaves the rest to whoever placed them here. Containers of Warden's clients
  # are stopped in either case, and can only be destroyed.
  on_reboot = "start"

  # The program that is PID 1 of every container. Left out: deacon-init beside
  # the running program.
  #init = "/usr/local/bin/deacon-init"
}

nats {
  servers = ["nats://127.0.0.1:4222"]

  # At most one way to log in: a user with a password, a token, an nkey's seed
  # or a credentials file.
  #user = "node"
  #password = env("DEACON_NATS_PASSWORD")
  #password_file = "/etc/deacon/nats-password"
  #token = env("DEACON_NATS_TOKEN")
  #nkey_file = "/etc/deacon/node.nk"
  #creds_file = "/etc/deacon/node.creds"

  # Left out, the machine's own authorities are trusted. tls:// in a server's
  # URL is what switches TLS on.
  tls {
    #ca = "/etc/deacon/ca.pem"
    #cert = "/etc/deacon/node.pem"
    #key = "/etc/deacon/node.key"
  }
}

# What the node promises to applications. A start that finds no room is refused.
resources {
  # Left out: the machine's memory, less a reserve for the machine itself; and
  # what is free on the file system of the state folder.
  #memory = "16GiB"
  #disk = "100GiB"

  # How often the same byte may be promised.
  memory_overcommit = 1.0
  disk_overcommit   = 1.0
}

# Between periodic messages. Others forget a node that is silent: health
# managers after 30 s without a heartbeat, cloud controllers after 10 s without
# an offer, routers after 120 s.
intervals {
  heartbeat       = "10s"
  advertise       = "5s"
  router_register = "20s"
}

# What holds for every instance of an application.
instance {
  health_check_timeout = "60s" # for the port to open, where the start message says nothing
  stop_grace           = "10s" # between SIGTERM and SIGKILL

  # cpu shares = memory in MiB / ratio, kept within min and max
  memory_to_cpu_share_ratio = 8
  cpu_shares_min            = 1
  cpu_shares_max            = 256

  disk_inodes = 200000
  processes   = 512

  # How long a crashed instance is remembered.
  crash_lifetime = "1h"

  # Kept of what an instance writes to stdout, and as much of stderr.
  output_max = "16MiB"

  # Lines of an instance that are published a second (0: any number), and of each so
  # many bytes. What is left out is counted, and said among the instance's lines.
  log_rate     = 10000
  log_line_max = "64KiB"

  # Commands that may run in instances at a time for deacon exec; 0: nobody may.
  sessions_max = 64

  # Starts in flight at once; further ones wait.
  starts_max = 16

  # First processes that wait ready for the next starts, 0.7 MB each. A start
  # that finds one takes half the time. On cgroup v2 there are none.
  spares = 8

  # How much an instance may send a second, and as much receive, and how much of
  # that at once. Left out: as much as the machine can; and the burst a tenth of
  # the rate.
  bandwidth {
    #rate = "10MiB"
    #burst = "1MiB"
  }
}

# What the node's operator has run in every application's container: scripts for
# bash on the node, read when the agent starts, run as the application's user in
# its environment. Where the one before the start fails, so does the start; the
# others are only waited for, and logged where they fail.
hooks {
  #before_start = "/etc/deacon/hooks/before-start"
  #after_start = "/etc/deacon/hooks/after-start" # once the instance runs
  #before_stop = "/etc/deacon/hooks/before-stop" # before anything is signalled
  #after_stop = "/etc/deacon/hooks/after-stop" # nothing of it runs any more

  # Lines that bash reads as the last thing before an application's command.
  #post_setup = "ulimit -c unlimited"

  # How long a start or a stop waits for each.
  hook_timeout = "10s"
}

network {
  # Cut into networks of four addresses, one a container. Nothing else that the
  # node talks to may have an address in it.
  pool = "10.254.0.0/16"

  # Ports of the node that are mapped to applications. They should lie outside
  # those that the kernel gives to connections (net.ipv4.ip_local_port_range).
  port_first = 20000
  port_last  = 29999

  # Of the containers' links. Left out: 1500.
  #mtu = 1450

  # How long the addresses of a container that is gone rest at least before
  # another container gets them. They always rest until the kernel has let go.
  release_delay = "0s"

  # What an application's own rules don't allow: "allow" or "reject". What the
  # rules of Warden's clients don't allow is rejected always. docs/egress.md has
  # the order in which all of these are looked at.
  egress = "allow"

  # Reached by every container, whether or not a rule allows it; and whether the
  # node itself is too.
  allowed     = []
  host_access = false

  # Refused unless a rule or "allowed" says otherwise, though all else may be
  # allowed. Other containers and link-local addresses, where clouds have their
  # metadata, are refused without being listed: those only a rule, or "allowed",
  # opens that speaks of nothing else.
  denied = []

  # Resolvers of the containers. Left out: the machine's, but those that only
  # answer on its own loopback.
  #dns = ["192.0.2.53"]

  # Whether mapped ports answer on 127.0.0.1 too.
  loopback = true
}

# How an application's disk limit is enforced. "btrfs" keeps a pool in one
# image file, "tmpfs" takes memory, "none" doesn't enforce it; "auto" is btrfs,
# and an error where this machine has none.
disk {
  driver = "auto"

  # How large the pool may grow. Left out: what is free.
  #pool_size = "100GiB"
}

# The root file systems that applications ask for by name; the first is for
# those that name none. "host" is generated from the machine's own /usr and
# nothing else of it; another is one that `deacon rootfs` made by that name
# (docs/rootfs.md), or any folder with a root file system:
#
#   stack "bookworm" {}
#   stack "cflinuxfs4" {
#     path = "/var/lib/deacon-stacks/cflinuxfs4"
#   }
stack "host" {}

# What of the node every application finds in its container, by where it is found
# there. Files that belong to the ids 0 and 2000 on the node are root's and the
# application's inside.
#
#   bind_mount "/srv/models" {
#     source = "/srv/models"
#     access = "ro" # or "rw": with every other application on the node
#   }

# Runtimes by the names that starts of the first era ask for, whose droplets have
# a script "startup". Each is looked for and verified in the container that is
# about to run on it, and a start that names any other fails.
#
#   runtime "ruby19" {
#     executable     = "ruby"          # in the stack: a path, or a name in PATH
#     version_flag   = "-v"
#     version_output = "ruby 1\\.9\\."  # what that must print: a pattern
#     # Arguments with which it must print true.
#     additional_checks = "-e 'puts RUBY_PATCHLEVEL > 100'"
#     # Variables of every application on it, evaluated as users' are; and by the
#     # mode that is asked for, those of one that is debugged.
#     environment = { LANG = "en_US.UTF-8" }
#     debug_env   = { suspend = "OPTS=--wait --port $VCAP_DEBUG_PORT" }
#   }

log {
  level  = "info" # trace, debug, info, warn, error
  format = "text" # or "json", one object a line

  # Where it goes. Left out: to the standard error output. With both, to both.
  #file = "/var/log/deacon.log" # appended to
  #syslog = "deacon" # by this name
}

# Whoever has a link that this node signed sees the files of an instance, by way
# of the routers: what dea.find.droplet answers and deacon files shows. Without
# this block there is no such server, and nothing is kept of what crashed
# (docs/files.md). Everything in it but the domain is the default.
#
# directory {
#   # The server's name is a label below it, which is the node's own for good.
#   domain = "apps.example.com"
#
#   # Where it listens, and routers look for it. Left out: at node.address. With
#   # "0.0.0.0" it listens everywhere, and routers are told node.address.
#   listen = "192.0.2.7"
#   port   = 5678
#
#   # What the routers in front of it speak: "http" or "https".
#   protocol = "http"
#
#   # How long a link is good, and how long who follows a file waits for more.
#   url_lifetime      = "1h"
#   streaming_timeout = "60s"
#
#   # Kept of the logs of an instance that crashed, the end where they are longer,
#   # for instance.crash_lifetime; the oldest go when more of the file system, or
#   # of its inodes, is in use.
#   crash_logs_max        = "64MiB"
#   crash_disk_used_max   = 0.8
#   crash_inodes_used_max = 0.8
# }

# How the node lets itself be watched by HTTP: /healthz, /varz and /metrics
# (docs/metrics.md). Without "listen" it doesn't.
status {
  # A port of 0 is any; vcap.component.announce tells which.
  #listen = "127.0.0.1:9590"

  # Who may see /varz, and /metrics too where this is set. Left out: drawn at each
  # start, and told by vcap.component.announce.
  #user = "monitor"
  #password = env("DEACON_STATUS_PASSWORD")
  #password_file = "/etc/deacon/status-password"

  # With both: HTTPS.
  tls {
    #cert = "/etc/deacon/status.pem"
    #key = "/etc/deacon/status.key"
  }
}

# Whether the node lets itself be harmed on order: deacon chaos run kills, cuts
# off and fills up what it can, to see that nothing is lost (docs/chaos.md).
# Whoever may write to NATS can then do that to this node.
#
# chaos {
#   allow = false
#   # Something starts the agent again when it ends, so that it may be killed.
#   supervised = false
# }

# The door for clients of Cloud Foundry's old Warden: its socket and its
# protocol, with containers like all others. Without this block there is none.
# Everything in it is the default. `deacon warden-config import FILE` makes a
# configuration from that of a Warden.
#
# warden {
#   # Who may write to the socket is let in, and has the power of root.
#   socket = "/tmp/warden.sock"
#   mode   = "0755"
#   # Left out: the agent's own.
#   #group = "adm"
#
#   # The root file system where a client names none: a folder, or the name of a
#   # stack. Left out: the first stack.
#   #rootfs = "/var/lib/warden/rootfs"
#
#   # How long a container lives on that no client knows any more, where its
#   # client said nothing: a duration, or "never" if it isn't to be destroyed.
#   grace_time = "5m"
#
#   # What a job may write, both streams together; one that writes more is cut off.
#   job_output_limit = "10MiB"
#
#   # Whether clients can limit disk space and inodes.
#   disk_quota = true
#
#   # Containers inside of containers: not built, true is refused.
#   allow_nested = false
#
#   # The agent's number, for tools that look for it; removed at its end.
#   #pid_file = "/run/warden.pid"
#
#   # Answers every HTTP request with 200, for monitors.
#   #health_check = "127.0.0.1:2345"
#
#   # Takes the lines of jobs that have a log_tag.
#   syslog_socket = "/dev/log"
#
#   # Limits of jobs, soft and hard alike, for requests that say nothing: a
#   # number as in setrlimit(2), or "unlimited". Left out: Warden's own.
#   rlimits {
#     #as = "unlimited"
#     #core = 0
#     #cpu = "unlimited"
#     #data = "unlimited"
#     #fsize = "unlimited"
#     #locks = "unlimited"
#     #memlock = 65536
#     #msgqueue = 819200
#     #nice = 0
#     #nofile = 8192
#     #nproc = 512
#     #rss = "unlimited"
#     #rtprio = 0
#     #sigpending = 1024
#     #stack = 8388608
#   }
# }
