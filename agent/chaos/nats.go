package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// What the line does lasts until it is healed, and is told to begin only when
// the answer is out.

var natsKilled = Fault{
	Name: "nats-killed", Harm: Nobody, For: 5 * time.Second, Silences: true,
	Does:      "the connection to NATS breaks, and no other can be made, as if the server were killed",
	Heals:     "connections are made again",
	Available: always,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		return n.onLine("", func(r *rules) { r.refused = true }, func(r *rules) { r.refused = false }), nil
	},
}

var natsPartitioned = Fault{
	Name: "nats-partitioned", Harm: Nobody, For: 10 * time.Second, Silences: true,
	Does:      "nothing passes between the node and NATS, either way, and no connection breaks",
	Heals:     "what was held back passes",
	Available: always,
	Inject: func(_ context.Context, n *Node, _ Order) (Injection, error) {
		return n.onLine("", func(r *rules) { r.held = true }, func(r *rules) { r.held = false }), nil
	},
}

var natsSlow = Fault{
	Name: "nats-slow", Harm: Nobody, For: 10 * time.Second, Takes: []string{"delay"},
	Does:      "what passes between the node and NATS takes \"delay\" (500ms) longer, each way",
	Heals:     "it passes at once again",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		delay := o.Delay.or(500 * time.Millisecond)
		return n.onLine(delay.String()+" longer", func(r *rules) { r.delay = delay }, func(r *rules) { r.delay = 0 }), nil
	},
}

var natsDuplicated = Fault{
	Name: "nats-duplicated", Harm: Nobody, For: 10 * time.Second, Takes: []string{"rate"},
	Does:      "messages to and from the node come twice, drawn by \"rate\" (0.3)",
	Heals:     "they come once",
	Available: legible,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		rate := rateOr(o.Rate)
		return n.onLine(fmt.Sprintf("%.0f %% of the messages", 100*rate),
			func(r *rules) { r.repeated, r.rng = rate, random(o.Seed) }, func(r *rules) { r.repeated = 0 }), nil
	},
}

var natsReordered = Fault{
	Name: "nats-reordered", Harm: Nobody, For: 10 * time.Second, Takes: []string{"rate"},
	Does:      "messages to and from the node change places with the next one, drawn by \"rate\" (0.3)",
	Heals:     "they come in their order",
	Available: legible,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		rate := rateOr(o.Rate)
		return n.onLine(fmt.Sprintf("%.0f %% of the messages", 100*rate),
			func(r *rules) { r.swapped, r.rng = rate, random(o.Seed) }, func(r *rules) { r.swapped = 0 }), nil
	},
}

func rateOr(rate float64) float64 {
	if rate == 0 {
		return 0.3
	}
	return rate
}

func legible(n *Node) error {
	if n.Line.isSealed() {
		return errors.New("the connection to NATS is encrypted or a web socket: messages can't be told apart on their way")
	}
	return nil
}

// onLine sets rules once the answer is out, and takes them back.
func (n *Node) onLine(note string, begin, end func(*rules)) Injection {
	return Injection{
		Note: note,
		Begin: func() {
			n.Line.set(begin)
			if n.Line.now().refused {
				n.Line.cut()
			}
		},
		Heal: func(context.Context) error { n.Line.set(end); return nil },
	}
}
