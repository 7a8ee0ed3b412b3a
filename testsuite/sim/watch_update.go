package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// lead is what routers know of a port.
type lead struct {
	instance string
	uris     []string // sorted
}

// key is the id by which records have an instance that the wire knows by another.
func (o *watch) key(told string) string {
	for _, r := range o.w.store.All() {
		if r.Renamed == told {
			return r.Instance
		}
	}
	return cmp.Or(o.names[told], told)
}

// delivered notes what an update promises to those that it finds.
func (o *watch) delivered(m messaging.UpdateInstances) {
	if m.Egress != nil {
		if _, err := (model.Planner{}).Egress(*m.Egress); err != nil {
			return // it is refused
		}
	}
	for _, r := range o.w.store.All() {
		if r.Start.Application == m.Application && rank[r.State] <= rank[messaging.Running] {
			o.wants[r.Instance] = m.URIs
		}
	}
}

// updated: an update that is told of is on disk, and of an instance that isn't over.
func (o *watch) updated(e messaging.InstanceUpdated) {
	key := o.key(e.Instance)
	o.names[e.Instance] = key
	if s := o.of(key); rank[s.state] > rank[messaging.Evacuating] {
		o.w.violate("%s is updated after it was told to be %s", key, s.state)
	}
	if _, there := o.w.store.Get(key); !there { // the word of it was slower than its end
		return
	}
	r := o.w.store.disk[key]
	holds := r.Start.Version == e.Version && slices.Equal(r.URIs, e.URIs)
	noted := r.Update != nil && r.Update.Version == e.Version && slices.Equal(r.Update.URIs, e.URIs)
	if !holds && !noted && !o.w.store.everRefused {
		o.w.violate("%s is told to be updated, which a successor would not know", key)
	}
	o.lasting[key] = e.URIs
}

// registered: a route leads to what runs, and to no other.
func (o *watch) registered(r messaging.Route) {
	instance := o.routed(r)
	if instance == "" {
		return
	}
	record, _ := o.w.store.Get(instance)
	other := o.routes[r.Port]
	switch s := o.of(instance); {
	case rank[s.state] > rank[messaging.Evacuating]:
		o.w.violate("a route to %s is told, which was told to be %s", instance, s.state)
	case record.Placement.Port != r.Port:
		o.w.violate("a route to %s is told at port %d, which has port %d", instance, r.Port, record.Placement.Port)
	case other != nil && other.instance != instance:
		o.w.violate("a route to %s is told at port %d, which leads to %s", instance, r.Port, other.instance)
	}
	if other == nil {
		other = &lead{instance: instance}
		o.routes[r.Port] = other
	}
	other.uris = append(other.uris, r.URIs...)
	slices.Sort(other.uris)
	other.uris = slices.Compact(other.uris)
}

func (o *watch) unregistered(r messaging.Route) {
	known := o.routes[r.Port]
	if known == nil {
		return
	}
	known.uris = slices.DeleteFunc(known.uris, func(uri string) bool { return slices.Contains(r.URIs, uri) })
	if len(known.uris) == 0 {
		delete(o.routes, r.Port)
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

// misrouted says what routers know otherwise than it is; empty: nothing.
func (o *watch) misrouted() string {
	for _, r := range o.w.store.All() {
		if r.State != messaging.Running || r.Update != nil {
			continue
		}
		var known []string
		if lead := o.routes[r.Placement.Port]; lead != nil {
			known = lead.uris
		}
		if wrong := o.misruled(r); wrong != "" {
			return wrong
		}
		wanted := slices.Sorted(slices.Values(r.URIs))
		if !slices.Equal(known, wanted) {
			return fmt.Sprintf("routers know %v of %s, and it has %v", known, r.Instance, wanted)
		}
		if wants, promised := o.wants[r.Instance]; promised && !slices.Equal(wants, r.URIs) && !o.excused(r.Instance) {
			return fmt.Sprintf("%s was updated to %v, and has %v", r.Instance, wants, r.URIs)
		}
	}
	return ""
}

// misruled says whether a container has other egress rules than an update gave it.
func (o *watch) misruled(r actors.Record) string {
	look, _ := o.w.kernel.Look(r.Placement.Container)
	planned, err := model.Planner{}.Egress(r.Start.Egress)
	if has := look.Spec.Network.Egress; r.Ruled && (err != nil || !slices.EqualFunc(has, planned,
		func(a, b isolation.EgressRule) bool { return a.First == b.First })) {
		return fmt.Sprintf("%s has the egress rules %v, and was given %v", r.Instance, has, r.Start.Egress)
	}
	return ""
}

// updatesMissed is told of each turn that is the last of an actor: its message is
// lost, and what waited in the mailbox of one that others were to bring up anew.
func (o *watch) updatesMissed(t kit.Turn) {
	if strings.Contains(t.Message, "UpdateInstances") || t.Kind == "instances" {
		clear(o.wants)
	}
}

// updatesDied keeps of what was promised what was told to hold, if a disk took it.
// Of one more that was under way nobody knows.
func (o *watch) updatesDied() {
	maps.DeleteFunc(o.lasting, func(instance string, uris []string) bool {
		return o.w.store.everRefused || !slices.Equal(uris, o.wants[instance])
	})
	o.wants = maps.Clone(o.lasting)
}

// evacuated: who is told to be leaving is that for a successor too.
func (o *watch) evacuated(instance string) {
	_, there := o.w.store.Get(instance)
	if r := o.w.store.disk[instance]; there && r.EvacuateBy.IsZero() && !o.w.store.everRefused {
		o.w.violate("%s is told to be leaving, which a successor would not know", instance)
	}
}
