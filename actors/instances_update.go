package actors

import (
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// update notes what is to change of each instance that lives. One that isn't up yet
// changes too: it would come up with routes that nobody wants any more.
func (s *instances) update(c *kit.Context[instancesMessage], m messaging.UpdateInstances) {
	if m.Egress != nil {
		if _, err := s.w.Planner.Egress(*m.Egress); err != nil {
			c.Log().Warn("an update is refused", "application", m.Application, "reason", err)
			return
		}
	}
	var noted []string
	for _, r := range s.selected(messaging.Filter{Application: m.Application}) {
		if !r.live() || r.State == messaging.Stopping {
			continue
		}
		if u := r.update(m, s.w.NewInstanceID); u != nil {
			s.w.Store.Change(r.Instance, func(r *Record) { r.Update = u })
			noted = append(noted, r.Instance)
		}
	}
	if len(noted) > 0 {
		s.keepUpdates(c, noted)
	}
}

// keepUpdates waits off the mailbox until the instances' updates are on disk. One
// that is changed again meanwhile waits for that.
func (s *instances) keepUpdates(c *kit.Context[instancesMessage], ids []string) {
	kept := updatesKept{updates: map[string]*Update{}}
	for _, id := range ids {
		if r, there := s.w.Store.Get(id); there && r.Update != nil {
			kept.updates[id] = r.Update
		}
	}
	s.onDisk(c, "keep updates", func(err error) instancesMessage { kept.err = err; return kept })
}

func (s *instances) updatesKept(c *kit.Context[instancesMessage], m updatesKept) {
	if m.err != nil {
		c.Log().Error("updates are not on disk, and would be undone with this agent", "error", m.err)
	}
	for id, u := range sorted(m.updates) {
		s.held[id].Tell(update{u})
	}
}

// update is what m changes of an instance, beside an update that doesn't hold yet;
// nil: nothing. A new version means a new id (wire/dea.md a.4).
func (r Record) update(m messaging.UpdateInstances, newID func() string) *Update {
	next := r.updated()
	if m.Version == "" {
		m.Version = next.Start.Version
	}
	if m.Egress == nil && !slices.Equal(r.Start.Egress, next.Start.Egress) {
		m.Egress = &next.Start.Egress // of the one that doesn't hold yet
	}
	if m.Version == next.Start.Version && slices.Equal(m.URIs, next.URIs) &&
		(m.Egress == nil || slices.Equal(*m.Egress, next.Start.Egress)) {
		return nil
	}
	u := &Update{Renamed: r.Renamed, Version: m.Version, URIs: m.URIs, Egress: m.Egress}
	switch m.Version {
	case r.Start.Version:
	case next.Start.Version:
		u.Renamed = next.Renamed
	default:
		u.Renamed = newID()
	}
	return u
}

// updated is the record with its update holding.
func (r Record) updated() Record {
	if u := r.Update; u != nil {
		r.Renamed, r.Start.Version, r.URIs, r.Update = u.Renamed, u.Version, u.URIs, nil
		if u.Egress != nil && !slices.Equal(*u.Egress, r.Start.Egress) {
			r.Start.Egress, r.Ruled = *u.Egress, true
		}
	}
	return r
}

// update has an update hold that is on disk, and tells of it. An instance that is
// over, or nearly, stays what others know it as.
func (i *instance) update(c *kit.Context[instanceMessage], u *Update) {
	was, holds := i.record, false
	live := i.record.live() && i.state != instanceStopping
	now, _ := i.w.Store.Change(i.id, func(r *Record) {
		holds = r.Update == u && live
		switch {
		case holds:
			*r = r.updated()
		case r.Update == u:
			r.Update = nil
		}
	})
	if !holds {
		return
	}
	i.record.Renamed, i.record.Start.Version, i.record.URIs = now.Renamed, now.Start.Version, now.URIs
	i.record.Start.Egress, i.record.Ruled = now.Start.Egress, now.Ruled
	i.reroute(was.URIs, now.URIs)
	if u.Egress != nil {
		i.restrict(c)
	}
	i.tell(messaging.InstanceUpdated{
		NodeID: i.w.Node.ID, Application: now.Start.Application, Was: was.Named(), Instance: now.Named(),
		Index: now.Start.Index, Version: now.Start.Version, URIs: now.URIs, At: c.Now(),
	})
	if was.Named() != now.Named() {
		i.parent.Tell(beatDue{})
	}
}

// reroute tells routers what has changed, and first of what is new.
func (i *instance) reroute(was, now []string) {
	if i.state != instanceRunning {
		return // they know of none
	}
	route := i.record.route(i.w.Node)
	if route.URIs = without(now, was); len(route.URIs) > 0 && i.held {
		i.tell(messaging.RouteRegistered{Route: route})
	}
	if route.URIs = without(was, now); len(route.URIs) > 0 {
		i.tell(messaging.RouteUnregistered{Route: route})
	}
}

// without is list without what is in other.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}
