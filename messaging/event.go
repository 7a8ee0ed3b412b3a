package messaging

import (
	"net/netip"
	"time"
)

// Event is everything that this node tells. The set is closed, like Command's.
//
//sumtype:decl
type Event interface{ event() }

// State is an instance's state in the DEA's words (wire/dea.md b.1).
type State string

// The states of this era. An instance is EVACUATING in place of BORN, STARTING or
// RUNNING, from the time on that others are to start it elsewhere.
const (
	Born       State = "BORN"
	Starting   State = "STARTING"
	Running    State = "RUNNING"
	Evacuating State = "EVACUATING"
	Stopping   State = "STOPPING"
	Stopped    State = "STOPPED"
	Crashed    State = "CRASHED"
)

// NodeStarted greets (dea.start).
type NodeStarted struct{ Node Node }

// RoutersGreeted has routers that are there answer with a RouterStarted (router.greet).
type RoutersGreeted struct{}

// NodeStopped says goodbye for good (dea.shutdown); a detaching node says nothing.
type NodeStopped struct {
	Node             Node
	ApplicationCount map[string]int // instances by application
}

// Advertised offers room (dea.advertise).
type Advertised struct {
	NodeID           string
	Stacks           []string
	MemoryMiB        int64 // not yet promised
	DiskMiB          int64 // not yet promised
	ApplicationCount map[string]int
	Zone             string
	Runtimes         []string // of the first era; none: not a word of them
}

// NodeEvacuating answers EvacuateNode.
type NodeEvacuating struct {
	ReplyTo   string
	NodeID    string
	Instances int       // that are to be replaced
	By        time.Time // when the node stops those that were not
}

// NodeDiscovered answers DiscoverNodes.
type NodeDiscovered struct {
	ReplyTo string
	Node    Node
}

// NodeDescribed answers DescribeNodes, in MiB.
type NodeDescribed struct {
	ReplyTo  string
	Node     Node
	Capacity int64 // that may be promised, overcommitment included
	Promised int64
	Used     int64 // by the instances that run
}

// Beat is the full snapshot of the node's instances (dea.heartbeat). It is
// never partial: the health manager forgets what is missing from it.
type Beat struct {
	NodeID    string
	Instances []BeatInstance
}

// BeatInstance is one row of a heartbeat.
type BeatInstance struct {
	Partition   string
	Application string
	Version     string
	Instance    string
	Index       int
	State       State
	Since       time.Time
}

// Why an InstanceExited is told.
const (
	Crash      = "CRASHED"
	Evacuation = "DEA_EVACUATION"
)

// InstanceExited says that an instance is gone against its will, or is about to go
// and has to be started elsewhere (droplet.exited).
type InstanceExited struct {
	Partition   string
	Application string
	Version     string
	Instance    string
	Index       int
	Reason      string // Crash or Evacuation
	ExitStatus  int    // 255 where a signal ended it, -1 where nothing ran
	Description string // wire/dea.md a.9, exactly
	CrashedAt   time.Time
}

// RouteRegistered and RouteUnregistered tell the router (wire/dea.md a.10).
type RouteRegistered struct{ Route Route }

// RouteUnregistered takes a route back.
type RouteUnregistered struct{ Route Route }

// Route is where an instance can be reached, or one of the node's own servers.
type Route struct {
	NodeID          string
	Application     string // empty: a server of the node's own
	URIs            []string
	Host            netip.Addr
	Port            uint16
	ComponentTag    string // "dea-<index>", "directory-server-<index>"
	PrivateInstance string // 64 hex digits: sticky sessions
}

// InstanceFound answers FindInstances, one per instance.
type InstanceFound struct {
	ReplyTo     string
	NodeID      string
	Application string
	Version     string
	Instance    string
	Index       int
	State       State
	Since       time.Time
	DebugAt     netip.AddrPort // where a debugger is let in; zero: nowhere
	ConsoleAt   netip.AddrPort // and a console
	FileURI     string         // file_uri_v2, only when a path was asked for and files are served
	Stats       *InstanceStats
}

// InstanceDescribed answers DescribeInstances, one per instance.
type InstanceDescribed struct {
	ReplyTo string
	Stats   InstanceStats
}

// InstanceStats is what an instance is allowed and what it uses.
type InstanceStats struct {
	Name       string
	URIs       []string
	Host       netip.Addr
	Port       uint16
	Uptime     time.Duration
	MemQuota   int64 // bytes
	DiskQuota  int64 // bytes
	FilesQuota uint64
	MeasuredAt time.Time
	CPU        float64 // share of one core: 1.0 is one core
	MemBytes   int64
	DiskBytes  int64
}

// InstancesListed answers ListInstances.
type InstancesListed struct {
	ReplyTo   string
	NodeID    string
	Files     netip.AddrPort // where its instances' files are served; invalid: nowhere
	Instances []InstanceRow
}

// InstanceRow is one row of `deacon ps`.
type InstanceRow struct {
	Application string
	Name        string
	Version     string
	Instance    string
	Container   string // id; empty: none
	Index       int
	State       State
	Since       time.Time
	URIs        []string
	Host        netip.Addr
	Port        uint16 // 0: none
	ExitStatus  int
	Description string // why it crashed; empty: it did not
}

// LogsTailed answers TailLogs, oldest line first.
type LogsTailed struct {
	ReplyTo string
	Lines   []LogLine
}

// LogLine is one line that an instance wrote, or that deacon says of it.
type LogLine struct {
	Application string
	Instance    string
	Index       int
	Stream      string // stdout, stderr, or deacon
	At          time.Time
	Text        []byte // without the newline; any bytes
	Dropped     int64  // bytes lost before this line, 0 nearly always
}

// InstanceChanged is deacon's own account of every state an instance takes,
// with more than the DEA's wire has words for.
type InstanceChanged struct {
	NodeID      string
	Application string
	Instance    string
	Index       int
	From, To    State
	ExitStatus  int
	Signal      string // "SIGSEGV"; empty: none
	Description string
	At          time.Time
}

// InstanceUpdated is deacon's own account of an update that took effect: who
// follows an instance by its id learns the new one.
type InstanceUpdated struct {
	NodeID      string
	Application string
	Was         string // its id so far
	Instance    string // from now on; may be the same
	Index       int
	Version     string
	URIs        []string
	At          time.Time
}

// ActorGaveUp says that a part of the node was restarted as often as its
// budget allows and is now given up on, and by whom.
type ActorGaveUp struct {
	NodeID string
	Actor  string // path below the node
	Reason string
	At     time.Time
}

func (NodeStarted) event()       {}
func (RoutersGreeted) event()    {}
func (NodeStopped) event()       {}
func (Advertised) event()        {}
func (NodeEvacuating) event()    {}
func (NodeDiscovered) event()    {}
func (NodeDescribed) event()     {}
func (Beat) event()              {}
func (InstanceExited) event()    {}
func (RouteRegistered) event()   {}
func (RouteUnregistered) event() {}
func (InstanceFound) event()     {}
func (InstanceDescribed) event() {}
func (InstancesListed) event()   {}
func (LogsTailed) event()        {}
func (LogLine) event()           {}
func (InstanceChanged) event()   {}
func (InstanceUpdated) event()   {}
func (ActorGaveUp) event()       {}
