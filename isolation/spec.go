package isolation

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that a container's PID 1 is not alive; what it left is still
// there. ErrUnknown says that there is no such container, ErrNoJob that there
// is no such job in it, or none any more.
var (
	ErrGone    = errors.New("the container's init is gone")
	ErrUnknown = errors.New("there is no such container")
	ErrNoJob   = errors.New("there is no such job")
	// ErrUnbegun is ErrGone of a container in which nothing ever ran, as far as
	// anybody can tell: so an agent leaves it that is killed over its making. It
	// can be created again.
	ErrUnbegun = fmt.Errorf("%w, and nothing ever ran in it", ErrGone)
)

// Owner says on whose behalf a container exists. A door sees only the
// containers of its own owner.
type Owner string

// The owners of this era.
const (
	OwnerInstance Owner = "instance"
	OwnerStaging  Owner = "staging"
	OwnerWarden   Owner = "warden"
)

// Spec is what a container is made of. It is written to disk as the intent
// record before the first kernel object exists, and everything that carries
// the container's name in the kernel can be found again from it.
type Spec struct {
	ID       string    `json:"id"`       // 11 base-32 digits, ours
	Slot     uint32    `json:"slot"`     // addresses, links, uids and cgroups follow from slot and epoch
	Epoch    uint32    `json:"epoch"`    // how often the slot was used
	Owner    Owner     `json:"owner"`    //
	Tenant   string    `json:"tenant"`   // the owner's own name for it; data, never part of a kernel name
	Hostname string    `json:"hostname"` // empty: the id
	Created  time.Time `json:"created"`  //
	Rootfs   Rootfs    `json:"rootfs"`   //
	Limits   Limits    `json:"limits"`   //
	Network  Network   `json:"network"`  //
	// Pending says that the limits became others on record, and the kernel may not
	// have them yet.
	Pending bool `json:"pending,omitempty"`
	// Note is what else the owner keeps with the container; only the owner reads it.
	Note json.RawMessage `json:"note,omitempty"`
}

// Rootfs is the container's file system: read-only layers under one writable
// upper folder, with binds on top.
type Rootfs struct {
	// Layers are read-only directories of the node, topmost first. Their
	// owners are shifted into the container's uid range: uid 0 on disk is the
	// container's root, uid 2000 its vcap.
	Layers []string `json:"layers"`
	Binds  []Bind   `json:"binds"`
	// Account makes sure of the account vcap (uid and gid 2000, home
	// /home/vcap) in the container's own /etc/passwd and /etc/group. Where the
	// layers have one of that name, it is that.
	Account bool `json:"account,omitempty"`
}

// Bind shows a directory or file of the node inside the container.
type Bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"` // absolute, in the container
	ReadOnly bool   `json:"read_only"`
	// Shifted maps owners into the container's uid range. Unshifted, files of
	// the node's root belong to nobody inside, so what only root may read
	// stays unreadable even for the container's root.
	Shifted bool `json:"shifted"`
}

// Limits bound the container's jobs; PID 1 stands outside of them. Zero means
// no limit.
type Limits struct {
	MemoryBytes int64  `json:"memory_bytes"` // memory and memory+swap alike
	CPUShares   uint64 `json:"cpu_shares"`   // cgroup v1 scale, 2..262144
	CPUMillis   int64  `json:"cpu_millis"`   // hard quota; 1000 = one core
	Pids        int64  `json:"pids"`         //
	DiskBytes   int64  `json:"disk_bytes"`   // what may be written to the upper folder
	DiskInodes  int64  `json:"disk_inodes"`  // where the disk driver can
	// Bandwidth is for each way alike.
	Bandwidth Bandwidth `json:"bandwidth"`
}

// Bandwidth is a token bucket; zero is no limit.
type Bandwidth struct {
	Rate  uint64 `json:"rate"`  // bytes a second
	Burst uint64 `json:"burst"` // bytes
}

// LimitChange says which limits become others. What is nil stays.
type LimitChange struct {
	MemoryBytes           *int64 // 0: none
	CPUShares             *uint64
	DiskBytes, DiskInodes *int64 // 0: none
}

// Network is what the container may reach and where it can be reached.
type Network struct {
	Ports []PortMap    `json:"ports"`
	DNS   []netip.Addr `json:"dns"`
	// Egress rules are looked at in order, then what the node allows to all, then
	// the default.
	Egress []EgressRule `json:"egress"`
	// Default is what becomes of all else: "allow" or "reject"; empty: as the
	// node is configured.
	Default string `json:"default,omitempty"`
}

// PortMap forwards a TCP port of the node to one of the container.
type PortMap struct {
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
}

// EgressRule allows traffic from the container (wire/dea.md h).
type EgressRule struct {
	Protocol string     `json:"protocol"` // tcp, udp, icmp, all
	First    netip.Addr `json:"first"`    // destination range, inclusive
	Last     netip.Addr `json:"last"`
	Ports    []PortSpan `json:"ports,omitempty"` // tcp and udp; none means all
	ICMPType int        `json:"icmp_type"`       // -1 means any
	ICMPCode int        `json:"icmp_code"`
	Log      bool       `json:"log"`
}

// PortSpan is an inclusive range of ports.
type PortSpan struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// Job is one process tree in a container, started by PID 1 on request.
type Job struct {
	Number  uint32   `json:"number"`   // unique in the container, from 1
	Argv    []string `json:"argv"`     // Argv[0] is a path inside the container, or a name in Env's PATH
	Env     []string `json:"env"`      // K=V, the whole environment
	Dir     string   `json:"dir"`      // working directory inside the container
	User    User     `json:"user"`     //
	Umask   uint32   `json:"umask"`    //
	Files   uint64   `json:"files"`    // RLIMIT_NOFILE, 0: as inherited
	Procs   uint64   `json:"procs"`    // RLIMIT_NPROC, 0: as inherited
	PidFile string   `json:"pid_file"` // the job's pid, appended as one line; empty: none
	// Rlimits are further limits, soft and hard alike. One that can't be set is
	// not, as with Files and Procs: this machine may not allow more.
	Rlimits []Rlimit `json:"rlimits,omitempty"`
	Stdin   []byte   `json:"stdin,omitempty"` // what it may read there; none: end of file at once
	// Discard has the job write to nowhere.
	Discard bool `json:"discard,omitempty"`
	// Fallback is run instead where Argv can't be executed, in the same way
	// otherwise: a shell, which says why not, or can make something of it.
	Fallback []string `json:"fallback,omitempty"`
	// OutputMax bounds each of the job's two output files, in bytes; PID 1
	// punches out what is older. 0: the node's default.
	OutputMax int64 `json:"output_max"`
}

// Window is a terminal's size in characters.
type Window struct{ Rows, Columns uint16 }

// Rlimit is one resource limit.
type Rlimit struct {
	Resource int    `json:"resource"` // RLIMIT_AS, ...
	Value    uint64 `json:"value"`    // RLIM_INFINITY: none
}

// User is who a job runs as, inside the container.
type User struct {
	// Name is looked up in the container's own /etc/passwd, and what is found
	// there counts instead of the numbers. Empty: the numbers count.
	Name   string   `json:"name,omitempty"`
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// Exit is how a job ended, as PID 1 recorded it.
type Exit struct {
	Job      uint32    `json:"job"`
	Code     int       `json:"code"`      // exit code; -1 when a signal ended it
	Signal   int       `json:"signal"`    // 0: none
	OOMKills uint64    `json:"oom_kills"` // the kernel's count for the jobs' memory group at that moment
	At       time.Time `json:"at"`
	// Ordered is set when the job ended while every job was being stopped: an
	// agent that died meanwhile must not take it for a crash.
	Ordered bool `json:"ordered"`
	// Lost is set when PID 1 died before it could record the exit.
	Lost bool `json:"lost"`
}

// SignalName is the name of the signal that ended the job, "SIGSEGV"; empty
// where none did.
func (e Exit) SignalName() string {
	if e.Signal == 0 {
		return ""
	}
	return unix.SignalName(unix.Signal(e.Signal))
}

// JobStatus is what PID 1 says of one job.
type JobStatus struct {
	Number uint32 `json:"number"`
	PID    int    `json:"pid"` // inside the container
	Exit   *Exit  `json:"exit,omitempty"`
}

// Status is what was observed of a container.
type Status struct {
	Spec    Spec        `json:"spec"`
	HostIP  netip.Addr  `json:"host_ip"` // the node's end of the veth
	PeerIP  netip.Addr  `json:"peer_ip"` // the container's end
	InitPID int         `json:"init_pid"`
	Jobs    []JobStatus `json:"jobs"`
	Steps   []Timing    `json:"steps,omitempty"` // how long each step of Create took
}

// Copy is a copy between the node and a container: regular files, folders and
// symbolic links with their modes; times, owners and devices are not kept.
type Copy struct {
	Source string // a trailing slash means what is in it
	Target string
	// Owner is "user:group" of the node for Target and all below it, where that
	// is on the node; empty: root.
	Owner string
	// MostBytes and MostEntries bound what comes to the node, both or neither; of a
	// file that is too long its end comes. 0: nothing bounds it.
	MostBytes   int64
	MostEntries int
}

// Stats are a container's counters as the kernel has them, at one moment.
type Stats struct {
	// Memory is cgroup v1's memory.stat by its names; on v2 what v2 has, by
	// those names.
	Memory               map[string]uint64
	CPU                  time.Duration // the jobs', in all
	CPUUser, CPUSystem   uint64        // ticks of 1/100 s
	DiskBytes, DiskFiles uint64
	Bandwidth            Bandwidth // that it is limited to
}

// Stall is how long processes stood still for want of something, in all, by the
// kernel's account (PSI).
type Stall struct {
	Scope    string // "machine", or "containers": the node's all together
	Resource string // cpu, memory or io
	Kind     string // "some": at least one stood still; "full": all that could run did
	Total    time.Duration
}

// Traffic is what went through a link, as its container sees it.
type Traffic struct{ Received, Sent uint64 }

// Timing is one step's share of an operation.
type Timing struct {
	Step string        `json:"step"`
	Took time.Duration `json:"took"`
}

// Usage is what a container's jobs use at one moment, from the kernel's own
// counters.
type Usage struct {
	MemoryBytes int64         `json:"memory_bytes"` // rss + cache - inactive file
	CPU         time.Duration `json:"cpu"`          // since the container was made
	DiskBytes   int64         `json:"disk_bytes"`
	Pids        int64         `json:"pids"`
	OOMKills    uint64        `json:"oom_kills"`
}
