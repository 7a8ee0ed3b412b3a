package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// Settings are the node's times and numbers.
type Settings struct {
	Heartbeat, Advertise, RouterRegister time.Duration
	HealthCheckTimeout                   time.Duration // where a start names none
	StopGrace                            time.Duration // between SIGTERM and SIGKILL
	EvacuateWithin                       time.Duration // where an evacuation names no time
	CrashLifetime                        time.Duration // how long a crash is remembered
	Copies                               int           // into and out of containers at a time; 0: one
	Starts                               int           // containers made at a time
	Spares                               int           // containers half of which is made before they are asked for
	PrepareAfter                         time.Duration // quiet before one of them is prepared
	NudgeEvery                           time.Duration // until a request without an answer is repeated
	RetryMin, RetryMax                   time.Duration // pauses before a step of taking down is repeated
	DrainMax                             time.Duration // how long last lines wait for somebody to take them
	ReleaseDelay                         time.Duration // how long a slot rests when nothing of it is left
	HookMax                              time.Duration // how long anybody waits for a hook
	StateFileTimeout                     time.Duration // for an application to write that it runs
}

// DefaultSettings are the wire's (wire/dea.md g), and for what it doesn't know
// what proved sound.
func DefaultSettings() Settings {
	return Settings{
		Heartbeat: 10 * time.Second, Advertise: 5 * time.Second, RouterRegister: 20 * time.Second,
		HealthCheckTimeout: time.Minute, StopGrace: 10 * time.Second, CrashLifetime: time.Hour,
		EvacuateWithin: 10 * time.Minute,
		Copies:         16, Starts: 16, Spares: 8, PrepareAfter: 30 * time.Millisecond, NudgeEvery: 2 * time.Second,
		RetryMin: 100 * time.Millisecond, RetryMax: 30 * time.Second, DrainMax: 5 * time.Minute,
		HookMax: 10 * time.Second, StateFileTimeout: 5 * time.Minute,
	}
}

// Options are all that the tree needs of the world.
type Options struct {
	Node     messaging.Node
	Zone     string
	Stacks   []string
	Runtimes []string // of the first era, by name
	BootID   string   // of this boot of the machine
	// Component is what monitors are told, but for its start; nil: nothing.
	Component *messaging.Component
	Settings  Settings
	Capacity  Capacity
	Budget    kit.Budget // of every actor; zero: kit's default

	Kernel   Kernel
	Droplets Droplets
	Output   Output
	Planner  Planner
	Store    Store
	Sink     Sink

	// Files' side; nil: none are served, and none are kept of what crashed.
	Directory *Directory
	Crashes   Crashes

	// Warden's side; nil: there is no such door.
	Live        Live
	Transcripts Transcripts
	Clients     Clients
	Designer    Designer

	// Recovered are the containers that a former agent left, as the kernel has them.
	Recovered []isolation.Spec

	NewContainerID func() string // 11 base-32 digits
	NewInstanceID  func() string // 32 hexadecimal digits

	Log        hclog.Logger
	Clock      kit.Clock      // nil: the real one
	Dispatcher kit.Dispatcher // nil: a goroutine a turn
	Seed       uint64         // of what is random; 0: drawn
	Hook       func(kit.Turn) // for tests: called before each message is handled
}

// world is what every actor of one tree shares. Nothing in it changes after the
// root came up, but for the book, which is the ledger's alone, what is gone, and
// what is counted.
type world struct {
	Options
	book      *book
	recovered map[string]bool       // containers that a former agent made
	tell      func(messaging.Event) // by way of the root
	began     time.Time             // the tree was made
	settled   func()
	evacuated func()
	begun     time.Time     // when the root came up first
	copies    chan struct{} // as many are in it as are under way
	gone      *gone         // the containers' alone
	promises  atomic.Uint64 // made so far: what is asked of the past knows none of the later ones
}

// Tree is the node's actors.
type Tree struct {
	w      *world
	system *kit.System
	root   kit.Ref[nodeMessage]
	ready  chan struct{}
	empty  chan struct{}
	failed chan error
}

// New makes a tree. It enters every promise that a former agent made before
// anything new can be promised.
func New(o Options) *Tree {
	if o.Clock == nil {
		o.Clock = kit.RealClock()
	}
	t := &Tree{
		w: &world{
			Options: o, book: newBook(o.Capacity), recovered: map[string]bool{},
			copies: make(chan struct{}, max(1, o.Settings.Copies)), gone: &gone{ids: map[string]bool{}},
		},
		ready: make(chan struct{}), empty: make(chan struct{}), failed: make(chan error, 1),
	}
	t.w.began = o.Clock.Now()
	t.w.settled = sync.OnceFunc(func() { close(t.ready) })
	t.w.evacuated = sync.OnceFunc(func() { close(t.empty) })
	t.restoreBook()
	return t
}

// restoreBook claims what containers in the kernel and instances on record hold. A
// container is there; a record may be from before its slot became another's, and is
// placed anew then.
func (t *Tree) restoreBook() {
	for _, spec := range t.w.Recovered {
		t.w.recovered[spec.ID] = true
		if !t.w.book.claimSpec(spec) {
			t.w.Log.Error("a slot is claimed twice by containers", "container", spec.ID, "slot", spec.Slot)
		}
	}
	for _, r := range t.w.Store.All() {
		p := r.Placement
		if p.Started.IsZero() || r.State == messaging.Crashed {
			continue // never placed, or only its container is left, if that
		}
		if !t.w.book.claim(p, r.Start.Application, r.Start.Limits.MemoryMiB, r.Start.Limits.DiskMiB) {
			t.w.Log.Warn("an instance's slot is another's by now", "instance", r.Instance, "slot", p.Slot)
		}
	}
}

// Start brings the tree up.
func (t *Tree) Start() {
	o := t.w.Options
	t.system = kit.NewSystem(kit.Options{
		Log: o.Log, Clock: o.Clock, Dispatcher: o.Dispatcher, Seed: o.Seed, Hook: o.Hook,
	})
	t.root = kit.Root(t.system, "node", t.w.nodeKind(), func(reason error) { t.failed <- reason })
}

// Deliver hands a command to the tree; it doesn't block.
func (t *Tree) Deliver(c messaging.Command) { t.root.Tell(arrived{c}) }

// Ready is closed when every instance of a former agent is accounted for.
func (t *Tree) Ready() <-chan struct{} { return t.ready }

// Evacuated is closed when an evacuation is over: nothing runs any more that
// somebody wants, or it took too long. What is left is for Shutdown.
func (t *Tree) Evacuated() <-chan struct{} { return t.empty }

// Hide has the node say goodbye and offer nothing any more, until its end. What it
// runs runs on, and what it is told it does.
func (t *Tree) Hide() { t.root.Tell(hide{}) }

// Failed tells why the root was given up: the agent can only end, and the next
// one finds everything as it stands.
func (t *Tree) Failed() <-chan error { return t.failed }

// ErrNotStopped says that a shutdown ran out of time; what still runs is kept
// for the next agent.
var ErrNotStopped = errors.New("actors: not everything could be stopped in time")

// Shutdown stops every instance and returns when nothing of any container is left.
func (t *Tree) Shutdown(ctx context.Context) error {
	done := make(chan struct{})
	defer t.Leave(sync.OnceFunc(func() { close(done) }))()
	select {
	case <-done:
		return nil
	case err := <-t.failed:
		return err
	case <-ctx.Done():
		return ErrNotStopped
	}
}

// Leave is Shutdown for whoever can't wait: done is called when nothing of any
// container is left, maybe again. Until the wait is over it is said again and
// again, because whoever was told may have been restarted since.
func (t *Tree) Leave(done func()) (over func()) {
	var ended atomic.Bool
	var say func()
	say = func() {
		if !ended.Load() {
			t.root.Tell(shutdown{done})
			t.w.Clock.AfterFunc(t.w.Settings.NudgeEvery, say)
		}
	}
	say()
	return func() { ended.Store(true) }
}

// ExitTold says that the server has an instance's droplet.exited.
func (t *Tree) ExitTold(instance string) { t.root.Tell(exitHeard{instance}) }

// Detach lets everything go; what runs goes on running.
func (t *Tree) Detach() { t.system.Close() }

// Actors lists who lives, by path; it asks nobody.
func (t *Tree) Actors() []kit.Standing { return t.system.Census() }

// Failures says what became of actors that failed, by kind.
func (t *Tree) Failures() map[string]kit.Tally { return t.system.Tallies() }
