package sim

import (
	"slices"

	"github.com/deacon-agent/deacon/messaging"
)

// ways are the changes of state that anybody may ever see (wire/dea.md b.1),
// written down a second time: the tree's own table may be wrong.
var ways = map[messaging.State][]messaging.State{
	messaging.Born:     {messaging.Starting, messaging.Stopped, messaging.Crashed},
	messaging.Starting: {messaging.Running, messaging.Stopping, messaging.Crashed},
	messaging.Running:  {messaging.Stopping, messaging.Crashed},
	messaging.Stopping: {messaging.Stopped},
}

// rank orders the states of one life: what was seen never goes back.
var rank = map[messaging.State]int{
	messaging.Born: 0, messaging.Starting: 1, messaging.Running: 2,
	messaging.Stopping: 3, messaging.Stopped: 4, messaging.Crashed: 4,
}

// watch sees what the node tells and says what must never be told. It knows
// nothing but events, and the model kernel.
type watch struct {
	w     *world
	seen  map[string]*sight // by instance
	ends  map[string]messaging.State
	told  map[string]bool      // somebody was
	offer messaging.Advertised // the newest
}

// sight is what was told of an instance in the life of this agent.
type sight struct {
	state     messaging.State // the last; empty: nothing was
	withdrawn bool            // its routes were taken back
}

func newWatch(w *world) *watch {
	return &watch{w: w, seen: map[string]*sight{}, ends: map[string]messaging.State{}, told: map[string]bool{}}
}

// died ends the life of an agent: the next may not know its last moments.
func (o *watch) died() { clear(o.seen) }

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
		o.changed(e)
	case messaging.InstanceExited:
		o.exited(e)
	case messaging.Beat:
		for _, row := range e.Instances {
			o.told[row.Instance] = true
			if s := o.of(row.Instance); s.state != "" && rank[row.State] < rank[s.state] {
				o.w.violate("a heartbeat has %s as %s, which was told to be %s", row.Instance, row.State, s.state)
			}
		}
	case messaging.RouteRegistered:
		if instance := o.routed(e.Route); instance != "" && o.of(instance).withdrawn {
			o.w.violate("a route to %s is told, which was taken back", instance)
		}
	case messaging.RouteUnregistered:
		if instance := o.routed(e.Route); instance != "" {
			o.of(instance).withdrawn = true
		}
	case messaging.Advertised:
		o.offer = e
		if e.MemoryMiB > memoryMiB || e.DiskMiB > diskMiB {
			o.w.violate("the node offers more than it has: %+v", e)
		}
	default: // says nothing that could be wrong
	}
}

func (o *watch) routed(r messaging.Route) string {
	for _, record := range o.w.store.All() {
		if record.PrivateInstance == r.PrivateInstance {
			return record.Instance
		}
	}
	return ""
}

func (o *watch) changed(e messaging.InstanceChanged) {
	s := o.of(e.Instance)
	o.told[e.Instance] = true
	switch {
	case !slices.Contains(ways[e.From], e.To):
		o.w.violate("%s changes from %s to %s", e.Instance, e.From, e.To)
	case s.state != "" && (rank[e.To] <= rank[s.state] || s.state == messaging.Stopping && e.To != messaging.Stopped):
		o.w.violate("%s becomes %s after it was told to be %s", e.Instance, e.To, s.state)
	}
	s.state = e.To
	if rank[e.To] == rank[messaging.Stopped] {
		o.end(e.Instance, e.To)
	}
}

func (o *watch) exited(e messaging.InstanceExited) {
	if s := o.of(e.Instance); s.state == messaging.Stopping || s.state == messaging.Stopped {
		o.w.violate("%s is told to have crashed after it was told to be %s", e.Instance, s.state)
	}
	o.end(e.Instance, messaging.Crashed)
	r, ok := o.w.store.Get(e.Instance)
	if !ok {
		return
	}
	look, ok := o.w.kernel.Look(r.Placement.Container)
	if ok && look.Exit != nil && !look.Exit.Lost && look.Exit.Signal == 0 && e.ExitStatus >= 0 &&
		e.ExitStatus != look.Exit.Code {
		o.w.violate("%s ended with %d and is told to have ended with %d", e.Instance, look.Exit.Code, e.ExitStatus)
	}
}

// end notes how an instance ended: in one way, however often that is told.
func (o *watch) end(instance string, how messaging.State) {
	if was, ended := o.ends[instance]; ended && was != how && o.w.lives == 1 {
		o.w.violate("%s ended twice: %s, then %s", instance, was, how)
	}
	o.ends[instance] = how
}

// unended is an instance that others were told of, that is no more, and of whose
// end nobody was told. An ordered end may go with the agent that carried it out,
// and what a disk refused to take with a killed one.
func (o *watch) unended() string {
	for _, instance := range slices.Sorted(mapKeys(o.told)) {
		_, there := o.w.store.Get(instance)
		if !there && o.ends[instance] == "" && !o.w.store.ordered[instance] && !o.w.store.everRefused {
			return instance
		}
	}
	return ""
}
