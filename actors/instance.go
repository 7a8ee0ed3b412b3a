package actors

import (
	"fmt"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// instance is one application instance: the DEA's state machine. All that it
// must not forget is in its record; everything else it asks for again.
type instance struct {
	w      *world
	id     string
	parts  parts
	parent kit.Ref[instancesMessage]

	record Record
	state  instanceState
	fresh  bool // born with this incarnation: nobody before it asked for a container
	silent bool // not on disk yet: what there is to tell waits
	untold []messaging.Event
	placed bool // room was granted to this incarnation
	// placedWith is who looks after the container; zero: nobody is known to.
	placedWith kit.Ref[containerMessage]
	droplet    Droplet // zero: not there yet
	asked      bool    // for a container, in this incarnation
	held       bool    // the container answered
	over       bool    // nothing of the container runs any more
	done       bool    // and nobody reads its files any more
	oom        bool
	sample     sample
	// unruled says that the container may have other egress rules than it is to have,
	// restricting that they are being replaced.
	unruled, restricting bool
	nudge                func() // cancels the nudge under way
}

func (w *world) instanceKind(id string, p parts, parent kit.Ref[instancesMessage]) kit.Kind[instanceMessage] {
	return kit.Kind[instanceMessage]{Name: "instance", Budget: w.Budget, New: func() kit.Actor[instanceMessage] {
		return &instance{w: w, id: id, parts: p, parent: parent}
	}}
}

// Up takes up from the record, whoever wrote it.
func (i *instance) Up(c *kit.Context[instanceMessage]) error {
	record, ok := i.w.Store.Get(i.id)
	if !ok {
		i.parent.Tell(instanceOver{i.id})
		return nil
	}
	state, ok := stateOf(record.State)
	if !ok {
		return fmt.Errorf("instance %s: its record has the unknown state %q", i.id, record.State)
	}
	// A record may lag behind its container by the last few milliseconds of a
	// former agent, so the kernel is asked too.
	i.record, i.state = record, state
	i.fresh = state == instanceBorn && !i.w.recovered[record.Placement.Container]
	i.silent = i.fresh && c.Incarnation() == 1
	if state == instanceCrashed && record.Untold {
		i.tell(record.exited()) // nobody is known to have heard of it
	}
	if record.StopOrdered {
		i.input(c, inStop, ending{}) // whoever was told of it did not live to act
	}
	if state != instanceRunning {
		i.parent.Tell(instanceSettled{i.id})
	}
	if record.Update != nil {
		i.parent.Tell(updateLeft{i.id})
	}
	if record.EvacuatedAt.Before(record.EvacuateBy) {
		i.parent.Tell(evacuationLeft{})
	}
	i.drive(c)
	return nil
}

// Down releases nothing: the next incarnation finds all of it by the record.
func (i *instance) Down(*kit.Context[instanceMessage]) {}

// Receive translates; the table decides.
func (i *instance) Receive(c *kit.Context[instanceMessage], m instanceMessage) error {
	switch m := m.(type) {
	case granted:
		i.record.Placement, i.placed = m.placement, true
		i.input(c, inRoom, ending{})
	case denied:
		i.input(c, inNoRoom, ending{status: -1, words: m.words})
	case dropletReady:
		i.droplet = m.droplet
		i.input(c, inDroplet, ending{})
	case dropletFailed:
		i.unfit(c, m.err)
	case told:
		i.fact(c, m.fact)
	case vanished:
		i.held, i.placedWith = false, kit.Ref[containerMessage]{}
		i.over = i.done // who was to say that nobody reads its files any more is gone
		i.nudgeSoon(c)
	case stop:
		i.input(c, inStop, ending{})
	case describe:
		i.describe(c, m.find)
	case status:
		i.status(c, m.replyTo)
	case restricted:
		i.restricted(c, m)
	case measured:
		i.report(c, m)
	case enter:
		i.enter(m)
	case nudge:
		i.drive(c)
	case announce:
		i.announce()
	case update:
		i.update(c, m.update)
	case evacuate:
		i.evacuate(c)
	case speak:
		i.speak()
	case harmed:
		i.say("Instance (index %d) can't be kept, somebody else on the machine has harmed it: %s",
			i.record.Start.Index, m.what)
	}
	return nil
}

// fact translates what the container says.
func (i *instance) fact(c *kit.Context[instanceMessage], f containerFact) {
	switch f := f.(type) {
	case containerPlaced:
		if f.ref != i.placedWith {
			i.placedWith = f.ref
			kit.Watch(c, f.ref, func() instanceMessage { return vanished{} })
		}
	case containerAnew: // the order that it was given again is enough
	case containerActive:
		i.held = !i.placedWith.IsZero() // else a former incarnation's order is answered: nobody is watched
		i.input(c, inActive, ending{})
		i.announce() // adopted: the router may not know
		i.restrict(c)
		i.parent.Tell(instanceSettled{i.id})
		if i.state == instanceStarting && i.patience() == 0 {
			i.input(c, inHealthy, ending{}) // nothing to wait for
		}
	case containerFailed:
		i.over, i.done = true, true
		i.unfit(c, f.err)
	case containerUnready:
		i.unfit(c, f.err)
	case greeted:
		i.greeted()
	case containerLost:
		i.input(c, inLost, ending{status: -1, words: unknownEnd})
	case jobEnded:
		i.ended(c, f.exit)
	case outOfMemory:
		i.oom = true
		i.input(c, inOOM, ending{})
	case healthy:
		i.input(c, inHealthy, ending{})
	case unhealthy:
		i.say("Instance (index %d) failed to start accepting connections", i.record.Start.Index)
		i.input(c, inUnhealthy, ending{status: -1, words: neverAccepted})
	case halted:
		i.input(c, inHalted, ending{})
	case containerDestroyed:
		i.over = true
		i.input(c, inDestroyed, ending{})
		i.drive(c)
	case containerDone:
		i.done = true
		i.drive(c)
	case unstoppable: // the container is killed, as it is to be gone
	}
}

// ended tells an ordered end from a crash: an agent that died while it stopped
// the application may not have written that down, but PID 1 has.
func (i *instance) ended(c *kit.Context[instanceMessage], exit isolation.Exit) {
	if exit.Ordered && exit.OOMKills == 0 && !i.oom {
		i.input(c, inStop, ending{})
		return
	}
	i.input(c, inExited, endingOf(exit, i.oom))
}

// unfit logs why, because the wire only says that.
func (i *instance) unfit(c *kit.Context[instanceMessage], err error) {
	if i.state == instanceStarting || i.state == instanceRunning {
		c.Log().Error("an instance failed to start", "application", i.record.Start.Application,
			"index", i.record.Start.Index, "error", err)
	}
	i.input(c, inUnfit, ending{status: -1, words: failureWords(err)})
}

// input takes every fact through the table before anything is done.
func (i *instance) input(c *kit.Context[instanceMessage], in instanceInput, e ending) {
	to, v := nextInstance(i.state, in)
	if v != accept {
		return
	}
	if from := i.state; to != from {
		i.change(c, to, e)
		i.entered(c, from)
	}
	i.drive(c)
}

// save keeps what is the instance's own to say in the record; the rest of it is
// its supervisor's.
func (i *instance) save() {
	mine := i.record
	if now, ok := i.w.Store.Change(i.id, func(r *Record) {
		r.State, r.Since, r.Placement = mine.State, mine.Since, mine.Placement
		r.ExitStatus, r.Signal, r.Description, r.Untold = mine.ExitStatus, mine.Signal, mine.Description, mine.Untold
		r.EvacuatedAt = mine.EvacuatedAt
		r.Ungreeted = mine.Ungreeted
	}); ok {
		i.record = now
	}
}

// change keeps the new state; the store writes it behind.
func (i *instance) change(c *kit.Context[instanceMessage], to instanceState, e ending) {
	i.state = to
	i.record.State, i.record.Since = to.word(), c.Now()
	i.record.Ungreeted = to == instanceRunning && i.hooked(c, AfterStart) != nil
	if to == instanceCrashed {
		i.record.ExitStatus, i.record.Signal, i.record.Description = e.status, e.signal, e.words
		i.record.Untold = true
	}
	i.save()
	facts := []any{"application", i.record.Start.Application, "index", i.record.Start.Index, "state", string(to.word())}
	if e.words != "" {
		facts = append(facts, "why", e.words)
	}
	c.Log().Info("instance state changed", facts...)
}

// entered tells the world, in the wire's order (wire/dea.md b.1).
func (i *instance) entered(c *kit.Context[instanceMessage], from instanceState) {
	if e := i.record.changed(i.w.Node, from.word()); e.From != e.To {
		i.tell(e)
	}
	switch i.state {
	case instanceStarting:
		i.say("Starting app instance (index %d) with guid %s", i.record.Start.Index, i.record.Start.Application)
	case instanceRunning:
		i.parent.Tell(instanceRan{i.id}) // heartbeat, then routes
	case instanceStopping:
		i.parts.droplets.Tell(waive{droplet: i.record.Start.Droplet, instance: i.id})
		i.say("Stopping app instance (index %d) with guid %s", i.record.Start.Index, i.record.Start.Application)
		i.withdraw(from)
	case instanceStopped:
		i.say("Stopped app instance (index %d) with guid %s", i.record.Start.Index, i.record.Start.Application)
	case instanceCrashed:
		i.withdraw(from)
		i.tell(i.record.exited())
		i.parent.Tell(instanceSettled{i.id})
	}
}

// drive does, or asks again for, the one thing that the state waits for.
func (i *instance) drive(c *kit.Context[instanceMessage]) {
	switch i.state {
	case instanceBorn:
		i.reserve(c)
	case instanceStarting:
		i.start(c)
	case instanceRunning:
		if !i.keep(c) {
			return
		}
	case instanceStopping:
		if i.never() {
			i.over, i.done = true, true
			i.input(c, inDestroyed, ending{})
			return
		}
		i.order(c, containerOrder{
			goal: goalRemove, grace: i.w.Settings.StopGrace, hooks: i.hooked(c, BeforeStop, AfterStop),
		})
	case instanceStopped, instanceCrashed:
		if i.finish(c) {
			return
		}
	}
	i.nudgeSoon(c)
}

func (i *instance) reserve(c *kit.Context[instanceMessage]) {
	self := c.Self()
	i.parts.ledger.Tell(reserve{i.demand(), func(p Placement, err error) {
		if err != nil {
			self.Tell(denied{noRoomWords(err)})
			return
		}
		self.Tell(granted{p})
	}})
}

// never says that no container was ever asked for.
func (i *instance) never() bool { return i.fresh && !i.asked }

// halt ends the processes of a container whose end is still to be told.
func (i *instance) halt(c *kit.Context[instanceMessage]) {
	i.order(c, containerOrder{goal: goalHalt, grace: i.w.Settings.StopGrace})
}

// keep looks after a running container; false when there is nothing to wait for.
func (i *instance) keep(c *kit.Context[instanceMessage]) bool {
	switch {
	case i.oom: // one process is dead; the wire has the others follow it
		i.halt(c)
	case !i.held:
		i.order(c, containerOrder{goal: goalKeep})
	case i.unruled:
		i.restrict(c)
	case i.record.Ungreeted:
		i.greet(c)
	default:
		return false
	}
	return true
}

// start goes on where the start stands: room, droplet, container.
func (i *instance) start(c *kit.Context[instanceMessage]) {
	switch {
	case !i.placed:
		i.reserve(c)
	case i.droplet.Layer == "":
		i.parts.droplets.Tell(need{droplet: i.record.Start.Droplet, instance: i.id, from: c.Self()})
	case i.oom:
		i.halt(c)
	case !i.held:
		i.run(c)
	case i.unruled:
		i.restrict(c)
	}
}

// order tells the containers what is wanted of this instance's.
func (i *instance) order(c *kit.Context[instanceMessage], o containerOrder) {
	self := c.Self()
	i.asked = true
	o.id = i.record.Placement.Container
	o.place, o.source = i.record.Placement, i.record.outputSource()
	o.owner = func(f containerFact) { self.Tell(told{f}) }
	i.parts.containers.Tell(o)
}

// finish gives everything back; true when nothing is left to be done.
func (i *instance) finish(c *kit.Context[instanceMessage]) bool {
	container := i.record.Placement.Container
	switch {
	case i.never():
		i.over, i.done = true, true
		i.parts.ledger.Tell(free{container}) // no allocation will
	case !i.over:
		i.order(c, containerOrder{goal: goalRemove, keep: i.record.keeps()})
		return false
	}
	i.parts.ledger.Tell(release{container})
	if !i.done {
		return false
	}
	if i.state == instanceStopped {
		i.parent.Tell(instanceOver{i.id})
	}
	return true
}

// nudgeSoon has the instance look again at what it waits for.
func (i *instance) nudgeSoon(c *kit.Context[instanceMessage]) {
	if i.nudge != nil {
		i.nudge()
	}
	i.nudge = c.After(i.w.Settings.NudgeEvery, nudge{})
}

// announce registers the routes of an instance that is known to run.
func (i *instance) announce() {
	if i.state == instanceRunning && i.held && i.record.routed() {
		i.tell(messaging.RouteRegistered{Route: i.record.route(i.w.Node)})
	}
}

// withdraw takes the routes back, before anything is signalled. An instance
// that never ran was never registered.
func (i *instance) withdraw(from instanceState) {
	if from == instanceRunning && i.record.routed() {
		i.tell(messaging.RouteUnregistered{Route: i.record.route(i.w.Node)})
	}
}

// tell tells by way of the root, once the instance may be told of.
func (i *instance) tell(e messaging.Event) {
	if i.silent {
		i.untold = append(i.untold, e)
		return
	}
	i.w.tell(e)
}

func (i *instance) speak() {
	i.silent = false
	for _, e := range i.untold {
		i.w.tell(e)
	}
	i.untold = nil
}

// say is a line of deacon's own in the application's output.
func (i *instance) say(format string, args ...any) {
	i.tell(messaging.LogLine{
		Application: i.record.Start.Application, Instance: i.id, Index: i.record.Start.Index,
		Stream: "deacon", At: i.record.Since, Text: fmt.Appendf(nil, format, args...),
	})
}
