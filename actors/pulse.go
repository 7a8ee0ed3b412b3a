package actors

import (
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

// pulseMessage is what a pulse is told: that its time has come, or that it is to come
// in other intervals.
type pulseMessage interface{ pulse() }

type (
	pulseDue   struct{}
	pulseEvery struct{ every time.Duration }
)

func (pulseDue) pulse()   {}
func (pulseEvery) pulse() {}

// pulse asks for one periodic fact: the heartbeat, the advertisement, the
// routes. The first comes at once.
type pulse struct {
	kit.Base[pulseMessage]
	every time.Duration
	beat  func()
	next  func() // cancels it
}

func (w *world) pulseKind(name string, every time.Duration, beat func()) kit.Kind[pulseMessage] {
	return kit.Kind[pulseMessage]{Name: name, Budget: w.Budget, New: func() kit.Actor[pulseMessage] {
		return &pulse{every: every, beat: beat}
	}}
}

func (p *pulse) Up(c *kit.Context[pulseMessage]) error {
	c.Self().Tell(pulseDue{})
	return nil
}

func (p *pulse) Receive(c *kit.Context[pulseMessage], m pulseMessage) error {
	switch m := m.(type) {
	case pulseDue:
		p.beat()
	case pulseEvery:
		if p.every == m.every {
			return nil
		}
		p.every = m.every
		if p.next != nil {
			p.next()
		}
	}
	p.next = c.After(p.every, pulseDue{})
	return nil
}
