package box

import (
	"sync"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// stopwatch notes how long each step of an operation took; steps may overlap.
// It reads the clock because durations are what it is for.
type stopwatch struct {
	mu    sync.Mutex
	begun time.Time
	taken []isolation.Timing
}

func newStopwatch() *stopwatch { return &stopwatch{begun: time.Now()} }

func (w *stopwatch) time(step string, act func() error) error {
	begun := time.Now()
	err := act()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = append(w.taken, isolation.Timing{Step: step, Took: time.Since(begun)})
	return err
}

// steps ends with the whole.
func (w *stopwatch) steps() []isolation.Timing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(w.taken, isolation.Timing{Step: "whole", Took: time.Since(w.begun)})
}
