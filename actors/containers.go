package actors

import (
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
	// containerOver says that nothing is left to be looked after.
	containerOver    struct{ id string }
	containerForsook struct {
		id     string
		reason error
	}
	// containersLeft asks to be told when no container is left.
	containersLeft struct{ none func() }
)

func (containerOrder) containers()   {}
func (wantTurn) containers()         {}
func (turnOver) containers()         {}
func (containerOver) containers()    {}
func (containerForsook) containers() {}
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
	none    []func()
}

// keptContainer is a container's actor and whom to tell when it is given up.
type keptContainer struct {
	ref   kit.Ref[containerMessage]
	owner func(containerFact)
}

func (w *world) containersKind(p parts) kit.Kind[containersMessage] {
	return kit.Kind[containersMessage]{Name: "containers", Budget: w.Budget, New: func() kit.Actor[containersMessage] {
		return &containers{w: w, parts: p, held: map[string]keptContainer{}, turns: map[string]bool{}}
	}}
}

func (s *containers) Receive(c *kit.Context[containersMessage], m containersMessage) error {
	switch m := m.(type) {
	case containerOrder:
		s.order(c, m)
	case wantTurn:
		s.waiting = append(s.waiting, m)
		s.grant()
	case turnOver:
		s.endTurn(m.id)
	case containerOver:
		s.forget(c, m.id)
	case containerForsook:
		s.forsake(c, m)
	case containersLeft:
		s.none = append(s.none, m.none)
		s.tellNone()
	}
	return nil
}

// order hands an order to the container's actor, which is made where there is none.
func (s *containers) order(c *kit.Context[containersMessage], o containerOrder) {
	if kept, ok := s.held[o.id]; ok {
		s.held[o.id] = keptContainer{kept.ref, o.owner}
		kept.ref.Tell(ordered{o})
		return
	}
	kind := s.w.containerKind(o, s.parts, c.Self())
	ref := kit.Spawn(c, o.id, kind, func(name string, reason error) containersMessage {
		return containerForsook{name, reason}
	})
	s.held[o.id] = keptContainer{ref, o.owner}
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

func (s *containers) endTurn(id string) {
	delete(s.turns, id)
	s.grant()
}

func (s *containers) forget(c *kit.Context[containersMessage], id string) {
	if kept, ok := s.held[id]; ok {
		kit.Stop(c, kept.ref)
		delete(s.held, id)
	}
	s.endTurn(id)
	s.tellNone()
}

// forsake gives a container up: its owner decides what that means.
func (s *containers) forsake(c *kit.Context[containersMessage], m containerForsook) {
	kept, ok := s.held[m.id]
	if !ok {
		return
	}
	delete(s.held, m.id)
	s.endTurn(m.id)
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: kept.ref.Path(), Reason: m.reason.Error(), At: c.Now()})
	kept.owner(containerLost{})
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
