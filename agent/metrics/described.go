package metrics

import "github.com/prometheus/client_golang/prometheus"

// metric is one that is read at each scrape.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

const prefix = "deacon_"

// all are the metrics of a collector, in the order in which they were made.
var all []metric

func gauge(name, help string, labels ...string) metric {
	return described(prometheus.GaugeValue, name, help, labels)
}

func counter(name, help string, labels ...string) metric {
	return described(prometheus.CounterValue, name, help, labels)
}

func described(kind prometheus.ValueType, name, help string, labels []string) metric {
	m := metric{prometheus.NewDesc(prefix+name, help, labels, nil), kind}
	all = append(all, m)
	return m
}

// The node.
var (
	nodeInfo    = gauge("node_info", "Who the node is; always 1.", "node", "version", "zone")
	nodeReady   = gauge("ready", "Whether the node takes commands.")
	nodeStarted = gauge("start_time_seconds", "When the agent began, in seconds since 1970.")
	measureTook = gauge("report_seconds", "How long it took to measure what this scrape tells.")

	memoryCapacity = gauge("memory_capacity_bytes", "Memory that may be promised, overcommitment included.")
	memoryReserved = gauge("memory_reserved_bytes", "Memory that is promised.")
	memoryUsed     = gauge("memory_used_bytes", "Memory that the running instances use.")
	diskCapacity   = gauge("disk_capacity_bytes", "Disk that may be promised, overcommitment included.")
	diskReserved   = gauge("disk_reserved_bytes", "Disk that is promised.")
	diskUsed       = gauge("disk_used_bytes", "Disk that the running instances use.")
	slotsCapacity  = gauge("slots_capacity", "Containers that the node has addresses for.")
	slotsReserved  = gauge("slots_reserved", "Slots that are taken, those that rest included.")
	portsCapacity  = gauge("ports_capacity", "Ports of the node that may be mapped.")
	portsReserved  = gauge("ports_reserved", "Ports of the node that are promised.")

	instancesByState = gauge("instances", "Instances by state.", "state")
	containersHeld   = gauge("containers", "Containers that live, those of Warden's clients included.")
	loggedTotal      = counter("log_messages_total", "Messages of the agent's log by level.", "level")
)

// Instances: one series each for those that are not over.
var (
	instanceLabels = []string{"app", "index", "instance"}

	instanceCPU      = counter("instance_cpu_seconds_total", "Time on a processor.", instanceLabels...)
	instanceMemory   = gauge("instance_memory_bytes", "Memory in use, without what can be dropped.", instanceLabels...)
	instanceMemMax   = gauge("instance_memory_limit_bytes", "Memory that is allowed.", instanceLabels...)
	instanceDisk     = gauge("instance_disk_bytes", "Disk in use.", instanceLabels...)
	instanceDiskMax  = gauge("instance_disk_limit_bytes", "Disk that is allowed.", instanceLabels...)
	instanceReceived = counter("instance_network_received_bytes_total", "Bytes that came by its link.", instanceLabels...)
	instanceSent     = counter("instance_network_sent_bytes_total", "Bytes that went by its link.", instanceLabels...)
	instanceTasks    = gauge("instance_processes", "Processes and threads.", instanceLabels...)
	instanceOOM      = counter("instance_oom_kills_total", "Processes killed for want of memory.", instanceLabels...)
	instanceRestarts = counter("instance_restarts_total",
		"Earlier starts of the same index of the application, as far as this agent remembers.", instanceLabels...)
	instanceSince = gauge("instance_state_since_seconds",
		"When it took its state, in seconds since 1970.", instanceLabels...)
)

// Actors.
var (
	actorsLiving   = gauge("actors", "Actors that live.", "kind")
	actorsFailed   = gauge("actors_failed", "Actors that wait for their restart.", "kind")
	actorWaiting   = gauge("actor_mailbox_messages", "Messages that wait in the mailboxes of a kind.", "kind")
	actorLongest   = gauge("actor_mailbox_longest_messages", "Messages that wait in a kind's longest mailbox.", "kind")
	actorRestarts  = counter("actor_restarts_total", "Restarts after a failure.", "kind")
	actorsForsaken = counter("actors_given_up_total", "Actors that failed past their budget.", "kind")
)

// NATS.
var (
	natsConnected   = gauge("nats_connected", "Whether there is a connection.")
	natsConnections = counter("nats_connections_total", "Connections that were made; all but the first are reconnects.")
	natsWaiting     = gauge("nats_outbox_messages", "Messages that wait to be sent.")
	natsUnheard     = gauge("nats_inbox_messages", "Commands that came and wait to be looked at.")
	natsLost        = counter("nats_lost_messages_total",
		"Messages that should have outlasted the connection's loss, and were thrown out because too many waited.")
	natsHeard = counter("nats_received_messages_total", "Messages that came.")
	natsTold  = counter("nats_sent_messages_total", "Messages that were handed to the server.")
)

// Pressure.
var stalled = counter("pressure_stalled_seconds_total",
	"How long processes stood still for want of a resource: some of them, or in full all that could have run.",
	"scope", "resource", "kind")
