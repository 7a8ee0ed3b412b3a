package messaging

import "time"

// Client is one connection to Warden's socket. A number is never used twice by
// one node, nor by its successors within a day.
type Client uint64

// Ask says who asked, and which of the requests of that connection it was: the
// answer carries it back. A connection's requests are asked one after the other.
type Ask struct {
	Client  Client
	Request uint64
}

// ClientConnected says that somebody connected: every container that clients
// made is referenced by the connection from now on (wire/warden.md b).
type ClientConnected struct{ Client Client }

// ClientGone says that a connection ended. What it asked for and is still
// waiting for, nobody waits for any more.
type ClientGone struct{ Client Client }

// AnswerSent says that a client has what became of a job that it linked or
// streamed: from then on the job is nobody's any more.
type AnswerSent struct{ To Ask }

// CreateContainer asks for a container. ContainerCreated answers.
type CreateContainer struct {
	Ask
	Handle  *string // any bytes; nil: the node chooses
	Binds   []BindMount
	Grace   *time.Duration // nil: the node's own
	Network string         // an address in the wanted /30; empty: any
	Rootfs  string         // absolute path of a folder; empty: the node's own
}

// BindMount shows a path of the node in the container.
type BindMount struct {
	Source, Target string
	ReadOnly       bool
}

// StopContainer asks to end every job. Done answers, at once where Background is set.
type StopContainer struct {
	Ask
	Handle           string
	Background, Kill bool
}

// DestroyContainer asks to take a container away. Done answers.
type DestroyContainer struct {
	Ask
	Handle string
}

// InspectContainer asks what is known of a container. ContainerInspected answers.
type InspectContainer struct {
	Ask
	Handle string
}

// ListContainers asks for every handle. ContainersListed answers.
type ListContainers struct{ Ask }

// SpawnJob asks to run a script. JobSpawned answers once it runs.
type SpawnJob struct {
	Ask
	Handle string
	Script Script
}

// RunJob is SpawnJob and LinkJob in one. JobLinked answers.
type RunJob struct {
	Ask
	Handle string
	Script Script
}

// Script is a job in Warden's words.
type Script struct {
	Text       string // given to bash on its stdin
	Privileged bool   // as the container's root, else as its vcap
	Rlimits    []Rlimit
	Discard    bool   // its output is nobody's
	LogTag     string // also to syslog, as "warden.<tag>"; empty: not
}

// Rlimit is a resource limit, soft and hard alike, by Warden's name for it:
// as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio
// sigpending stack.
type Rlimit struct {
	Name  string
	Value uint64 // all ones: none
}

// LinkJob waits for a job's end. JobLinked answers.
type LinkJob struct {
	Ask
	Handle string
	Job    uint32
}

// StreamJob asks for a job's output as it comes, from its beginning. It comes
// in chunks, and then JobStreamed answers.
type StreamJob struct {
	Ask
	Handle string
	Job    uint32
}

// MapPort asks for a port of the node that leads to one of the container
// (net_in). PortMapped answers.
type MapPort struct {
	Ask
	Handle          string
	Container, Host *uint32 // nil: not given
}

// AllowEgress asks to let the container reach something (net_out). Done answers.
type AllowEgress struct {
	Ask
	Handle    string
	Network   string  // address, CIDR or "a-b"; empty: not given
	Port      *uint32 // nil: not given
	PortRange string  // "8080:9080"; empty: not given
	Protocol  string  // tcp, udp, icmp, all
	Type      *int32  // icmp; nil, -1: any
	Code      *int32
	Log       bool
}

// LimitMemory asks for a limit on memory and swap together; nil only asks what
// it is. MemoryLimited answers.
type LimitMemory struct {
	Ask
	Handle string
	Bytes  *uint64
}

// LimitCPU asks for a share of the processors; nil only asks. CPULimited answers.
type LimitCPU struct {
	Ask
	Handle string
	Shares *uint64
}

// LimitDisk asks for limits on what jobs write; what is nil stays, 0 is no
// limit. DiskLimited answers.
type LimitDisk struct {
	Ask
	Handle string
	Blocks *uint64 // of 1 KiB
	Inodes *uint64
}

// LimitBandwidth asks for limits on traffic, each way. BandwidthLimited answers.
type LimitBandwidth struct {
	Ask
	Handle      string
	Rate, Burst uint64 // bytes a second, bytes
}

// CopyIn asks to copy from the node into the container, CopyOut the other way
// round. A trailing slash on Source means what is in it. Done answers.
type CopyIn struct {
	Ask
	Handle, Source, Target string
}

// CopyOut is the other way round.
type CopyOut struct {
	Ask
	Handle, Source, Target string
	Owner                  string // "user:group" of the node, for Target and all below; empty: root
}

// ClientCommand is what a client asks; it gets one answer.
type ClientCommand interface {
	Command
	Asked() Ask
}

// ContainerCommand is what a client asks of one container.
type ContainerCommand interface {
	ClientCommand
	Named() string // the container's handle
}

// Asked says who asked.
func (a Ask) Asked() Ask { return a }

// Named is the container's handle.
func (m StopContainer) Named() string { return m.Handle }

// Named is the container's handle.
func (m DestroyContainer) Named() string { return m.Handle }

// Named is the container's handle.
func (m InspectContainer) Named() string { return m.Handle }

// Named is the container's handle.
func (m SpawnJob) Named() string { return m.Handle }

// Named is the container's handle.
func (m RunJob) Named() string { return m.Handle }

// Named is the container's handle.
func (m LinkJob) Named() string { return m.Handle }

// Named is the container's handle.
func (m StreamJob) Named() string { return m.Handle }

// Named is the container's handle.
func (m MapPort) Named() string { return m.Handle }

// Named is the container's handle.
func (m AllowEgress) Named() string { return m.Handle }

// Named is the container's handle.
func (m LimitMemory) Named() string { return m.Handle }

// Named is the container's handle.
func (m LimitCPU) Named() string { return m.Handle }

// Named is the container's handle.
func (m LimitDisk) Named() string { return m.Handle }

// Named is the container's handle.
func (m LimitBandwidth) Named() string { return m.Handle }

// Named is the container's handle.
func (m CopyIn) Named() string { return m.Handle }

// Named is the container's handle.
func (m CopyOut) Named() string { return m.Handle }

func (ClientConnected) command()  {}
func (ClientGone) command()       {}
func (AnswerSent) command()       {}
func (CreateContainer) command()  {}
func (StopContainer) command()    {}
func (DestroyContainer) command() {}
func (InspectContainer) command() {}
func (ListContainers) command()   {}
func (SpawnJob) command()         {}
func (RunJob) command()           {}
func (LinkJob) command()          {}
func (StreamJob) command()        {}
func (MapPort) command()          {}
func (AllowEgress) command()      {}
func (LimitMemory) command()      {}
func (LimitCPU) command()         {}
func (LimitDisk) command()        {}
func (LimitBandwidth) command()   {}
func (CopyIn) command()           {}
func (CopyOut) command()          {}
