package box

import (
	"sync"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// Took is told how long a step of an operation took, and whether it failed; the
// step "whole" is the operation. It is called on the operation's way.
type Took func(operation, step string, took time.Duration, failed bool)

// stopwatch notes how long each step of an operation took; steps may overlap.
// It reads the clock because durations are what it is for.
type stopwatch struct {
	operation string
	tell      Took // nil: nobody wants to know
	mu        sync.Mutex
	begun     time.Time
	taken     []isolation.Timing
}

func (b *Box) stopwatch(operation string) *stopwatch {
	return &stopwatch{operation: operation, tell: b.config.Took, begun: time.Now()}
}

func (w *stopwatch) time(step string, act func() error) error {
	begun := time.Now()
	err := act()
	took := time.Since(begun)
	w.mu.Lock()
	w.taken = append(w.taken, isolation.Timing{Step: step, Took: took})
	w.mu.Unlock()
	if w.tell != nil {
		w.tell(w.operation, step, took, err != nil)
	}
	return err
}

// over ends the operation, which may have failed.
func (w *stopwatch) over(err *error) {
	if w.tell != nil {
		w.tell(w.operation, whole, time.Since(w.begun), *err != nil)
	}
}

const whole = "whole"

// steps ends with the whole.
func (w *stopwatch) steps() []isolation.Timing {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(w.taken, isolation.Timing{Step: whole, Took: time.Since(w.begun)})
}
