package messaging

import (
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// Command is everything that may be asked of this node. The set is closed:
// only this package can add to it, so a switch over it can be total.
//
//sumtype:decl
type Command interface{ command() }

// StartInstance asks for one instance of an application
// (dea.<id>.start, wire/dea.md a.2). Nobody answers it; what came of it is
// seen in heartbeats, router.register and droplet.exited.
type StartInstance struct {
	Partition   string // cc_partition, echoed
	Application string // "droplet" on the wire: the application's guid
	Name        string
	Version     string
	Index       int
	URIs        []string
	Droplet     Droplet
	Limits      ApplicationLimits
	Services    []Service
	Environment []Variable // the user's, in the order given
	Stack       string     // empty: the node's first stack
	// StartCommand overrides the droplet's own; empty: the droplet's.
	StartCommand string
	// HealthCheckTimeout is how long the port may take to open; 0: the node's default.
	HealthCheckTimeout time.Duration
	// VCAPApplication is the base of the VCAP_APPLICATION variable, kept as it
	// came: a JSON object, or empty.
	VCAPApplication []byte
	Egress          []EgressRule
	First           *FirstEra // nil: the message is of a later era
}

// Droplet says where an application's files come from and what they must hash to.
type Droplet struct {
	URI    string // may carry user:password; never log it, log Redacted()
	SHA1   string // lower-case hex; empty: not given
	SHA256 string // lower-case hex; empty: not given
}

// Redacted is the URI for logs and errors: without user and password, and
// without the query, where blob stores put their signatures.
func (d Droplet) Redacted() string {
	u, err := url.Parse(d.URI)
	if err != nil {
		return "(a URI that can't be read)" // the error would quote it
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String()
}

// ApplicationLimits are an instance's limits in the wire's units.
type ApplicationLimits struct {
	MemoryMiB int64
	DiskMiB   int64
	Files     uint64 // RLIMIT_NOFILE
}

// Service is one bound service as the wire has it; null and unknown keys are dropped.
type Service struct {
	Name           string
	Label          string
	Tags           []string
	Plan           string
	PlanOption     string
	Vendor         string
	Version        string
	Type           string
	SyslogDrainURL string
	Credentials    []byte // JSON, any shape
}

// Variable is one environment variable.
type Variable struct{ Name, Value string }

// EgressRule is a rule for traffic that leaves the container (wire/dea.md h).
type EgressRule struct {
	Protocol    string // tcp, udp, icmp, all; anything else fails the start
	Destination string // CIDR, address or "a-b"
	Ports       string // "80", "80,443", "8000-9000" or combinations; empty: all
	Type, Code  int    // icmp; -1: any
	Log         bool
}

// StopInstances asks to stop every instance that the filter selects (dea.stop).
type StopInstances struct{ Filter Filter }

// UpdateInstances changes what every instance of an application that lives is
// reached by, and its version, while it runs on (dea.update). A new version gives
// each a new id. Nobody answers; what came of it is seen in router.register,
// router.unregister and heartbeats.
type UpdateInstances struct {
	Application string
	Version     string        // empty: stays
	URIs        []string      // all of them, from now on
	Egress      *[]EgressRule // all of them, from now on; nil: stay
}

// FindInstances asks for every instance that the filter selects
// (dea.find.droplet). One InstanceFound answers each; silence when none matches.
type FindInstances struct {
	Filter       Filter
	IncludeStats bool
	IncludePath  bool   // the request has a key "path", whatever its value
	Path         string // its value: a file or folder of the instance's
	ReplyTo      string // opaque to everybody but the bus
}

// Filter selects instances of one application. Every part that is given must
// hold; an empty list is no filter (wire/dea.md a.3).
type Filter struct {
	Application string
	Version     string   // empty: any
	Instances   []string // instance ids: the union of "instances" and "instance_ids"
	Indices     []int
	States      []string // upper case
}

// RouterStarted says that a router has come up, or was greeted, and wants every
// route (router.start, the answer to router.greet).
type RouterStarted struct {
	Interval time.Duration // at which it wants them again at the latest; 0: it doesn't say
}

// HealthManagerStarted says that the health manager wants a heartbeat now (healthmanager.start).
type HealthManagerStarted struct{}

// LocateNodes asks who is there: an advertisement now answers (dea.locate).
type LocateNodes struct{}

// DiscoverNodes asks who has room for one more instance (dea.discover). One
// NodeDiscovered answers, the later the fuller the node is, so that whoever takes
// the first answer spreads the load; silence where there is no room.
type DiscoverNodes struct {
	Application string
	MemoryMiB   int64
	DiskMiB     int64
	Runtime     string // that the node must have; empty: any
	ReplyTo     string
}

// DescribeInstances asks for what every instance that starts or runs is allowed and
// uses (droplet.status); one InstanceDescribed answers each.
type DescribeInstances struct{ ReplyTo string }

// DescribeNodes asks what the node has promised and what is used of it
// (dea.status); one NodeDescribed answers.
type DescribeNodes struct{ ReplyTo string }

// EvacuateNode has the node hand over what it runs, and end: it takes no starts,
// and tells of its instances as EVACUATING until whoever started replacements
// stops them. One NodeEvacuating answers it.
type EvacuateNode struct {
	Within  time.Duration // then the node stops what is left; 0: the node's default
	ReplyTo string        // empty: nobody is answered
}

// ListInstances is deacon's own question for `deacon ps`; one InstancesListed answers it.
type ListInstances struct{ ReplyTo string }

// TailLogs is deacon's own question for the last lines of an application's
// output; one LogsTailed answers it per node that runs or ran it.
type TailLogs struct {
	Application string
	Index       int // -1: all
	Lines       int // at most, per instance and stream
	ReplyTo     string
}

func (StartInstance) command()        {}
func (StopInstances) command()        {}
func (UpdateInstances) command()      {}
func (FindInstances) command()        {}
func (RouterStarted) command()        {}
func (HealthManagerStarted) command() {}
func (LocateNodes) command()          {}
func (DiscoverNodes) command()        {}
func (DescribeInstances) command()    {}
func (DescribeNodes) command()        {}
func (EvacuateNode) command()         {}
func (ListInstances) command()        {}
func (TailLogs) command()             {}

// Node is who speaks: what every greeting of this node says of itself.
type Node struct {
	ID      string     // stable over restarts
	Address netip.Addr // where mapped ports are reached
	Index   int        // of the component, for router tags
	Version string
}

// ComponentTag is how routers tell this component from others.
func (n Node) ComponentTag() string { return "dea-" + strconv.Itoa(n.Index) }

// DirectoryTag is ComponentTag for the server of its instances' files.
func (n Node) DirectoryTag() string { return "directory-server-" + strconv.Itoa(n.Index) }
