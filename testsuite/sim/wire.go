package sim

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// wire is NATS between the node and its controller. It may be away, and lose,
// repeat, delay and so reorder what is under way.
type wire struct {
	w     *world
	rng   *rand.Rand
	away  bool
	there chan struct{}              // closed when it is not
	beat  *messaging.Beat            // told while it was away: only the newest counts
	exits []messaging.InstanceExited // and all of these
	agent int                        // whose they are
}

// send brings a command to the agent.
func (n *wire) send(c messaging.Command) {
	n.w.note("controller: %s", describe(c))
	for range n.copies() {
		n.w.clock.AfterFunc(n.delay(), func() {
			if n.away || !n.w.deliver(c) {
				n.w.note("lost: %s", describe(c))
				return
			}
			n.w.note("arrives: %s", describe(c))
			if m, is := c.(messaging.UpdateInstances); is {
				n.w.watch.delivered(m)
			}
		})
	}
}

func (n *wire) copies() int {
	switch {
	case n.w.chance(wordLost, n.rng):
		return 0
	case n.w.chance(wordTwice, n.rng):
		return 2
	}
	return 1
}

func (n *wire) delay() time.Duration {
	if n.w.chance(wordSlow, n.rng) {
		return time.Duration(n.rng.IntN(20000)) * time.Millisecond
	}
	return time.Duration(n.rng.IntN(3)) * time.Millisecond
}

// tell brings an event to the controller. What the real bus keeps while the
// server is away is kept here too, and gone with the agent.
func (n *wire) tell(e messaging.Event) {
	if n.agent != n.w.lives {
		n.agent, n.beat, n.exits = n.w.lives, nil, nil
	}
	switch e := e.(type) {
	case messaging.Beat:
		if n.away {
			n.beat = &e
			return
		}
	case messaging.InstanceExited:
		if n.away {
			n.exits = append(n.exits, e)
			return
		}
	default:
		return // nobody there acts on it
	}
	n.carry(e)
}

func (n *wire) carry(e messaging.Event) {
	agent := n.w.lives
	for range max(1, n.copies()) {
		n.w.clock.AfterFunc(n.delay(), func() {
			switch e := e.(type) {
			case messaging.Beat:
				n.w.controller.hear(e)
			case messaging.InstanceExited:
				if n.w.tree != nil && n.w.lives == agent && e.Reason == messaging.Crash {
					n.w.tree.ExitTold(e.Instance)
				}
			default: // is never carried
			}
		})
	}
}

// leave begins an absence.
func (n *wire) leave() {
	if !n.away {
		n.away, n.there = true, make(chan struct{})
	}
}

// publish takes a line of an application's, once there is somebody to take it.
func (n *wire) publish(ctx context.Context, source actors.OutputSource, line int) error {
	if n.away {
		if err := n.w.loom.Wait(ctx, -1, n.there); err != nil {
			return err
		}
	}
	if err := n.w.refusal(lineRefused, "publishing a line"); err != nil {
		return err
	}
	n.w.watch.line(source.Container, line)
	return nil
}

// back ends an absence.
func (n *wire) back() {
	if n.away {
		n.away = false
		close(n.there)
	}
	if n.agent != n.w.lives {
		return
	}
	beat, exits := n.beat, n.exits
	n.beat, n.exits = nil, nil
	for _, e := range exits {
		n.carry(e)
	}
	if beat != nil {
		n.carry(*beat)
	}
}
