package actors

import (
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// handleMessage is everything that a handle is told.
//
//sumtype:decl
type handleMessage interface{ handle() }

type (
	// clientWants is what a client asks; job is the number that a new one gets. It
	// is for one incarnation: of what others were asked, clients are told that it
	// is lost.
	clientWants struct {
		command messaging.ContainerCommand
		job     uint32
		life    int
	}
	roomFound struct {
		place Placement
		err   error
	}
	designed struct {
		spec isolation.Spec
		err  error
	}
	// takenUp is what a successor finds.
	takenUp struct {
		status isolation.Status
		err    error
	}
	handleTold struct{ fact containerFact }
	// containerVanished says that a container's actor is gone, whatever became of it.
	containerVanished struct{ ref kit.Ref[containerMessage] }
	// expired says that no client has held the container for its grace time, or
	// that the node shuts down.
	expired     struct{}
	handleNudge struct{}
	// askerLeft says that nobody waits for the answer any more.
	askerLeft struct{ ask messaging.Ask }
	// answerSent says that a client has what a job came to, or will never have it.
	answerSent struct{ ask messaging.Ask }
	// readersLate says that who reads a job had long enough.
	readersLate struct{}
)

// readMax is how long a destruction waits for those who read what jobs wrote: one
// of them may never do it.
const readMax = 5 * time.Second

func (clientWants) handle()       {}
func (roomFound) handle()         {}
func (designed) handle()          {}
func (takenUp) handle()           {}
func (handleTold) handle()        {}
func (containerVanished) handle() {}
func (expired) handle()           {}
func (handleNudge) handle()       {}
func (askerLeft) handle()         {}
func (answerSent) handle()        {}
func (readersLate) handle()       {}

// handle is one container that Warden's clients made: Warden's state machine,
// and what its clients wait for. The container itself is the same as
// everybody's; what must not be forgotten is in its note.
type handle struct {
	w      *world
	id     string // the container's
	parts  parts
	parent kit.Ref[handlesMessage]
	birth

	state     handleState
	note      note
	spec      isolation.Spec
	place     Placement
	status    isolation.Status
	container kit.Ref[containerMessage]
	known     bool          // what there is was found out
	queue     []clientWants // what came before that, and jobs that came without a container's actor
	jobs      map[uint32]*clientJob
	former    uint32                        // the last number of the jobs that were there
	starting  map[uint32]wish               // asked of the container
	mapping   map[messaging.Ask]reservePort // asked of the ledger
	reads     map[messaging.Ask]*reading
	halting   bool // ordered
	halted    bool
	deaf      bool            // it can't be stopped
	reading   bool            // there is a limit to the reading
	late      bool            // and it is over
	grace     time.Duration   // of the stop
	ending    []messaging.Ask // wait for the stop
	take      bool            // to be destroyed
	taking    []messaging.Ask // wait for that
	removing  bool            // ordered
	saving    bool            // the note is being written
	unsaved   bool            // and has changed since
	answers   []answered      // wait for that
	later     []answered      // wait for the next one
	dropped   []uint32        // jobs to be forgotten once it is written
	nudge     func()
}

// birth is a container's place among all that were made, and what asked for it.
type birth struct {
	number uint64
	create *messaging.CreateContainer // nil: it is there, a successor takes it up
}

func (w *world) handleKind(id string, b birth, p parts, parent kit.Ref[handlesMessage]) kit.Kind[handleMessage] {
	return kit.Kind[handleMessage]{Name: "handle", Budget: w.Budget, New: func() kit.Actor[handleMessage] {
		return &handle{
			w: w, id: id, birth: b, parts: p, parent: parent, jobs: map[uint32]*clientJob{},
			starting: map[uint32]wish{}, mapping: map[messaging.Ask]reservePort{}, reads: map[messaging.Ask]*reading{},
		}
	}}
}

// Up makes the container in the first incarnation, and takes up what there is
// in any other: whoever asked for it then was told to ask again.
func (h *handle) Up(c *kit.Context[handleMessage]) error {
	h.parent.Tell(handleUp{h.id, c.Incarnation()})
	if h.makes(c) {
		h.reserve(c)
		return nil
	}
	h.ask(c)
	return nil
}

// makes says that the container is this incarnation's to make.
func (h *handle) makes(c *kit.Context[handleMessage]) bool {
	return h.create != nil && c.Incarnation() == 1
}

// ask asks the kernel what there is.
func (h *handle) ask(c *kit.Context[handleMessage]) {
	kit.Pipe(c, "adopt", h.adopt, func(s isolation.Status, err error) handleMessage { return takenUp{s, err} })
}

// Down releases nothing: the next incarnation finds all of it in the kernel.
func (h *handle) Down(*kit.Context[handleMessage]) {}

// Receive translates; the table decides.
func (h *handle) Receive(c *kit.Context[handleMessage], m handleMessage) error {
	switch m := m.(type) {
	case clientWants:
		if m.life == c.Incarnation() {
			h.want(c, m)
		}
	case roomFound:
		h.begin(c, m)
	case designed:
		h.designed(c, m)
	case takenUp:
		h.takeUp(c, m)
	case handleTold:
		_, placed := m.fact.(containerPlaced)
		if h.known || h.makes(c) || placed { // what it misses is told again to its order
			h.fact(c, m.fact)
		}
	case containerVanished:
		if h.container == m.ref {
			h.container = kit.Ref[containerMessage]{}
			h.nudgeSoon(c)
		}
	case expired:
		h.destroy(c)
	case handleNudge:
		h.nudge = nil
		if len(h.dropped) > 0 && !h.removing {
			h.keep(c)
		}
		h.drive(c)
		h.askAgain(c)
	case askerLeft:
		h.clientLeft(c, m.ask)
	case answerSent:
		h.sent(c, m.ask)
	case readersLate:
		h.late = true
		h.drive(c)
	case noted:
		h.noted(c, m)
	case done:
		h.finished(c, m)
	case inspected:
		h.inspected(c, m)
	case portReserved:
		h.portReserved(c, m)
	case spawned, gathered, looked, streamed, tagged, forgotten:
		h.job(c, m)
	}
	return nil
}

func (h *handle) fail(ask messaging.Ask, text string) { h.answer(ask, messaging.Failed{Text: text}) }

// input takes everything that changes the state through the table.
func (h *handle) input(c *kit.Context[handleMessage], in handleInput) {
	to, v := nextHandle(h.state, in)
	if v != accept || to == h.state {
		return
	}
	h.state = to
	if to == handleActive || to == handleStopped {
		h.note.State = handleWords[to]
		if in != inReady { // else it is on record as it was made
			h.keep(c)
		}
	}
}

// order tells the containers what is wanted of this one.
func (h *handle) order(c *kit.Context[handleMessage], o containerOrder) {
	self := c.Self()
	o.id, o.place, o.bare = h.id, h.place, true
	o.source = OutputSource{Container: h.id}
	for id := range h.jobs {
		if _, starting := h.starting[id]; !starting {
			o.jobs = append(o.jobs, id)
		}
	}
	slices.Sort(o.jobs)
	o.owner = func(f containerFact) { self.Tell(handleTold{f}) }
	h.parts.containers.Tell(o)
	h.nudgeSoon(c)
}

// drive does, or asks again for, what is to be next.
func (h *handle) drive(c *kit.Context[handleMessage]) {
	switch {
	case h.state == handleDestroyed:
	case !h.known && !h.makes(c):
		h.ask(c)
	case !h.known && h.place.Container == "":
		h.reserve(c)
	case !h.known && h.spec.ID == "": // a look at the disk
	case !h.known:
		h.order(c, containerOrder{goal: goalRun, spec: h.spec})
	case h.take && (h.halted || h.deaf) && h.saving && !h.removing: // or a successor would know nothing of it
	case h.take && (h.halted && (h.read() || h.late) || h.deaf):
		h.removing = true
		h.order(c, containerOrder{goal: goalRemove})
	case h.take && h.halted && !h.reading:
		h.reading = true
		c.After(readMax, readersLate{})
	case h.state == handleStopped && !h.halted:
		h.halting = true
		h.order(c, containerOrder{goal: goalHalt, grace: h.grace})
	case h.container.IsZero():
		h.order(c, containerOrder{goal: goalKeep})
	}
}

// reorder tells a container's actor that is new to it what the last one knew.
func (h *handle) reorder(c *kit.Context[handleMessage]) {
	switch {
	case !h.known || h.state == handleDestroyed:
	case h.removing:
		h.order(c, containerOrder{goal: goalRemove})
	case h.state == handleStopped:
		h.order(c, containerOrder{goal: goalHalt, grace: h.grace})
	default:
		h.order(c, containerOrder{goal: goalKeep})
	}
}

func (h *handle) nudgeSoon(c *kit.Context[handleMessage]) {
	if h.nudge != nil {
		h.nudge()
	}
	h.nudge = c.After(h.w.Settings.NudgeEvery, handleNudge{})
}

// fact translates what the container says.
func (h *handle) fact(c *kit.Context[handleMessage], f containerFact) {
	switch f := f.(type) {
	case containerPlaced:
		if f.ref != h.container {
			h.container = f.ref
			kit.Watch(c, f.ref, func() handleMessage { return containerVanished{f.ref} })
		}
		if h.known {
			h.unqueue(c)
		}
	case containerAnew:
		h.reorder(c)
	case containerActive:
		h.active(c, f.status)
	case containerFailed:
		c.Log().Error("a container could not be made", "container", h.id, "error", f.err)
		h.state = handleDestroyed
		h.parts.ledger.Tell(release{h.id})
		h.giveUp(designWords(f.err))
	case containerLost: // what still runs of it is no container any more
		if h.known {
			h.initDied(c)
		} else {
			h.lostInMaking(c)
		}
	case unstoppable:
		h.cantStop(c)
	case jobEnded:
		h.jobEnded(c, f.exit)
	case outOfMemory:
		h.note.event(eventOutOfMemory)
		h.keep(c)
		h.stop(c, h.w.Settings.StopGrace)
	case halted:
		h.wasHalted(c)
	case containerDestroyed:
		h.gone(c)
	case containerDone, healthy, unhealthy, containerUnready, greeted:
	}
}

func (h *handle) initDied(c *kit.Context[handleMessage]) {
	if h.note.event(eventInitDied) { // else a note that can't be written would be tried for ever
		h.keep(c)
	}
	h.stop(c, 0)
}

// stop ends every job; who waits for it is in ending.
func (h *handle) stop(c *kit.Context[handleMessage], grace time.Duration) {
	first := h.state == handleActive
	h.input(c, inEnd)
	if first {
		h.grace = grace
		h.drive(c)
		h.unqueue(c)
		h.settle(c)
	}
}

// cantStop gives up on a PID 1 that doesn't end its jobs: it can only be killed.
func (h *handle) cantStop(c *kit.Context[handleMessage]) {
	h.deaf = true
	for _, ask := range h.ending {
		h.fail(ask, helperFailed)
	}
	h.ending = nil
	if h.take && !h.removing {
		h.drive(c)
	}
}

func (h *handle) wasHalted(c *kit.Context[handleMessage]) {
	h.halted = true
	if h.state == handleActive { // a stop that an incarnation forgot
		h.stop(c, 0)
	}
	for id := range sorted(h.starting) { // the container lost them, or it would have said
		h.spawned(c, spawned{id, errNotWanted})
	}
	h.settle(c)
}

// settle answers who waits for a stop, once every job has ended, and goes on to
// the destruction that was asked for.
func (h *handle) settle(c *kit.Context[handleMessage]) {
	if !h.halted {
		return
	}
	if h.over() {
		for _, ask := range h.ending {
			h.answer(ask, messaging.Done{})
		}
		h.ending = nil
	}
	if h.take && !h.removing {
		h.drive(c)
	}
}

// destroy stops gracefully first.
func (h *handle) destroy(c *kit.Context[handleMessage]) {
	if h.take = true; h.known && !h.note.Taken {
		h.note.Taken = true
		h.keep(c)
	}
	h.input(c, inTake)
	if h.state == handleStopped && !h.halting && !h.halted {
		h.grace = h.w.Settings.StopGrace
	}
	h.drive(c)
}

// gone ends the handle: every process is dead and the mapped ports refuse.
func (h *handle) gone(c *kit.Context[handleMessage]) {
	if h.state == handleDestroyed {
		return
	}
	h.input(c, inTaken)
	h.parts.ledger.Tell(release{h.id})
	for _, a := range slices.Concat(h.answers, h.later) { // there is no disk to wait for
		h.parent.Tell(a)
	}
	for _, ask := range slices.Concat(h.ending, h.taking) {
		h.parent.Tell(answered{ask, messaging.Done{}})
	}
	h.answers, h.later, h.ending, h.taking = nil, nil, nil, nil
	h.parent.Tell(handleOver{h.id})
}
