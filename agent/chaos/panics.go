package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

// panicsMax is how many failures of one kind of actor an injection causes at
// most: an actor's budget is for rare ones, and past it giving up is right.
const panicsMax = 2

var actorPanics = Fault{
	Name: "actor-panics", Harm: Nobody, For: 5 * time.Second, Takes: []string{"rate"},
	Does:      "actors panic at messages drawn by \"rate\" (0.05), each kind of actor at most twice",
	Heals:     "no further actor is made to panic; those that did were restarted by their supervisors",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		rate := o.Rate
		if rate == 0 {
			rate = 0.05
		}
		n.Panics.begin(rate, o.Seed)
		return Injection{
			Note: fmt.Sprintf("one message in %.0f", 1/rate),
			Heal: func(context.Context) error { n.Panics.end(); return nil },
		}, nil
	},
}

// Panics is the tree's hook.
type Panics struct {
	mu   sync.Mutex
	rate float64 // 0: none
	rng  *rand.Rand
	done []string // kinds, as often as they were made to fail
}

func (p *Panics) begin(rate float64, seed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.rng, p.done = rate, random(seed), nil
}

func (p *Panics) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = 0
}

// Hook makes actors fail. It is called on their mailboxes.
func (p *Panics) Hook(turn kit.Turn) {
	if p.strikes(turn) {
		panic(fmt.Sprintf("chaos: %s was made to fail at %s", turn.Path, turn.Message))
	}
}

func (p *Panics) strikes(turn kit.Turn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What is on its way down anyway would only spend its parent's budget.
	if p.rate == 0 || turn.Message == "Down" || p.rng.Float64() >= p.rate {
		return false
	}
	done := 0
	for _, kind := range p.done {
		if kind == turn.Kind {
			done++
		}
	}
	if done >= panicsMax {
		return false
	}
	p.done = append(slices.Clip(p.done), turn.Kind)
	return true
}
