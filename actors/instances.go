package actors

import (
	"context"
	"errors"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// instancesMessage is everything that the supervisor of instances is told.
//
//sumtype:decl
type instancesMessage interface{ instances() }

type (
	// asked is a command that concerns instances.
	asked struct{ command messaging.Command }
	// beatDue, offerDue and routesDue come from the pulses and whoever knows of
	// a change.
	beatDue   struct{}
	offerDue  struct{}
	routesDue struct{}
	// beatOver ends the pause after a heartbeat.
	beatOver struct{}
	// forgetCrashes drops crashes that are too old.
	forgetCrashes struct{}
	// instanceRan says that an instance serves: the health manager hears of it
	// first, then the routers (wire/dea.md b.1).
	instanceRan struct{ id string }
	// exitTold says that an instance's droplet.exited reached the bus's server.
	exitTold struct{ instance string } // as the wire knows it
	// instanceSettled says that it is known what became of an instance that
	// was there at the node's start; instanceOver that nothing of it is left.
	instanceSettled struct{ id string }
	instanceOver    struct{ id string }
	instanceForsook struct {
		id     string
		reason error
	}
	// stopAll stops every instance and accepts no other; none is called when
	// the last one is over.
	stopAll struct{ none func() }
	// kept says that instances are on disk: from now on they may be told of.
	kept struct {
		ids []string
		err error
	}
	// updatesKept says the same of updates; updateLeft that somebody's doesn't hold yet.
	updatesKept struct {
		updates map[string]*Update
		err     error
	}
	updateLeft struct{ id string }
	// evacuationKept says it of an evacuation; evacuationDue is its pulse.
	evacuationKept struct{ err error }
	evacuationLeft struct{}
	evacuationDue  struct{}
	// hidden is a node that offers nothing, and yet takes what comes.
	hidden struct{}
	// weighed is what all running instances use, as far as it could be measured.
	weighed struct {
		replyTo string
		bytes   int64
		err     error
	}
	tailed struct {
		replyTo string
		lines   []messaging.LogLine
		err     error
	}
)

func (asked) instances()           {}
func (beatDue) instances()         {}
func (beatOver) instances()        {}
func (offerDue) instances()        {}
func (routesDue) instances()       {}
func (forgetCrashes) instances()   {}
func (instanceRan) instances()     {}
func (exitTold) instances()        {}
func (instanceSettled) instances() {}
func (instanceOver) instances()    {}
func (instanceForsook) instances() {}
func (stopAll) instances()         {}
func (kept) instances()            {}
func (updatesKept) instances()     {}
func (updateLeft) instances()      {}
func (evacuationKept) instances()  {}
func (evacuationLeft) instances()  {}
func (evacuationDue) instances()   {}
func (hidden) instances()          {}
func (weighed) instances()         {}
func (tailed) instances()          {}
func (harmed) instances()          {}

// instances supervises every application instance and speaks for all of them.
// What it says comes from the store; itself it knows addresses only.
type instances struct {
	kit.Base[instancesMessage]
	w       *world
	parts   parts
	held    map[string]kit.Ref[instanceMessage]
	silent  map[string]bool // not on disk yet, so that nobody may hear of them
	pending map[string]bool // of a former agent, and their fate is not known yet
	beaten  bool            // a heartbeat went out a moment ago
	again   bool            // and there is more to tell since
	by      time.Time       // the node is left by then; zero: it isn't evacuated
	hidden  bool            // it makes no offers
	none    func()
}

// takes says that the node takes starts.
func (s *instances) takes() bool { return s.none == nil && s.by.IsZero() }

func (w *world) instancesKind(p parts) kit.Kind[instancesMessage] {
	return kit.Kind[instancesMessage]{Name: "instances", Budget: w.Budget, New: func() kit.Actor[instancesMessage] {
		return &instances{
			w: w, parts: p, held: map[string]kit.Ref[instanceMessage]{}, silent: map[string]bool{}, pending: map[string]bool{},
		}
	}}
}

// Up takes up every instance that is on record, whoever wrote it.
func (s *instances) Up(c *kit.Context[instancesMessage]) error {
	var ids []string
	for _, r := range s.w.Store.All() {
		s.pending[r.Instance] = true
		ids = append(ids, r.Instance)
		s.spawn(c, r.Instance)
	}
	s.keep(c, ids)
	s.resumeEvacuation(c)
	s.tellSettled()
	return nil
}

func (s *instances) Receive(c *kit.Context[instancesMessage], m instancesMessage) error {
	switch m := m.(type) {
	case asked:
		s.command(c, m.command)
	case attributed:
		s.note(c, m)
		s.command(c, m.command)
	case enter:
		s.enter(m)
	case usageMeasured:
		s.usageMeasured(c, m)
	case beatDue:
		s.beatSoon(c)
	case beatOver:
		s.beaten = false
		if s.again {
			s.beatSoon(c)
		}
	case offerDue:
		s.offer()
	case routesDue:
		s.announceAll()
	case forgetCrashes:
		s.forgetCrashes(c)
	case instanceRan:
		s.beatSoon(c)
		s.held[m.id].Tell(announce{})
	case exitTold:
		s.exitTold(m.instance)
	case instanceSettled:
		s.settle(m.id)
		s.forgetWhenLeaving(c, m.id)
	case instanceOver:
		s.forget(c, m.id)
	case instanceForsook:
		s.forsake(c, m)
	case stopAll:
		s.stopAll(c, m)
	case kept:
		s.kept(c, m)
	case updatesKept:
		s.updatesKept(c, m)
	case updateLeft:
		s.keepUpdates(c, []string{m.id})
	case evacuationKept:
		s.evacuationKept(c, m)
	case evacuationLeft:
		s.keepEvacuation(c)
	case evacuationDue:
		s.evacuationDue(c)
		c.After(evacuateEvery, evacuationDue{})
	case hidden:
		s.hidden = true
	case weighed:
		if m.err != nil {
			c.Log().Warn("not all memory in use could be measured", "error", m.err)
		}
		s.parts.ledger.Tell(describeNode{m.replyTo, m.bytes >> 20})
	case tailed:
		s.tailed(c, m)
	case harmed:
		s.harmed(m)
	case crashesSwept:
		s.crashesSwept(c, m)
	}
	return nil
}

func (s *instances) command(c *kit.Context[instancesMessage], command messaging.Command) {
	switch m := command.(type) {
	case messaging.StartInstance:
		s.start(c, m)
	case messaging.StopInstances:
		s.stop(m.Filter)
	case messaging.UpdateInstances:
		s.update(c, m)
	case messaging.FindInstances:
		s.find(m)
	case messaging.LocateNodes:
		s.offer()
	case messaging.DiscoverNodes:
		if s.takes() {
			s.parts.ledger.Tell(discover{m, s.counts()[m.Application]})
		}
	case messaging.EvacuateNode:
		s.evacuate(c, m)
	case messaging.DescribeInstances:
		for _, r := range s.w.Store.All() {
			if ref, held := s.held[r.Instance]; held && (r.State == messaging.Starting || r.State == messaging.Running) {
				ref.Tell(status{m.ReplyTo})
			}
		}
	case messaging.DescribeNodes:
		s.describeNode(c, m.ReplyTo)
	case messaging.DescribeUsage:
		s.usage(c, m.ReplyTo)
	case messaging.RouterStarted:
		s.announceAll()
	case messaging.HealthManagerStarted:
		s.beatSoon(c)
	case messaging.ListInstances:
		list := messaging.InstancesListed{ReplyTo: m.ReplyTo, NodeID: s.w.Node.ID, Files: s.w.filesAt()}
		for _, r := range s.w.Store.All() {
			list.Instances = append(list.Instances, r.row(s.w.Node))
		}
		s.w.tell(list)
	case messaging.TailLogs:
		kit.Pipe(c, "tail", func(ctx context.Context) ([]messaging.LogLine, error) {
			return s.w.Output.Tail(ctx, m.Application, m.Index, m.Lines)
		}, func(lines []messaging.LogLine, err error) instancesMessage { return tailed{m.ReplyTo, lines, err} })
	default: // is for the handles
	}
}

// start accepts an instance. Its start begins at once; nobody hears of it before
// it is on disk, so that no successor can fail to know what was told.
func (s *instances) start(c *kit.Context[instancesMessage], m messaging.StartInstance) {
	if !s.takes() {
		c.Log().Warn("a start is refused: the node is being left", "application", m.Application, "index", m.Index)
		return
	}
	id := s.w.NewInstanceID()
	s.w.Store.Put(Record{
		Instance: id, PrivateInstance: s.w.NewInstanceID() + s.w.NewInstanceID(), Start: m, URIs: m.URIs,
		Placement: Placement{Instance: id, Container: s.w.NewContainerID()},
		State:     messaging.Born, Since: c.Now(), BootID: s.w.BootID,
	})
	s.silent[id] = true
	s.spawn(c, id)
	s.keep(c, []string{id})
}

// keep waits off the mailbox until the instances are on disk.
func (s *instances) keep(c *kit.Context[instancesMessage], ids []string) {
	s.onDisk(c, "keep", func(err error) instancesMessage { return kept{ids, err} })
}

// onDisk waits off the mailbox until everything that was put is on disk.
func (s *instances) onDisk(c *kit.Context[instancesMessage], what string, then func(error) instancesMessage) {
	kit.Pipe(c, what, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.w.Store.Flush(ctx) },
		func(_ struct{}, err error) instancesMessage { return then(err) })
}

func (s *instances) kept(c *kit.Context[instancesMessage], m kept) {
	if m.err != nil {
		c.Log().Error("instances are not on disk, and would be lost with this agent", "instances", m.ids, "error", m.err)
	}
	for _, id := range m.ids {
		delete(s.silent, id)
		s.held[id].Tell(speak{})
	}
}

func (s *instances) spawn(c *kit.Context[instancesMessage], id string) {
	kind := s.w.instanceKind(id, s.parts, c.Self())
	s.held[id] = kit.Spawn(c, id, kind, func(name string, reason error) instancesMessage {
		return instanceForsook{name, reason}
	})
}

func (s *instances) stop(f messaging.Filter) {
	for _, r := range s.selected(f) {
		if r.live() {
			s.w.Store.Change(r.Instance, func(r *Record) { r.StopOrdered = true })
			s.held[r.Instance].Tell(stop{})
		}
	}
}

// find has each selected instance answer; one whose actor was given up is
// answered for.
func (s *instances) find(m messaging.FindInstances) {
	for _, r := range s.selected(m.Filter) {
		if ref, held := s.held[r.Instance]; held {
			ref.Tell(describe{m})
		} else {
			s.w.tell(s.w.found(r, m))
		}
	}
}

// describeNode answers with the memory that is used, not only promised.
func (s *instances) describeNode(c *kit.Context[instancesMessage], replyTo string) {
	var containers []string
	for _, r := range s.w.Store.All() {
		if r.State == messaging.Running {
			containers = append(containers, r.Placement.Container)
		}
	}
	kit.Pipe(c, "weigh", func(ctx context.Context) (int64, error) {
		var bytes int64
		var wrong []error
		for _, id := range containers {
			usage, err := s.w.Kernel.Usage(ctx, id)
			bytes += usage.MemoryBytes
			wrong = append(wrong, err)
		}
		return bytes, errors.Join(wrong...)
	}, func(bytes int64, err error) instancesMessage { return weighed{replyTo, bytes, err} })
}

func (s *instances) exitTold(instance string) {
	for _, r := range s.w.Store.All() {
		if r.Named() == instance {
			s.w.Store.Change(r.Instance, func(r *Record) { r.Untold = false })
		}
	}
}

// forgetWhenLeaving drops an instance that crashed while the node shuts down:
// nobody will ask for it any more.
func (s *instances) forgetWhenLeaving(c *kit.Context[instancesMessage], id string) {
	if r, ok := s.w.Store.Get(id); s.none != nil && ok && r.State == messaging.Crashed {
		s.forget(c, id)
	}
}

// harmed hands an instance what was found of its container, which may be gone by now.
func (s *instances) harmed(m harmed) {
	for _, r := range s.w.Store.All() {
		if ref, held := s.held[r.Instance]; held && r.Placement.Container == m.container {
			ref.Tell(m)
		}
	}
}

func (s *instances) selected(f messaging.Filter) (found []Record) {
	for _, r := range s.w.Store.All() {
		if selects(f, r) {
			found = append(found, r)
		}
	}
	return found
}

func (s *instances) tellAll(m instanceMessage) {
	for _, ref := range sorted(s.held) {
		ref.Tell(m)
	}
}

// beatPause is the least time between two heartbeats: a hundred instances that
// come up together are told of twice, not a hundred times.
const beatPause = 50 * time.Millisecond

// beatSoon sends a heartbeat at once, or when the pause after the last is over.
func (s *instances) beatSoon(c *kit.Context[instancesMessage]) {
	s.again = s.beaten
	if s.beaten {
		return
	}
	s.beaten = true
	s.beat()
	c.After(beatPause, beatOver{})
}

// beat tells of every instance in one message: the health manager forgets what
// is missing from it.
func (s *instances) beat() {
	beat := messaging.Beat{NodeID: s.w.Node.ID, Instances: []messaging.BeatInstance{}}
	for _, r := range s.w.Store.All() {
		if s.silent[r.Instance] {
			continue
		}
		switch row := r.beat(); row.State {
		case messaging.Starting, messaging.Running, messaging.Evacuating, messaging.Crashed:
			beat.Instances = append(beat.Instances, row)
		}
	}
	s.w.tell(beat)
}

// counts are the registered instances by application, crashed ones included.
func (s *instances) counts() map[string]int {
	counts := map[string]int{}
	for _, r := range s.w.Store.All() {
		if r.State != messaging.Stopped {
			counts[r.Start.Application]++
		}
	}
	return counts
}

func (s *instances) offer() {
	if s.takes() && !s.hidden {
		s.parts.ledger.Tell(offer{s.counts()})
	}
}

func (s *instances) tailed(c *kit.Context[instancesMessage], m tailed) {
	if m.err != nil {
		c.Log().Warn("output can't be read", "error", m.err)
	}
	s.w.tell(messaging.LogsTailed{ReplyTo: m.replyTo, Lines: m.lines})
}
