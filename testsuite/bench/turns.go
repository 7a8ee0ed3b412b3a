package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// idle is how long the machine rests before each start.
const idle = 60 * time.Millisecond

// warmings are rounds that nobody looks at: caches are filled, rule sets and
// bridges are made.
const warmings = 2

// progressEvery so many rounds a line says how far it is.
const progressEvery = 20

// trial is one container's life as it was measured.
type trial struct {
	firstByte time.Duration // from asking until the application's first byte
	gone      time.Duration // from asking for its end until it was over
	// registered is the time until the router was told; 0 where there is none.
	registered time.Duration
	steps      []isolation.Timing
}

// contender is one row: something that makes containers.
type contender interface {
	name() string
	// trial makes a container, waits for its application and takes it away; when
	// it returns nothing is under way any more.
	trial() (trial, error)
}

// series is what was measured of one row.
type series struct {
	Name       string
	FirstByte  sample
	Gone       sample
	Registered sample       // empty: there is no router
	Steps      []stepSample // in the order in which they end
}

// stepSample is one step's share of a start. Steps of one start may overlap.
type stepSample struct {
	Name string
	Took sample
}

// takeTurns lets every row make one container a round.
func takeTurns(s *stand, rows []contender, rounds int) []*series {
	all := make([]*series, len(rows))
	for i, row := range rows {
		all[i] = &series{Name: row.name()}
	}
	for round := range rounds + warmings {
		if round%progressEvery == 0 {
			fmt.Fprintf(os.Stderr, "bench: round %d of %d\n", max(0, round-warmings)+1, rounds)
		}
		for turn := range rows {
			i := (round + turn) % len(rows)
			if s.ctx.Err() != nil {
				s.Fatal("interrupted")
			}
			time.Sleep(idle)
			t, err := rows[i].trial()
			if err != nil {
				s.Fatalf("%s: %v", rows[i].name(), err)
			}
			if round >= warmings {
				all[i].add(t)
			}
		}
	}
	return all
}

func (s *series) add(t trial) {
	s.FirstByte = append(s.FirstByte, t.firstByte)
	s.Gone = append(s.Gone, t.gone)
	if t.registered > 0 {
		s.Registered = append(s.Registered, t.registered)
	}
	for _, step := range t.steps {
		i := slices.IndexFunc(s.Steps, func(known stepSample) bool { return known.Name == step.Step })
		if i < 0 {
			i = len(s.Steps)
			s.Steps = append(s.Steps, stepSample{Name: step.Step})
		}
		s.Steps[i].Took = append(s.Steps[i].Took, step.Took)
	}
}

// sample is what one thing took, time after time.
type sample []time.Duration

// percentile is the nearest rank's: the least value that p per cent of all do
// not exceed.
func (s sample) percentile(p int) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := (p*len(sorted) + 99) / 100
	return sorted[max(rank, 1)-1]
}

func (s sample) p50() time.Duration { return s.percentile(50) }
func (s sample) p99() time.Duration { return s.percentile(99) }
