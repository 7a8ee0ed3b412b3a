package actors

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// handlesMessage is everything that the supervisor of handles is told.
//
//sumtype:decl
type handlesMessage interface{ handles() }

type (
	// clientAsked is a client's command.
	clientAsked struct{ command messaging.Command }
	// wardenListed are the containers that the kernel has.
	wardenListed struct {
		specs []isolation.Spec
		err   error
	}
	listDue struct{}
	// handleUp comes first from every incarnation of a handle.
	handleUp struct {
		id          string
		incarnation int
	}
	// handleReady says that clients can name the container; lastJob is the
	// greatest number that one of its jobs has.
	handleReady struct {
		id, name string
		grace    time.Duration
		lastJob  uint32
	}
	handleOver    struct{ id string }
	handleForsook struct {
		id     string
		reason error
	}
	// answered is a handle's answer to a client.
	answered struct {
		ask    messaging.Ask
		answer messaging.Answer
	}
	// handleMute comes from a handle whose container can't be asked.
	handleMute struct{ id string }
	// wardenSwept is what the janitor and the containers know of.
	wardenSwept struct {
		specs []isolation.Spec
		audit audit
	}
	// graceOver says that a container's last client left a grace time ago.
	graceOver struct {
		id   string
		turn int
	}
	// takeAll is the node's shutdown.
	takeAll struct{ none func() }
)

func (clientAsked) handles()   {}
func (wardenListed) handles()  {}
func (listDue) handles()       {}
func (handleUp) handles()      {}
func (handleReady) handles()   {}
func (handleOver) handles()    {}
func (handleForsook) handles() {}
func (answered) handles()      {}
func (handleMute) handles()    {}
func (wardenSwept) handles()   {}
func (graceOver) handles()     {}
func (takeAll) handles()       {}

// askAgain is what a client is told whose request was lost with an actor.
const askAgain = "the node lost track of the request: ask again"

// handles supervises the containers that Warden's clients made: it knows them
// by name, counts who refers to them, and sees to it that every request is
// answered once.
type handles struct {
	kit.Base[handlesMessage]
	w       *world
	parts   parts
	listed  bool                      // what the kernel has is known
	queue   []messaging.Command       // what came before that
	asked   int                       // how many of it are requests
	jobless []messaging.ClientCommand // wait for the numbers of jobs to be known
	held    map[string]*keptHandle    // by container
	names   map[string]string         // container by handle, from the request to make it on
	order   []string                  // containers that can be named, oldest first
	lastJob uint32                    //
	number  uint64                    // of the container that was made last
	asks    map[messaging.Ask]string  // container that is to answer
	handing map[messaging.Ask]string  // of what was answered: the client may not have it yet
	clients map[messaging.Client]map[string]bool
	lost    map[string]bool // containers that no handle looked after at the last sweep
	none    func()
}

// keptHandle is a handle and who refers to it.
type keptHandle struct {
	ref     kit.Ref[handleMessage]
	name    string
	grace   time.Duration
	ready   bool
	pending bool // of a former agent, and not taken up yet
	untold  bool // and its last job isn't known
	life    int  // the incarnation that requests are for
	clients map[messaging.Client]bool
	turn    int    // of the grace time, so that an old one ends nothing
	cancel  func() // ends the grace time under way
}

func (w *world) handlesKind(p parts) kit.Kind[handlesMessage] {
	return kit.Kind[handlesMessage]{Name: "handles", Budget: w.Budget, New: func() kit.Actor[handlesMessage] {
		return &handles{
			w: w, parts: p, held: map[string]*keptHandle{}, names: map[string]string{},
			asks: map[messaging.Ask]string{}, handing: map[messaging.Ask]string{},
			clients: map[messaging.Client]map[string]bool{},
		}
	}}
}

// Up finds out what there is. A former incarnation's requests are lost: whoever
// waits for an answer is sent away.
func (s *handles) Up(c *kit.Context[handlesMessage]) error {
	if c.Incarnation() > 1 {
		s.w.tell(messaging.AsksForgotten{})
	}
	s.list(c)
	return nil
}

func (s *handles) list(c *kit.Context[handlesMessage]) {
	kit.Pipe(c, "list", s.w.Kernel.Containers,
		func(specs []isolation.Spec, err error) handlesMessage { return wardenListed{specs, err} })
}

func (s *handles) Receive(c *kit.Context[handlesMessage], m handlesMessage) error {
	switch m := m.(type) {
	case clientAsked:
		if !s.listed {
			s.wait(m.command)
			return nil
		}
		s.command(c, m.command)
	case wardenListed:
		s.takeUp(c, m)
	case listDue:
		s.list(c)
	case handleUp:
		s.up(c, m)
	case handleReady:
		s.ready(c, m)
	case handleOver:
		s.forget(c, m.id)
	case handleForsook:
		s.forsake(c, m)
	case answered:
		s.answer(m.ask, m.answer)
	case handleMute:
		if kept, ok := s.held[m.id]; ok {
			s.settled(kept)
		}
	case wardenSwept:
		s.sweep(c, m)
	case graceOver:
		if kept, ok := s.held[m.id]; ok && kept.turn == m.turn && len(kept.clients) == 0 {
			c.Log().Info("a container is destroyed: no client refers to it", "container", m.id, "handle", kept.name)
			kept.ref.Tell(expired{})
		}
	case takeAll:
		s.takeAll(m)
	}
	return nil
}

// takeUp spawns a handle for every container that clients made.
func (s *handles) takeUp(c *kit.Context[handlesMessage], m wardenListed) {
	if m.err != nil {
		c.Log().Warn("containers can't be listed and will be again", "error", m.err)
		c.After(s.w.Settings.NudgeEvery, listDue{})
		return
	}
	s.listed = true
	specs := slices.DeleteFunc(m.specs, func(spec isolation.Spec) bool { return spec.Owner != isolation.OwnerWarden })
	slices.SortStableFunc(specs, func(a, b isolation.Spec) int {
		return cmp.Or(cmp.Compare(s.w.noteOf(a).Number, s.w.noteOf(b).Number), a.Created.Compare(b.Created))
	})
	for _, spec := range specs {
		s.adopt(c, spec)
	}
	s.unwait(func(command messaging.Command) { s.command(c, command) })
}

// adopt spawns the handle of a container that is there. What is to be destroyed
// no client can name: it may have been told that it is. A name is given again only
// once what had it was destroyed: of two that have it the older one's destruction
// was cut short.
func (s *handles) adopt(c *kit.Context[handlesMessage], spec isolation.Spec) {
	n := s.w.noteOf(spec)
	s.spawn(c, spec.ID, birth{number: n.Number})
	s.number = max(s.number, n.Number)
	kept := s.held[spec.ID]
	kept.pending, kept.untold, kept.name = true, true, string(n.Handle)
	s.lastJob = max(s.lastJob, n.LastJob)
	if n.Taken {
		return
	}
	if older, taken := s.names[kept.name]; taken {
		s.held[older].ref.Tell(expired{})
		s.order = slices.DeleteFunc(s.order, func(id string) bool { return id == older })
	}
	s.names[kept.name] = spec.ID
	s.order = append(s.order, spec.ID)
}

// sweep takes up what was made for an incarnation that was gone by then, and has
// the promises audited.
func (s *handles) sweep(c *kit.Context[handlesMessage], m wardenSwept) {
	if !s.listed {
		return
	}
	lost := map[string]bool{}
	for _, spec := range m.specs {
		if spec.Owner != isolation.OwnerWarden || s.held[spec.ID] != nil {
			continue
		}
		if lost[spec.ID] = true; !s.lost[spec.ID] { // it may just be going
			continue
		}
		n := s.w.noteOf(spec)
		if _, named := s.names[string(n.Handle)]; named || n.Taken {
			s.remove(spec.ID)
			continue
		}
		s.adopt(c, spec)
	}
	s.lost = lost
	for id := range s.held {
		m.audit.known[id] = true
	}
	s.parts.audit(m.audit)
}

func (s *handles) remove(id string) {
	s.parts.containers.Tell(containerOrder{
		id: id, goal: goalRemove, bare: true, place: Placement{Container: id}, owner: func(containerFact) {},
	})
}

func (s *handles) spawn(c *kit.Context[handlesMessage], id string, b birth) {
	kind := s.w.handleKind(id, b, s.parts, c.Self())
	ref := kit.Spawn(c, id, kind, func(name string, reason error) handlesMessage { return handleForsook{name, reason} })
	s.held[id] = &keptHandle{ref: ref, life: 1, clients: map[messaging.Client]bool{}}
}

func (s *handles) command(c *kit.Context[handlesMessage], command messaging.Command) {
	switch m := command.(type) {
	case messaging.ClientConnected:
		s.clients[m.Client] = map[string]bool{}
		for _, id := range s.order {
			s.refer(m.Client, id)
		}
	case messaging.ClientGone:
		s.leave(c, m.Client)
	case messaging.AnswerSent:
		s.sent(m.To)
	case messaging.ListContainers:
		list := messaging.ContainersListed{}
		for _, id := range s.order {
			list.Handles = append(list.Handles, s.held[id].name)
		}
		s.w.tell(messaging.Answered{Ask: m.Ask, Answer: list})
	case messaging.CreateContainer:
		s.create(c, m)
	case messaging.ContainerCommand:
		s.pass(m)
	default: // is for the instances
	}
}

// create reserves the name at once: of two that want it, one is refused.
func (s *handles) create(c *kit.Context[handlesMessage], m messaging.CreateContainer) {
	id := s.w.NewContainerID()
	name := id
	if m.Handle != nil {
		name = *m.Handle
	}
	switch _, taken := s.names[name]; {
	case s.none != nil:
		s.w.tell(messaging.Answered{Ask: m.Ask, Answer: messaging.Failed{Text: "the node is shutting down"}})
		return
	case taken:
		text := "container with handle: " + name + " already exists."
		s.w.tell(messaging.Answered{Ask: m.Ask, Answer: messaging.Failed{Text: text}})
		return
	}
	s.names[name] = id
	s.asks[m.Ask] = id
	s.number++
	s.spawn(c, id, birth{s.number, &m})
	s.held[id].name = name
	s.refer(m.Client, id)
}

// pass hands a request to the container that it names.
func (s *handles) pass(m messaging.ContainerCommand) {
	id, known := s.names[m.Named()]
	if !known || !s.held[id].ready && !s.held[id].pending {
		s.w.tell(messaging.Answered{Ask: m.Asked(), Answer: messaging.Failed{Text: "unknown handle"}})
		return
	}
	s.refer(m.Asked().Client, id)
	number := uint32(0)
	switch m.(type) {
	case messaging.SpawnJob, messaging.RunJob:
		if s.anyUntold() {
			s.waitJobless(m)
			return
		}
		s.lastJob++
		number = s.lastJob
	}
	s.asks[m.Asked()] = id
	s.held[id].ref.Tell(clientWants{m, number, s.held[id].life})
}

func (s *handles) anyUntold() bool {
	for _, kept := range s.held {
		if kept.untold {
			return true
		}
	}
	return false
}

// up answers in the place of a handle that was restarted: what it was asked is
// lost with the incarnation that was asked. A container that nobody was told of
// yet goes: whoever wants one will ask again.
func (s *handles) up(c *kit.Context[handlesMessage], m handleUp) {
	kept, ok := s.held[m.id]
	if !ok || m.incarnation == 1 {
		return
	}
	kept.life = m.incarnation
	for ask, id := range byAsk(s.asks) {
		if id == m.id {
			s.answer(ask, messaging.Failed{Text: askAgain})
		}
	}
	if !kept.ready && !kept.pending {
		s.remove(m.id)
		s.forget(c, m.id)
	}
}

func (s *handles) ready(c *kit.Context[handlesMessage], m handleReady) {
	kept, ok := s.held[m.id]
	if !ok {
		return
	}
	s.lastJob = max(s.lastJob, m.lastJob)
	kept.grace = m.grace
	if !kept.ready && !kept.pending {
		s.order = append(s.order, m.id)
	}
	kept.ready, kept.pending = true, false
	s.settled(kept)
	s.expireSoon(c, m.id)
}

// settled serves who waited for the jobs of a former agent to be known.
func (s *handles) settled(kept *keptHandle) {
	kept.untold = false
	if s.anyUntold() {
		return
	}
	jobless := s.jobless
	s.jobless = nil
	for _, m := range jobless {
		s.pass(m.(messaging.ContainerCommand))
	}
}

// forget drops a container of which nothing runs any more.
func (s *handles) forget(c *kit.Context[handlesMessage], id string) {
	kept, ok := s.held[id]
	if !ok {
		return
	}
	kit.Stop(c, kept.ref)
	s.drop(id, kept)
}

func (s *handles) drop(id string, kept *keptHandle) {
	delete(s.held, id)
	if s.names[kept.name] == id {
		delete(s.names, kept.name)
	}
	s.order = slices.DeleteFunc(s.order, func(other string) bool { return other == id })
	for ask, of := range byAsk(s.asks) {
		if of == id {
			s.answer(ask, messaging.Failed{Text: "unknown handle"})
		}
	}
	maps.DeleteFunc(s.handing, func(_ messaging.Ask, of string) bool { return of == id })
	for _, named := range s.clients {
		delete(named, id)
	}
	if kept.cancel != nil {
		kept.cancel()
	}
	s.settled(kept)
	s.tellNone()
}

// forsake takes a container away whose handle was given up.
func (s *handles) forsake(c *kit.Context[handlesMessage], m handleForsook) {
	kept, ok := s.held[m.id]
	if !ok {
		return
	}
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: kept.ref.Path(), Reason: m.reason.Error(), At: c.Now()})
	s.remove(m.id)
	s.drop(m.id, kept)
}

func (s *handles) takeAll(m takeAll) {
	s.none = m.none
	for _, kept := range sorted(s.held) {
		kept.ref.Tell(expired{})
	}
	s.tellNone()
}

func (s *handles) tellNone() {
	if s.none != nil && s.listed && len(s.held) == 0 {
		s.none()
	}
}
