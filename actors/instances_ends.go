package actors

import (
	"fmt"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// forgetCrashes keeps the newest crash of each application, for as long as
// crashes are kept at all (wire/dea.md b.4), and those that nobody has heard of.
func (s *instances) forgetCrashes(c *kit.Context[instancesMessage]) {
	newest := map[string]Record{}
	var old []Record
	for _, r := range s.w.Store.All() {
		if r.State != messaging.Crashed || r.Untold && c.Now().Sub(r.Since) <= s.w.Settings.CrashLifetime {
			continue
		}
		was, ok := newest[r.Start.Application]
		switch {
		case !ok:
			newest[r.Start.Application] = r
		case was.Since.Before(r.Since):
			newest[r.Start.Application] = r
			old = append(old, was)
		default:
			old = append(old, r)
		}
	}
	for _, r := range sorted(newest) {
		if c.Now().Sub(r.Since) > s.w.Settings.CrashLifetime {
			old = append(old, r)
		}
	}
	for _, r := range old {
		s.w.tell(messaging.LogLine{
			Application: r.Start.Application, Instance: r.Instance, Index: r.Start.Index, Stream: "deacon", At: c.Now(),
			Text: fmt.Appendf(nil, "Removing crash for app with id %s", r.Start.Application),
		})
		s.forget(c, r.Instance)
	}
	s.sweepCrashes(c)
}

// forget drops an instance of which nothing runs any more.
func (s *instances) forget(c *kit.Context[instancesMessage], id string) {
	if ref, ok := s.held[id]; ok {
		kit.Stop(c, ref)
		delete(s.held, id)
	}
	delete(s.silent, id)
	s.w.Store.Remove(id)
	s.w.Output.Forget(id)
	s.settle(id)
	s.tellNone()
}

// forsake says what is left to be said of an instance whose actor was given up.
func (s *instances) forsake(c *kit.Context[instancesMessage], m instanceForsook) {
	ref := s.held[m.id]
	delete(s.held, m.id)
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: ref.Path(), Reason: m.reason.Error(), At: c.Now()})
	r, ok := s.w.Store.Get(m.id)
	if !ok {
		return
	}
	s.bury(c, r)
	s.settle(m.id)
	if s.none != nil {
		s.forget(c, m.id)
	}
}

// bury ends an instance that no actor looks after any more, by whatever it had
// come to; its memory is released with its container.
func (s *instances) bury(c *kit.Context[instancesMessage], r Record) {
	from := r.State
	s.parts.containers.Tell(containerOrder{
		id: r.Placement.Container, goal: goalRemove, place: r.Placement, source: r.outputSource(), keep: r.keeps(),
		owner: func(containerFact) {},
	})
	switch from {
	case messaging.Crashed:
		return
	case messaging.Stopped: // that was told
		s.w.Store.Remove(r.Instance)
		return
	case messaging.Stopping:
		r.State, r.Since = messaging.Stopped, c.Now()
		s.w.Store.Remove(r.Instance)
		s.w.tell(r.changed(s.w.Node, from))
		return
	}
	r.State, r.Since, r.ExitStatus, r.Description, r.Untold = messaging.Crashed, c.Now(), -1, unknownEnd, true
	s.w.Store.Put(r)
	s.w.tell(r.changed(s.w.Node, from))
	if from == messaging.Running && r.routed() {
		s.w.tell(messaging.RouteUnregistered{Route: r.route(s.w.Node)})
	}
	s.w.tell(r.exited())
}

// stopAll is the node's shutdown: goodbye was said, now everything stops.
func (s *instances) stopAll(c *kit.Context[instancesMessage], m stopAll) {
	if s.none == nil && s.w.Directory != nil {
		s.w.tell(messaging.RouteUnregistered{Route: s.w.Directory.Route})
	}
	s.none = m.none
	for _, r := range s.w.Store.All() {
		switch ref, ok := s.held[r.Instance]; {
		case r.State == messaging.Crashed || !ok:
			s.forget(c, r.Instance)
		default:
			ref.Tell(stop{})
		}
	}
	s.tellNone()
}

func (s *instances) tellNone() {
	if s.none != nil && len(s.held) == 0 {
		s.none()
	}
}

// settle strikes one of a former agent's off, once its fate is known.
func (s *instances) settle(id string) {
	if s.pending[id] {
		delete(s.pending, id)
		s.tellSettled()
	}
}

func (s *instances) tellSettled() {
	if len(s.pending) == 0 {
		s.parts.node.Tell(settledAll{})
	}
}
