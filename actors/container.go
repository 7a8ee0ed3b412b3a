package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// containerMessage is everything that a container is told.
//
//sumtype:decl
type containerMessage interface{ container() }

type (
	ordered  struct{ order containerOrder }
	turnCame struct{}
	adopted  struct {
		status isolation.Status
		err    error
	}
	created struct {
		status isolation.Status
		err    error
	}
	stopEnded    struct{ err error }
	destroyEnded struct{ err error }
	// retryDue repeats a step that the kernel refused.
	retryDue struct{}
	// adoptDue asks a container again that could not be asked.
	adoptDue struct{}
	// unasked ends the wait for somebody who wants it made: as often as it was asked
	// for by then.
	unasked struct{ asked int }
	// leaseKnown says whether the container has its slot yet.
	leaseKnown struct{ leased bool }
	// hurried says that nobody waits for long any more.
	hurried struct{}
	// drainOver ends the wait for output that can't be published.
	drainOver struct{}
)

// startJob starts a further job in a bare container; answer is told what came
// of it. jobStarted is the kernel's word, forgetJob says that nobody will ask
// for the job any more.
type (
	startJob struct {
		job    isolation.Job
		answer func(error)
	}
	jobStarted struct {
		number uint32
		answer func(error)
		err    error
	}
	forgetJob struct{ number uint32 }
)

func (startJob) container()   {}
func (jobStarted) container() {}
func (forgetJob) container()  {}

func (ordered) container()      {}
func (turnCame) container()     {}
func (adopted) container()      {}
func (created) container()      {}
func (stopEnded) container()    {}
func (destroyEnded) container() {}
func (retryDue) container()     {}
func (adoptDue) container()     {}
func (unasked) container()      {}
func (leaseKnown) container()   {}
func (hurried) container()      {}
func (drainOver) container()    {}

// leafTold brings a leaf's fact.
type leafTold struct{ fact leafFact }

func (leafTold) container() {}

// stopLate is how much longer than its grace a stop may take before PID 1 is
// held to be deaf: so that a container that is to be destroyed is so within its
// grace and 5 s. hurryDrain is how long last lines wait while the node shuts
// down.
const (
	stopLate   = 4 * time.Second
	hurryDrain = 5 * time.Second
)

// unaskedNudges is how often an owner would have asked by then for a container that
// isn't there: it has none any more.
const unaskedNudges = 10

// container is the isolated box and what runs in it. It remembers nothing that
// the kernel could not tell its successor.
type container struct {
	w      *world
	order  containerOrder
	parts  parts
	parent kit.Ref[containersMessage]

	state    containerState
	busy     bool               // a step of the kernel's is under way
	deaf     bool               // PID 1 did not stop its jobs when it was asked to
	making   context.CancelFunc // ends the making under way; nil: none is
	turn     bool               // waiting for, or having, a turn to make
	asked    int                // how often anybody wanted something of it
	mute     bool               // it could not be asked: it may be there, and is not to be made
	status   isolation.Status
	exit     *isolation.Exit
	jobs     map[uint32]*keptJob                // a bare container's
	starts   map[uint32]context.CancelCauseFunc // of jobs that are being started
	wanted   map[uint32]startJob                // before it is known what there is
	hooks    map[Moment]hookState
	unready  error         // why the application can't begin
	health   containerFact // healthy or unhealthy, once known
	oom      bool
	done     chan struct{} // closed when the job ended: the output's follower ends then
	followed bool          // by its leaves
	output   bool          // followed, and not yet drained
	retries  int
	hurry    bool
	rested   bool
}

func (w *world) containerKind(o containerOrder, p parts, parent kit.Ref[containersMessage]) kit.Kind[containerMessage] {
	return kit.Kind[containerMessage]{Name: "container", Budget: w.Budget, New: func() kit.Actor[containerMessage] {
		return &container{
			w: w, order: o, parts: p, parent: parent, done: make(chan struct{}), jobs: map[uint32]*keptJob{},
			starts: map[uint32]context.CancelCauseFunc{}, wanted: map[uint32]startJob{}, hooks: map[Moment]hookState{},
		}
	}}
}

// Up makes the container or adopts what stands. Only the first incarnation may
// make it: a later one can't know whether it is still wanted, and waits to be
// asked again.
func (k *container) Up(c *kit.Context[containerMessage]) error {
	if c.Incarnation() > 1 {
		k.parent.Tell(containerUp{k.order.id})
	}
	k.parts.networks.Tell(lease{k.order.place})
	if k.order.fresh && k.order.goal == goalRun && c.Incarnation() == 1 {
		k.askTurn(c)
		return nil
	}
	k.adopt(c)
	switch k.order.goal {
	case goalHalt:
		k.input(c, inHalt)
	case goalRemove:
		k.input(c, inRemove)
	}
	return nil
}

// Down harms nobody: PID 1 and its jobs go on, and whoever comes next adopts them.
func (k *container) Down(*kit.Context[containerMessage]) {}

// Receive translates; the table decides.
func (k *container) Receive(c *kit.Context[containerMessage], m containerMessage) error {
	switch m := m.(type) {
	case ordered:
		k.take(c, m.order)
	case turnCame:
		k.make(c)
	case adopted:
		k.adopted(c, m)
	case created:
		k.created(c, m)
	case stopEnded:
		if k.deaf = errors.Is(m.err, context.DeadlineExceeded); k.deaf {
			k.order.owner(unstoppable{})
		}
		k.stepEnded(c, m.err, inHaltDone)
	case destroyEnded:
		k.stepEnded(c, m.err, inGone)
	case retryDue:
		k.act(c)
	case adoptDue:
		if k.state == containerBorn && !k.busy && !k.turn {
			k.adopt(c)
		}
	case unasked:
		if k.asked == m.asked && k.state == containerBorn && !k.busy && !k.turn {
			k.input(c, inMissing)
		}
	case leaseKnown:
		switch {
		case k.state != containerBorn || k.busy || k.turn: // asked for, or told to go, meanwhile
		case m.leased:
			k.askTurn(c)
		default:
			k.order.owner(containerLost{})
			k.input(c, inMissing)
		}
	case hurried:
		k.hurry = true
		k.act(c)
	case drainOver:
		k.giveUpOutput(c)
	case startJob:
		k.startJob(c, m)
	case jobStarted:
		k.jobStarted(c, m)
	case forgetJob:
		k.forgetJob(c, m.number)
	case hookOver:
		k.hookOver(c, m)
	case applicationBegan:
		k.began(c, m)
	case leafTold:
		k.leaf(c, m.fact)
	}
	return nil
}

// take keeps the newest order and answers it with what is known already.
func (k *container) take(c *kit.Context[containerMessage], o containerOrder) {
	k.order.owner, k.order.goal, k.order.jobs, k.order.hooks = o.owner, o.goal, o.jobs, o.hooks
	k.asked++
	switch o.goal {
	case goalRun:
		k.order.spec, k.order.job, k.order.probe, k.order.state = o.spec, o.job, o.probe, o.state
		if k.state == containerBorn && !k.busy && !k.turn && !k.mute {
			k.askLease(c)
		}
		k.recount(c)
	case goalKeep:
		if len(o.hooks) == 0 { // else it was told, and would ask for the hook again
			k.recount(c)
		}
		k.greet(c)
	case goalHalt:
		k.order.grace = o.grace
		k.recountJobs(c)
		k.input(c, inHalt)
	case goalRemove:
		k.order.grace, k.order.keep = o.grace, cmp.Or(o.keep, k.order.keep)
		k.recountJobs(c)
		k.input(c, inRemove)
	}
}

// recount tells a repeated order what was told before: the owner may be new.
func (k *container) recount(c *kit.Context[containerMessage]) {
	switch k.state {
	case containerLiving:
		switch {
		case k.unready != nil:
			k.order.owner(containerUnready{k.unready})
		case k.exit == nil && k.followed:
			k.order.owner(containerActive{k.status})
		}
	case containerStopped:
		if k.order.bare {
			k.order.owner(halted{})
		}
	case containerEnded:
		k.order.owner(containerLost{})
	}
	if k.oom {
		k.order.owner(outOfMemory{})
	}
	if k.health != nil {
		k.order.owner(k.health)
	}
	if k.exit != nil {
		k.order.owner(jobEnded{*k.exit})
	}
	k.recountJobs(c)
}

// input takes every fact through the table before anything is done.
func (k *container) input(c *kit.Context[containerMessage], in containerInput) {
	to, v := nextContainer(k.state, in)
	if v != accept {
		return
	}
	from := k.state
	k.state = to
	if to != from {
		k.retries = 0
	}
	switch {
	case in == inJobOver:
		k.order.owner(jobEnded{*k.exit})
	case to == containerLiving:
		k.live(c)
	case to == containerStopping && (in == inFound || in == inMade), to == containerStopped && in == inDead:
		k.follow(c)
		if k.order.bare && in == inDead {
			k.order.owner(containerLost{})
		}
	case to == containerEnded && from == containerBorn && in == inMissing && k.order.goal == goalKeep:
		k.order.owner(containerLost{})
	}
	if from == containerBorn && to != from {
		k.startWanted(c)
	}
	k.act(c)
}

// act does the next step towards what is wanted, one at a time.
func (k *container) act(c *kit.Context[containerMessage]) {
	if k.making != nil && k.order.goal >= goalHalt {
		k.making() // what comes of it arrives as created
	}
	if k.busy {
		return
	}
	switch k.state {
	case containerStopping:
		k.actStopping(c)
	case containerStopped:
		switch { // it may have been stopped before it could be asked
		case k.order.bare:
			k.followOwned(c)
		case !k.followed:
			k.follow(c)
		}
		k.order.owner(halted{})
		if k.order.goal == goalRemove && !k.awaits(c, AfterStop) {
			k.destroy(c)
		}
	case containerEnded:
		if k.mute && !k.followed && !k.order.bare { // destroyed unasked: what it wrote may be there
			k.follow(c)
		}
		k.wroteAll() // who waited for the job's end may have been given up
		k.order.owner(containerDestroyed{})
		if k.rested {
			k.order.owner(containerDone{})
		}
		k.rest()
		if k.output {
			c.After(k.drainMax(), drainOver{})
		}
	}
}

func (k *container) actStopping(c *kit.Context[containerMessage]) {
	switch {
	case len(k.starts) > 0: // what one of them starts is to be stopped too
		for _, cancel := range k.starts {
			cancel(errNotWanted)
		}
	case k.turn: // told to stop before its turn came: there is nothing to stop
		k.turn = false
		k.parent.Tell(turnOver{k.order.id})
		k.adopt(c)
	case k.awaits(c, BeforeStop):
	case k.order.goal == goalRemove && (k.order.grace == 0 || k.deaf):
		k.destroy(c)
	default:
		grace := k.order.grace
		k.step(c, "stop", func(ctx context.Context) error {
			ctx, over := k.w.within(ctx, grace+stopLate)
			defer over()
			return k.w.Kernel.Stop(ctx, k.order.id, grace)
		}, func(err error) containerMessage { return stopEnded{err} })
	}
}

// step runs one act on the kernel off the mailbox.
func (k *container) step(c *kit.Context[containerMessage], name string, act func(context.Context) error,
	then func(error) containerMessage) {
	k.busy = true
	kit.Pipe(c, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, act(ctx) },
		func(_ struct{}, err error) containerMessage { return then(err) })
}

// stepEnded goes on, or tries again after a pause: what is to be gone must not
// stay because the kernel refused once.
func (k *container) stepEnded(c *kit.Context[containerMessage], err error, in containerInput) {
	k.busy = false
	if err != nil {
		c.Log().Error("a step failed and will be tried again", "container", k.order.id, "error", err)
		k.retryLater(c)
		return
	}
	k.input(c, in)
}

func (k *container) retryLater(c *kit.Context[containerMessage]) {
	pause := min(k.w.Settings.RetryMax, k.w.Settings.RetryMin<<min(k.retries, 16))
	k.retries++
	c.After(pause, retryDue{})
}

// askLease asks whether a container may be made that was asked for before: it may
// have been, in vain, and its slot be on its way to another.
func (k *container) askLease(c *kit.Context[containerMessage]) {
	self := c.Self()
	k.parts.networks.Tell(stillLeased{k.order.id, func(leased bool) { self.Tell(leaseKnown{leased}) }})
	c.After(unaskedNudges*k.w.Settings.NudgeEvery, unasked{k.asked})
}

func (k *container) askTurn(c *kit.Context[containerMessage]) {
	k.turn = true
	k.parent.Tell(wantTurn{k.order.id, c.Self()})
}

// errNotWanted ends what is under way for a container that is to be stopped.
var errNotWanted = errors.New("the container is not wanted any more")

// make creates the container, unless it was told to stop while it waited.
func (k *container) make(c *kit.Context[containerMessage]) {
	if k.busy || k.state != containerBorn || !k.turn {
		k.parent.Tell(turnOver{k.order.id})
		return
	}
	k.busy = true
	spec, job := k.order.spec, k.order.firstJob()
	end := kit.PipeUntil(c, "create",
		func(ctx context.Context) (isolation.Status, error) { return k.w.Kernel.Create(ctx, spec, job) },
		func(s isolation.Status, err error) containerMessage { return created{s, err} })
	k.making = func() { end(errNotWanted) }
}

func (k *container) created(c *kit.Context[containerMessage], m created) {
	k.busy, k.turn, k.making = false, false, nil
	k.parent.Tell(turnOver{k.order.id})
	if errors.Is(m.err, fs.ErrExist) { // whoever asked for it as a new one was wrong
		k.adopt(c)
		return
	}
	if m.err != nil {
		if k.state == containerBorn {
			k.order.owner(containerFailed{m.err})
		}
		k.input(c, inFailed)
		return
	}
	c.Log().Debug("container made", "container", k.order.id, "steps", stepsText(m.status.Steps))
	k.status = m.status
	k.input(c, inMade)
}

// stepsText is how long each step took, for the log.
func stepsText(steps []isolation.Timing) string {
	text := ""
	for _, s := range steps {
		text += fmt.Sprintf("%s=%s ", s.Step, s.Took.Round(time.Microsecond))
	}
	return text
}
