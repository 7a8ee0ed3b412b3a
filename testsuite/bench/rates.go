package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// batch is many containers at once.
type batch struct{ total, inFlight int }

// run calls one for each container and returns containers a second.
func (b batch) run(one func(i int) error) (float64, error) {
	var group errgroup.Group
	group.SetLimit(b.inFlight)
	begun := now()
	for i := range b.total {
		group.Go(func() error { return one(i) })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(b.total) / now().since(begun).Seconds(), nil
}

// asked is what the limit of throughput speaks of.
var asked = batch{total: 100, inFlight: 16}

// rateTurns is how often each row is asked.
const rateTurns = 3

// rateRest is a pause between batches: namespaces are freed behind the back of
// who made them, at a few hundred a second.
const rateRest = time.Second

// rater makes, runs and removes containers in numbers.
type rater interface {
	contender
	rate(b batch) (float64, error)
}

// rate is one row's containers a second.
type rate struct {
	Name      string
	PerSecond []float64
}

func measureRates(s *stand, rows []rater) []*rate {
	all := make([]*rate, len(rows))
	for i, row := range rows {
		all[i] = &rate{Name: row.name()}
	}
	for turn := range rateTurns {
		fmt.Fprintf(os.Stderr, "bench: %d containers, %d in flight: turn %d of %d\n",
			asked.total, asked.inFlight, turn+1, rateTurns)
		for i, row := range rows {
			if s.ctx.Err() != nil {
				s.Fatal("interrupted")
			}
			time.Sleep(rateRest)
			perSecond, err := row.rate(asked)
			if err != nil {
				s.Fatalf("%s: %d at once: %v", row.name(), asked.total, err)
			}
			all[i].PerSecond = append(all[i].PerSecond, perSecond)
		}
	}
	return all
}

// collector takes ids from many and gives them to one in batches, as big as
// they have become while the last one was dealt with.
type collector struct {
	mu      sync.Mutex
	waiting []string
	more    chan struct{}
}

func newCollector() *collector { return &collector{more: make(chan struct{}, 1)} }

func (c *collector) add(id string) {
	c.mu.Lock()
	c.waiting = append(c.waiting, id)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *collector) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.waiting
	c.waiting = nil
	return ids
}
