package actors

import (
	"cmp"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// evacuateEvery is how often an evacuated node tells of its instances, and looks
// whether it is over (wire/dea.md b.7).
const evacuateEvery = 5 * time.Second

// evacuate has others take over: the node takes no start any more, and what runs is
// told to be leaving until somebody stops it because a replacement runs, or it is
// time. Asked again, the first time counts.
func (s *instances) evacuate(c *kit.Context[instancesMessage], m messaging.EvacuateNode) {
	if s.none != nil { // it is left anyway
		s.answerEvacuation(m.ReplyTo, 0, c.Now())
		return
	}
	if s.by.IsZero() {
		s.leaveBy(c, c.Now().Add(cmp.Or(m.Within, s.w.Settings.EvacuateWithin)))
		c.Log().Info("the node is evacuated: applications run on until they are stopped", "until", s.by)
	}
	noted := s.evacuees()
	for _, r := range noted {
		s.w.Store.Change(r.Instance, func(r *Record) { r.EvacuateBy = s.by })
	}
	s.answerEvacuation(m.ReplyTo, len(noted), s.by)
	s.keepEvacuation(c)
}

func (s *instances) answerEvacuation(replyTo string, instances int, by time.Time) {
	if replyTo != "" {
		s.w.tell(messaging.NodeEvacuating{ReplyTo: replyTo, NodeID: s.w.Node.ID, Instances: instances, By: by})
	}
}

// keepEvacuation waits off the mailbox until it is on disk who is to leave.
func (s *instances) keepEvacuation(c *kit.Context[instancesMessage]) {
	s.onDisk(c, "keep evacuation", func(err error) instancesMessage { return evacuationKept{err} })
}

// leaveBy has the node offer nothing any more. Nobody but a reboot takes that back.
func (s *instances) leaveBy(c *kit.Context[instancesMessage], by time.Time) {
	s.by = by
	s.parts.node.Tell(leaving{})
	c.After(evacuateEvery, evacuationDue{})
}

// resumeEvacuation goes on with what a former agent, or incarnation, was told.
func (s *instances) resumeEvacuation(c *kit.Context[instancesMessage]) {
	for _, r := range s.evacuees() {
		if by := r.EvacuateBy; !by.IsZero() && (s.by.IsZero() || by.Before(s.by)) {
			s.by = by
		}
	}
	if !s.by.IsZero() {
		c.Log().Info("the node's evacuation goes on", "until", s.by)
		s.leaveBy(c, s.by)
	}
}

func (s *instances) evacuationKept(c *kit.Context[instancesMessage], m evacuationKept) {
	if m.err != nil {
		c.Log().Error("the evacuation is not on disk, and would be forgotten with this agent", "error", m.err)
	}
	for _, r := range s.evacuees() {
		if !r.EvacuateBy.IsZero() {
			s.held[r.Instance].Tell(evacuate{})
		}
	}
	s.evacuationDue(c)
}

// evacuationDue tells of who is left, until nobody is.
func (s *instances) evacuationDue(c *kit.Context[instancesMessage]) {
	if s.none != nil {
		return
	}
	s.beatSoon(c)
	switch left := len(s.evacuees()); {
	case left == 0:
		c.Log().Info("the node is evacuated: nothing runs here that is wanted")
		s.w.evacuated()
	case !c.Now().Before(s.by):
		c.Log().Warn("the evacuation is over before everything was started elsewhere", "instances", left)
		s.w.evacuated()
	}
}

// evacuees are the instances that somebody has yet to stop.
func (s *instances) evacuees() (left []Record) {
	for _, r := range s.w.Store.All() {
		if r.live() && r.State != messaging.Stopping {
			left = append(left, r)
		}
	}
	return left
}

// outward is a state as others are told of it, and since when it is: one that is
// evacuated is that from the first word of it until it stops or crashes.
func (r Record) outward(s messaging.State) (messaging.State, time.Time) {
	switch s {
	case messaging.Born, messaging.Starting, messaging.Running:
		if !r.EvacuatedAt.IsZero() {
			return messaging.Evacuating, r.EvacuatedAt
		}
	}
	return s, r.Since
}

// Outward is the state that others are told of, and since when it is.
func (r Record) Outward() (messaging.State, time.Time) { return r.outward(r.State) }

// evacuate tells that the instance is to be replaced, once.
func (i *instance) evacuate(c *kit.Context[instanceMessage]) {
	if !i.record.EvacuatedAt.IsZero() || !i.record.live() || i.state == instanceStopping {
		return
	}
	was := i.record.State
	i.record.EvacuatedAt = c.Now()
	i.save()
	e := i.record.changed(i.w.Node, was)
	e.From = was
	i.tell(e)
	i.tell(i.record.leaving())
	i.parent.Tell(beatDue{})
}

func (r Record) leaving() messaging.InstanceExited {
	return messaging.InstanceExited{
		Partition: r.Start.Partition, Application: r.Start.Application, Version: r.Start.Version,
		Instance: r.Named(), Index: r.Start.Index, Reason: messaging.Evacuation, ExitStatus: -1,
	}
}
