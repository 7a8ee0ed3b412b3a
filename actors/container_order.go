package actors

import (
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// goal is what an owner wants of a container.
type goal uint8

const (
	goalRun    goal = iota // be there, with the job in it; made where it isn't
	goalKeep               // be there; one that isn't is lost
	goalHalt               // run no job any more
	goalRemove             // be gone
)

// containerOrder says what an owner wants. Orders are safe to repeat, and a
// repeated one is answered again.
type containerOrder struct {
	id     string
	goal   goal
	place  Placement
	source OutputSource
	spec   isolation.Spec // goalRun
	job    isolation.Job  // goalRun
	hooks  hooks          // to be run in it, at the moments that belong to the goal
	bare   bool           // it has no job of its own: jobs come and go, and their output is read by others
	jobs   []uint32       // of a bare one, that the owner knows of
	fresh  bool           // goalRun: nobody asked before, so there is none to adopt
	probe  time.Time      // goalRun: until when its port may stay closed; zero: no probe
	state  string         // goalRun: the file that is asked instead of the port; empty: none
	keep   string         // goalRemove: the crashed instance whose logs are kept; empty: nobody's are
	grace  time.Duration  // goalHalt, goalRemove: what jobs get to end by themselves; 0: none
	owner  func(containerFact)
}

// containerFact is everything that a container tells its owner.
//
//sumtype:decl
type containerFact interface{ containerFact() }

type (
	// containerPlaced says who looks after the container from now on.
	containerPlaced struct{ ref kit.Ref[containerMessage] }
	// containerAnew says that its actor was restarted, and knows less than it did.
	containerAnew   struct{}
	containerActive struct{ status isolation.Status }
	// containerFailed says that it could not be made; nothing of it is left.
	containerFailed struct{ err error }
	// containerUnready says that it lives, and that the application can't begin in it.
	containerUnready struct{ err error }
	// greeted says that the hook after the start is over.
	greeted struct{}
	// containerLost says that it is gone, or can't be looked after any more.
	containerLost struct{}
	// unstoppable says that PID 1 doesn't end its jobs when it is asked to.
	unstoppable        struct{}
	jobEnded           struct{ exit isolation.Exit }
	outOfMemory        struct{}
	healthy            struct{}
	unhealthy          struct{}
	halted             struct{}
	containerDestroyed struct{}
	// containerDone says that its last line was published, or let go: of the
	// container only what the kernel takes its time with is left.
	containerDone struct{}
)

func (containerPlaced) containerFact()    {}
func (containerAnew) containerFact()      {}
func (containerActive) containerFact()    {}
func (containerFailed) containerFact()    {}
func (containerUnready) containerFact()   {}
func (greeted) containerFact()            {}
func (containerLost) containerFact()      {}
func (unstoppable) containerFact()        {}
func (jobEnded) containerFact()           {}
func (outOfMemory) containerFact()        {}
func (healthy) containerFact()            {}
func (unhealthy) containerFact()          {}
func (halted) containerFact()             {}
func (containerDestroyed) containerFact() {}
func (containerDone) containerFact()      {}
