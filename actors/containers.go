package actors

import (
	"context"
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// containersMessage is everything that the supervisor of containers is told.
//
//sumtype:decl
type containersMessage interface{ containers() }

type (
	// wantTurn asks to be allowed to make a container; turnOver gives the turn back.
	wantTurn struct {
		id   string
		from kit.Ref[containerMessage]
	}
	turnOver struct{ id string }
	// containerUp comes from a container that was restarted: it knows only the
	// order that it was made with.
	containerUp struct{ id string }
	// containerOver says that nothing is left to be looked after.
	containerOver    struct{ id string }
	containerForsook struct {
		id     string
		reason error
	}
	// prepareDue comes when no container was made for a while, foreseen and
	// prepared on the way to one that is half made before it is asked for.
	prepareDue struct{}
	foreseen   struct{ slots []uint32 }
	prepared   struct {
		more bool
		err  error
	}
	// swept are the containers that the janitor knows of; next is told of those
	// too that are being made, or wait for their turn.
	swept struct {
		audit audit
		next  func(audit)
	}
	// hurry says that the node is shutting down: nothing waits for long any more.
	hurry struct{}
	// containersLeft asks to be told when no container is left.
	containersLeft struct{ none func() }
)

func (containerOrder) containers()   {}
func (wantTurn) containers()         {}
func (turnOver) containers()         {}
func (containerUp) containers()      {}
func (containerOver) containers()    {}
func (containerForsook) containers() {}
func (prepareDue) containers()       {}
func (foreseen) containers()         {}
func (prepared) containers()         {}
func (swept) containers()            {}
func (hurry) containers()            {}
func (containersLeft) containers()   {}

// containers supervises every container of the node and lets at most
// Settings.Starts of them be made at a time: more would only slow each other
// down, and the first ones would be the last to serve.
type containers struct {
	kit.Base[containersMessage]
	w       *world
	parts   parts
	held    map[string]keptContainer
	turns   map[string]bool // ids that are being made
	waiting []wantTurn
	prepare func() // cancels the preparation to come
	none    []func()
}

// keptContainer is a container's actor and what was ordered last.
type keptContainer struct {
	ref   kit.Ref[containerMessage]
	order containerOrder
}

func (w *world) containersKind(p parts) kit.Kind[containersMessage] {
	return kit.Kind[containersMessage]{Name: "containers", Budget: w.Budget, New: func() kit.Actor[containersMessage] {
		return &containers{w: w, parts: p, held: map[string]keptContainer{}, turns: map[string]bool{}}
	}}
}

// Up prepares the first containers.
func (s *containers) Up(c *kit.Context[containersMessage]) error {
	s.prepareSoon(c)
	return nil
}

func (s *containers) Receive(c *kit.Context[containersMessage], m containersMessage) error {
	switch m := m.(type) {
	case containerOrder:
		s.order(c, m)
	case wantTurn:
		s.waiting = append(s.waiting, m)
		s.grant()
	case turnOver:
		s.endTurn(c, m.id)
	case prepareDue:
		s.parts.ledger.Tell(foresee{s.w.Settings.Spares, c.Self()})
	case foreseen:
		kit.Pipe(c, "prepare", func(ctx context.Context) (bool, error) {
			return s.w.Kernel.Prepare(ctx, m.slots)
		}, func(more bool, err error) containersMessage { return prepared{more, err} })
	case prepared:
		if m.err != nil {
			c.Log().Warn("the next container could not be prepared", "error", m.err)
		}
		if m.more {
			s.prepareSoon(c)
		}
	case containerUp:
		if kept, ok := s.held[m.id]; ok {
			kept.ref.Tell(ordered{kept.order})
			kept.order.owner(containerAnew{})
		}
	case containerOver:
		s.forget(c, m.id)
	case containerForsook:
		s.forsake(c, m)
	case swept:
		for id := range s.held {
			m.audit.known[id] = true
		}
		m.next(m.audit)
	case hurry:
		for _, kept := range sorted(s.held) {
			kept.ref.Tell(hurried{})
		}
	case containersLeft:
		s.none = append(s.none, m.none)
		s.tellNone()
	}
	return nil
}

// order hands an order to the container's actor, which is made where there is none.
func (s *containers) order(c *kit.Context[containersMessage], o containerOrder) {
	if o.goal != goalRemove && s.w.gone.has(o.id) { // sent before its owner heard that it is no more
		o.owner(containerLost{})
		o.goal = goalRemove
	}
	if kept, ok := s.held[o.id]; ok {
		s.held[o.id] = keptContainer{kept.ref, o}
		o.owner(containerPlaced{kept.ref})
		kept.ref.Tell(ordered{o})
		return
	}
	kind := s.w.containerKind(o, s.parts, c.Self())
	ref := kit.Spawn(c, o.id, kind, func(name string, reason error) containersMessage {
		return containerForsook{name, reason}
	})
	s.held[o.id] = keptContainer{ref, o}
	o.owner(containerPlaced{ref})
}

// grant lets those make their container whose turn it is. One that asks again
// while it has its turn was restarted.
func (s *containers) grant() {
	for len(s.waiting) > 0 {
		next := s.waiting[0]
		if !s.turns[next.id] && len(s.turns) >= s.w.Settings.Starts {
			return
		}
		s.turns[next.id] = true
		s.waiting = s.waiting[1:]
		next.from.Tell(turnCame{})
	}
}

// endTurn gives a turn back, or the wish for one.
func (s *containers) endTurn(c *kit.Context[containersMessage], id string) {
	delete(s.turns, id)
	if _, held := s.held[id]; !held {
		s.waiting = slices.DeleteFunc(s.waiting, func(w wantTurn) bool { return w.id == id })
	}
	s.grant()
	s.prepareSoon(c)
}

// prepareSoon prepares one of the next containers once no other is being made:
// the one just made has an application that is starting.
func (s *containers) prepareSoon(c *kit.Context[containersMessage]) {
	if s.prepare != nil {
		s.prepare()
	}
	s.prepare = nil
	if len(s.turns) == 0 {
		s.prepare = c.After(s.w.Settings.PrepareAfter, prepareDue{})
	}
}

func (s *containers) forget(c *kit.Context[containersMessage], id string) {
	s.w.gone.add(id)
	if kept, ok := s.held[id]; ok {
		kit.Stop(c, kept.ref)
		delete(s.held, id)
	}
	s.endTurn(c, id)
	s.tellNone()
}

// forsake gives a container up: its owner decides what that means.
func (s *containers) forsake(c *kit.Context[containersMessage], m containerForsook) {
	kept, ok := s.held[m.id]
	if !ok {
		return
	}
	delete(s.held, m.id)
	s.endTurn(c, m.id)
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: kept.ref.Path(), Reason: m.reason.Error(), At: c.Now()})
	kept.order.owner(containerLost{})
}

func (s *containers) tellNone() {
	if len(s.held) > 0 {
		return
	}
	for _, none := range s.none {
		none()
	}
	s.none = nil
}
