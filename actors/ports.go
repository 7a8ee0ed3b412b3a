package actors

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// Kernel is what the leaves do to the machine; isolation/box is the real one,
// testsuite/model the stand-in. Every call blocks and is made off the mailbox.
// All are safe to repeat.
type Kernel interface {
	// Create makes the container and starts job in it in the same round trip.
	// On error nothing of it is left.
	Create(ctx context.Context, spec isolation.Spec, job *isolation.Job) (isolation.Status, error)
	// Prepare makes ready what one of the next containers can be given before
	// it is known, for the first of the slots that they will have where nothing
	// is ready. It says whether there is more to do, and may be called for nothing.
	Prepare(ctx context.Context, slots []uint32) (more bool, err error)
	// Adopt takes hold of a container that lives. isolation.ErrGone: its PID 1
	// is dead, Wait still tells how jobs ended. isolation.ErrUnknown: there is
	// no such container.
	Adopt(ctx context.Context, id string) (isolation.Status, error)
	// Spawn starts a further job. Its number must be new to the container.
	Spawn(ctx context.Context, id string, job isolation.Job) error
	// Wait returns how the job ended, once it has.
	Wait(ctx context.Context, id string, job uint32) (isolation.Exit, error)
	// WaitOOM returns the kernel's count of processes of the container that it
	// killed for want of memory, once it is above seen.
	WaitOOM(ctx context.Context, id string, seen uint64) (uint64, error)
	// Stop ends every job: SIGTERM, SIGKILL after grace.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Destroy returns when every process is dead and mapped ports refuse.
	Destroy(ctx context.Context, id string) error
	// Release takes back what Destroy left, in one batch; then slots may be used again.
	Release(ctx context.Context, ids []string) error
	Usage(ctx context.Context, id string) (isolation.Usage, error)
	// Restrict replaces all egress rules of a container that lives by these, in one moment.
	Restrict(ctx context.Context, id string, rules []isolation.EgressRule) error
	// Probe makes one TCP connection from the node and closes it.
	Probe(ctx context.Context, address netip.AddrPort) error
	// Read returns a file of the container, of at most most bytes; path begins at
	// the application's home. Nothing in the container can make it wait.
	Read(ctx context.Context, id, path string, most int64) ([]byte, error)
	// Audit compares every container that lives with what it was made, gives back
	// what somebody else took or changed, and ends one that can't be kept without
	// it: Wait tells of that. It says all of what it found.
	Audit(ctx context.Context) ([]isolation.Finding, error)
	// Containers lists every container that has an intent record, living or dead.
	Containers(ctx context.Context) ([]isolation.Spec, error)
}

// Live is what may be done to a container that lives, beside what Kernel has:
// what was asked is on record with the container before it is so in the kernel.
type Live interface {
	// Spawn starts a further job. Its number must be new to the container.
	Spawn(ctx context.Context, id string, job isolation.Job) error
	// Forget drops what an ended job left.
	Forget(ctx context.Context, id string, job uint32) error
	// Note keeps something of the owner's with the container.
	Note(ctx context.Context, id string, note json.RawMessage) error
	// Limit changes limits and returns them as the kernel has them.
	Limit(ctx context.Context, id string, change isolation.LimitChange) (isolation.Limits, error)
	Stats(ctx context.Context, id string) (isolation.Stats, error)
	// Map adds a port mapping, Allow an egress rule before all others.
	Map(ctx context.Context, id string, port isolation.PortMap) error
	Allow(ctx context.Context, id string, rule isolation.EgressRule) error
	// Shape limits traffic each way.
	Shape(ctx context.Context, id string, limit isolation.Bandwidth) error
	// CopyIn and CopyOut copy as the container's own user may.
	CopyIn(ctx context.Context, id string, copy isolation.Copy) error
	CopyOut(ctx context.Context, id string, copy isolation.Copy) error
	// Folder is where the container's files lie on the node.
	Folder(id string) string
}

// Transcripts reads what jobs wrote, byte by byte.
type Transcripts interface {
	// Follow hands over what a job wrote and writes, from its beginning, until
	// it has ended and nothing is left.
	Follow(ctx context.Context, w Written, take func(stream string, data []byte) error) error
	// Exceeds returns once the job wrote more than most to both streams
	// together, or has ended.
	Exceeds(ctx context.Context, w Written, most int64) (bool, error)
	// Gather returns what the job wrote, and whether it was more than most.
	Gather(w Written, most int64) (stdout, stderr []byte, exceeded bool, err error)
	// Tag sends what a job writes to the machine's log, as Follow.
	Tag(ctx context.Context, w Written, tag string) error
}

// Written says whose output it is, and when there is no more of it.
type Written struct {
	Container string
	Job       uint32
	Ended     <-chan struct{} // closed when the job has
}

// Clients are the connections of Warden's door.
type Clients interface {
	// Chunk hands a part of a stream to who asked for it, as fast as it is read.
	Chunk(ctx context.Context, ask messaging.Ask, stream string, data []byte) error
}

// ErrClientGone says that nobody reads a stream any more.
var ErrClientGone = errors.New("the client is gone")

// Designer turns what Warden's clients ask into what the kernel understands. Its
// errors are texts that clients read.
type Designer interface {
	// Container looks at what the client names on the node, so it is called off
	// the mailbox.
	Container(p Placement, m messaging.CreateContainer) (isolation.Spec, error)
	Job(number uint32, s messaging.Script) isolation.Job
	Egress(m messaging.AllowEgress) (isolation.EgressRule, error)
	// Slot is the one that an address belongs to.
	Slot(network string) (uint32, error)
	// OutputMax is how much a job may write before its reading ends.
	OutputMax() int64
	// DiskQuota says whether limits on disk are anything but words.
	DiskQuota() bool
	// Grace is how long a container without clients stays; negative: for ever.
	Grace() time.Duration
}

// Droplets fetches, verifies and unpacks droplets; staging's cache is the real one.
type Droplets interface {
	// Fetch returns the droplet, unpacked as a read-only layer; one that is
	// cached is returned at once.
	Fetch(ctx context.Context, d messaging.Droplet) (Droplet, error)
	// Evict removes every cached droplet that isn't among keep, by digest.
	Evict(ctx context.Context, keep []string) error
}

// Droplet is an unpacked droplet.
type Droplet struct {
	Digest       string // "sha1-<hex>" or "sha256-<hex>": its name in the cache
	Layer        string // absolute path of the read-only layer
	StartCommand string // staging_info.yml's; empty: none
	Startup      bool   // a first-generation droplet with a ./startup script
	// ProfileScripts: the droplet has scripts in app/.profile.d that a shell has
	// to read before the application starts, or may have.
	ProfileScripts bool
	// StateFile is where the application says that it runs, below its home; empty:
	// nowhere.
	StateFile string
}

// Output follows what a job writes and publishes each line. It returns nil
// when done is closed and everything was published.
type Output interface {
	Follow(ctx context.Context, source OutputSource, done <-chan struct{}) error
	// Tail returns the last lines at most of each stream of an application's
	// instances, oldest first; index -1 means all.
	Tail(ctx context.Context, application string, index, lines int) ([]messaging.LogLine, error)
	// Forget drops what is kept of an instance's output.
	Forget(instance string)
}

// OutputSource says whose output it is.
type OutputSource struct {
	Container   string
	Job         uint32
	Application string
	Instance    string
	Index       int
}

// Crashes keeps the logs of crashed instances when their containers go.
type Crashes interface {
	// Keep copies an instance's logs out of its container; once it has, it has
	// nothing more to do.
	Keep(ctx context.Context, instance, container string) error
	// Sweep removes what is kept of instances that aren't on record any more, and
	// the oldest while the disk is too full: it returns whose logs went for that.
	Sweep(ctx context.Context) (gone []string, err error)
}

// Directory is the server of instances' files, as others are to know of it.
type Directory struct {
	Route messaging.Route
	// Link is an address at which a path of an instance can be had.
	Link func(instance, path string) string
}

// Planner turns what was asked into what a container is made of. It makes no
// system call.
type Planner interface {
	Plan(p Placement, start messaging.StartInstance, d Droplet) (isolation.Spec, isolation.Job, error)
	// Egress is what Plan makes of rules: for Restrict of a container that lives.
	Egress(rules []messaging.EgressRule) ([]isolation.EgressRule, error)
	// Hook is what is to be run in the application's container at a moment of its
	// life; nil: nothing.
	Hook(m Moment, p Placement, start messaging.StartInstance) (*isolation.Job, error)
}

// Placement is where an instance was put.
type Placement struct {
	Instance  string
	Container string // id
	Slot      uint32
	Epoch     uint32
	Port      uint16 // mapped port, the same inside and outside; 0: none
	Started   time.Time
	// DebugPort and ConsolePort are mapped as Port is, where the first era asks for
	// them; 0: not.
	DebugPort   uint16 `json:",omitempty"`
	ConsolePort uint16 `json:",omitempty"`
}

// What a planner refuses with where the wire has words of its own for it.
var ErrNoStartCommand = errors.New("missing start command")

// Store keeps what should run. It answers from memory and writes behind;
// Flush waits until what was put is on disk. It is safe for concurrent use.
type Store interface {
	Put(r Record)
	Get(instance string) (Record, bool)
	// Change has change act on a record that is there, and on no other's work in
	// between, and returns what became of it. False: there is none.
	Change(instance string, change func(*Record)) (Record, bool)
	Remove(instance string)
	// All returns every record, by application, index and instance.
	All() []Record
	// Flush returns when everything put or removed before is on disk.
	Flush(ctx context.Context) error
}

// Record is everything that a successor needs to know of an instance.
type Record struct {
	// Instance is the id that it was born with. Actors, stores and output know the
	// instance by it; the wire may have learnt another one since.
	Instance        string                  `json:"instance"`
	Renamed         string                  `json:"renamed,omitempty"` // the wire's, since an update; empty: Instance
	PrivateInstance string                  `json:"private_instance"`
	Start           messaging.StartInstance `json:"start"`
	Placement       Placement               `json:"placement"`
	State           messaging.State         `json:"state"`
	Since           time.Time               `json:"since"`
	URIs            []string                `json:"uris"`
	ExitStatus      int                     `json:"exit_status"`
	Signal          string                  `json:"signal"` // "SIGSEGV"; empty: none
	Description     string                  `json:"description"`
	Untold          bool                    `json:"untold"`              // its crash: nobody is known to have heard of it
	StopOrdered     bool                    `json:"stop_ordered"`        // and maybe not begun
	Ungreeted       bool                    `json:"ungreeted,omitempty"` // the hook after its start is ahead
	BootID          string                  `json:"boot_id"`             // of the machine's boot in which it was placed
	Update          *Update                 `json:"update,omitempty"`
	Ruled           bool                    `json:"ruled,omitempty"`       // an update has changed its egress rules
	EvacuateBy      time.Time               `json:"evacuate_by,omitzero"`  // the node's; zero: it isn't evacuated
	EvacuatedAt     time.Time               `json:"evacuated_at,omitzero"` // when that was told
}

// Update is what a controller wants changed of an instance that runs on. It holds
// once it is on disk: nobody may hear of what a successor doesn't know.
type Update struct {
	Renamed string                  `json:"renamed"` // as in the record, and so the others
	Version string                  `json:"version"`
	URIs    []string                `json:"uris"`
	Egress  *[]messaging.EgressRule `json:"egress,omitempty"` // nil: stay
}

// Sink takes what the node tells; it doesn't block.
type Sink func(messaging.Event)
