package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// ways are the changes of state that anybody may ever see (wire/dea.md b.1),
// written down a second time: the tree's own table may be wrong.
var ways = map[messaging.State][]messaging.State{
	messaging.Born:       {messaging.Starting, messaging.Evacuating, messaging.Stopped, messaging.Crashed},
	messaging.Starting:   {messaging.Running, messaging.Evacuating, messaging.Stopping, messaging.Crashed},
	messaging.Running:    {messaging.Evacuating, messaging.Stopping, messaging.Crashed},
	messaging.Evacuating: {messaging.Stopping, messaging.Stopped, messaging.Crashed}, // STOPPED from BORN
	messaging.Stopping:   {messaging.Stopped},
}

// rank orders the states of one life: what was seen never goes back.
var rank = map[messaging.State]int{
	messaging.Born: 0, messaging.Starting: 1, messaging.Running: 2, messaging.Evacuating: 3,
	messaging.Stopping: 4, messaging.Stopped: 5, messaging.Crashed: 5,
}

// watch sees what the node tells and says what must never be told. It knows
// nothing but events, and the model kernel.
type watch struct {
	w      *world
	seen   map[string]*sight // by instance
	ends   map[string]messaging.State
	told   map[string]bool   // somebody was
	routes map[uint16]*lead  // where a port leads to, as routers know
	names  map[string]string // instances that the wire learnt a new id of, by that
	// wants are the uris that updates promised to instances, lasting those that were
	// told to hold.
	wants, lasting map[string][]string
	offer          messaging.Advertised // the newest

	lines map[string]int       // heard of a container, from 1 on
	dead  map[string]time.Time // when a container was destroyed
	// uncared are containers that nobody was to look after, and instances whose
	// end nobody can be told of: an actor was given up, a record got lost.
	uncared map[string]bool
	deaf    bool // it missed who was given up
}

// missed is told which message is lost with an actor: it may have been an event.
func (o *watch) missed(message string) {
	switch message {
	case "event(ActorGaveUp)":
		o.deaf = true
	case "event(RouteUnregistered)": // routers forget it in time
		clear(o.routes)
	}
}

// excused says that somebody was given up on the way to one of these, or may have been.
func (o *watch) excused(names ...string) bool {
	return o.deaf || slices.ContainsFunc(names, func(name string) bool { return o.uncared[name] })
}

// sight is what was told of an instance in the life of this agent.
type sight struct {
	state messaging.State // the last; empty: nothing was
}

func newWatch(w *world) *watch {
	return &watch{
		w: w, seen: map[string]*sight{}, ends: map[string]messaging.State{}, told: map[string]bool{},
		routes: map[uint16]*lead{}, names: map[string]string{}, wants: map[string][]string{}, lasting: map[string][]string{},
		lines: map[string]int{}, dead: map[string]time.Time{}, uncared: map[string]bool{},
	}
}

// died ends the life of an agent: the next may not know its last moments, and
// what a disk refused to take.
func (o *watch) died() {
	clear(o.seen)
	clear(o.routes)
	o.updatesDied()
	for instance := range o.ends {
		if r, there := o.w.store.Get(instance); there && r.State != messaging.Crashed && r.State != messaging.Stopped {
			delete(o.ends, instance)
		}
	}
	for _, spec := range o.w.held() {
		if _, there := o.w.store.Get(spec.Tenant); spec.Owner == isolation.OwnerInstance && !there {
			o.uncared[spec.ID] = true
		}
	}
	for instance := range o.told {
		if _, there := o.w.store.Get(instance); !there && o.w.store.everRefused {
			o.uncared[instance] = true
		}
	}
}

// rebooted leaves the containers of what is started again, or was not quite there:
// nobody looks after those.
func (o *watch) rebooted() {
	for _, spec := range o.w.held() {
		r, _ := o.w.store.Get(spec.Tenant)
		if spec.Owner == isolation.OwnerInstance && !(o.w.plan.report && r.State == messaging.Running) {
			o.uncared[spec.ID] = true
		}
	}
}

func (o *watch) of(instance string) *sight {
	s := o.seen[instance]
	if s == nil {
		s = &sight{}
		o.seen[instance] = s
	}
	return s
}

func (o *watch) event(e messaging.Event) {
	switch e := e.(type) {
	case messaging.InstanceChanged:
		e.Instance = o.key(e.Instance)
		o.changed(e)
	case messaging.InstanceExited:
		e.Instance = o.key(e.Instance)
		o.exited(e)
	case messaging.InstanceUpdated:
		o.updated(e)
	case messaging.Beat:
		o.beat(e)
	case messaging.RouteRegistered:
		o.registered(e.Route)
	case messaging.RouteUnregistered:
		o.unregistered(e.Route)
	case messaging.ActorGaveUp:
		for _, name := range strings.Split(e.Actor, "/") {
			o.uncared[name] = true
		}
	case messaging.Advertised:
		o.offer = e
		if e.MemoryMiB > memoryMiB || e.DiskMiB > diskMiB {
			o.w.violate("the node offers more than it has: %+v", e)
		}
	default: // says nothing that could be wrong
	}
}

// beat: a heartbeat is never older than what was told before, nor partial.
func (o *watch) beat(e messaging.Beat) {
	rows := map[string]bool{}
	for _, row := range e.Instances {
		row.Instance = o.key(row.Instance)
		rows[row.Instance], o.told[row.Instance] = true, true
		if s := o.of(row.Instance); s.state != "" && rank[row.State] < rank[s.state] {
			o.w.violate("a heartbeat has %s as %s, which was told to be %s", row.Instance, row.State, s.state)
		}
	}
	for _, instance := range slices.Sorted(mapKeys(o.seen)) {
		r, _ := o.w.store.Get(instance)
		if o.seen[instance].state == messaging.Running && r.State == messaging.Running && !rows[instance] {
			o.w.violate("a heartbeat leaves %s out, which is RUNNING", instance)
		}
	}
}

func (o *watch) changed(e messaging.InstanceChanged) {
	s := o.of(e.Instance)
	o.told[e.Instance] = true
	switch {
	case !slices.Contains(ways[e.From], e.To):
		o.w.violate("%s changes from %s to %s", e.Instance, e.From, e.To)
	case s.state != "" && (rank[e.To] <= rank[s.state] || s.state == messaging.Stopping && e.To != messaging.Stopped):
		o.w.violate("%s becomes %s after it was told to be %s", e.Instance, e.To, s.state)
	case o.ends[e.Instance] != "" && rank[e.To] < rank[messaging.Stopped]:
		o.w.violate("%s becomes %s after it had ended: %s", e.Instance, e.To, o.ends[e.Instance])
	}
	s.state = e.To
	if e.To == messaging.Evacuating {
		o.evacuated(e.Instance)
	}
	if rank[e.To] == rank[messaging.Stopped] {
		o.end(e.Instance, e.To)
	}
}

func (o *watch) exited(e messaging.InstanceExited) {
	if e.Reason == messaging.Evacuation {
		if s := o.of(e.Instance); rank[s.state] > rank[messaging.Evacuating] {
			o.w.violate("%s is told to be leaving after it was told to be %s", e.Instance, s.state)
		}
		o.evacuated(e.Instance)
		return
	}
	if s := o.of(e.Instance); s.state == messaging.Stopping || s.state == messaging.Stopped {
		o.w.violate("%s is told to have crashed after it was told to be %s", e.Instance, s.state)
	}
	o.end(e.Instance, messaging.Crashed)
	r, ok := o.w.store.Get(e.Instance)
	if !ok {
		return
	}
	look, ok := o.w.kernel.Look(r.Placement.Container)
	if !ok || look.Exit == nil {
		return
	}
	want := look.Exit.Code
	if look.Exit.Signal != 0 {
		want = 255
	}
	switch told := fmt.Sprintf("%s ended with %d and is told to have ended with %d %q",
		e.Instance, want, e.ExitStatus, e.Description); e.Description {
	case "app instance exited", "out of memory":
		if e.ExitStatus != want {
			o.w.violate("%s", told)
		}
	case "unknown": // it is known, unless nobody could ask
		if !o.excused(e.Instance, look.Spec.ID) {
			o.w.violate("%s", told)
		}
	}
}

// end notes how an instance ended: in one way, however often that is told.
func (o *watch) end(instance string, how messaging.State) {
	if was, ended := o.ends[instance]; ended && was != how {
		o.w.violate("%s ended twice: %s, then %s", instance, was, how)
	}
	o.ends[instance] = how
}

// line hears one of an application's: twice maybe, but none is left out.
func (o *watch) line(container string, number int) {
	if heard := o.lines[container]; number > heard+1 {
		o.w.violate("line %d of %s is published, and none after line %d", number, container, heard)
	}
	o.lines[container] = max(o.lines[container], number)
}

func (o *watch) destroyed(r model.Resident) { o.dead[r.Spec.ID] = o.w.clock.Now() }

// released wants every line to have been heard of what is gone for good. Last lines
// that nobody takes are let go after their time, and at once by a node that leaves.
func (o *watch) released(r model.Resident) {
	id := r.Spec.ID
	since, dead := o.dead[id]
	excused := o.excused(id, r.Spec.Tenant) || !o.told[r.Spec.Tenant] || o.w.store.leaving ||
		dead && o.w.clock.Now().Sub(since) >= o.w.settings.DrainMax
	if heard := o.lines[id]; heard < r.Said && !excused {
		o.w.violate("%s of %s is gone, and of its %d lines only %d were published", id, r.Spec.Tenant, r.Said, heard)
	}
}

// unended is an instance that others were told of, that is no more, and of whose
// end nobody was told. An ordered end may go with the agent that carried it out,
// and what a disk refused to take with a killed one.
func (o *watch) unended() string {
	for _, instance := range slices.Sorted(mapKeys(o.told)) {
		_, there := o.w.store.Get(instance)
		if !there && o.ends[instance] == "" && !o.w.store.ordered[instance] && !o.excused(instance) {
			return instance
		}
	}
	return ""
}
