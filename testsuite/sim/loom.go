package sim

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// loom runs one agent's turns and the work that it piped, one step at a time.
// Work that waits is a strand: a coroutine that is taken up again by a turn of
// its own once what it waits for is there.
type loom struct {
	*kit.Seeded
	clock   *kit.ManualClock
	current *strand
	strands []*strand // that have not ended, oldest first
}

var _ model.Patience = (*loom)(nil)

// strand is one piece of work.
type strand struct {
	next    func() (struct{}, bool)
	yield   func(struct{}) bool
	waiting bool
	done    <-chan struct{} // its context's
	until   []<-chan struct{}
	due     bool // the time is over
	killed  bool
	room    [2]<-chan struct{} // for until
}

func newLoom(seed uint64, clock *kit.ManualClock) *loom {
	return &loom{Seeded: kit.NewSeeded(seed), clock: clock}
}

// Work puts the beginning of a strand among the turns.
func (l *loom) Work(run func()) {
	l.Schedule(func() {
		s := &strand{}
		s.next, _ = iter.Pull(func(yield func(struct{}) bool) {
			s.yield = yield
			run()
		})
		l.strands = append(l.strands, s)
		l.resume(s)
	})
}

func (l *loom) resume(s *strand) {
	if s.killed {
		return
	}
	l.current = s
	_, more := s.next()
	l.current = nil
	if !more {
		l.strands = slices.DeleteFunc(l.strands, func(other *strand) bool { return other == s })
	}
}

// step runs one turn; false: there is none.
func (l *loom) step() bool {
	ran := l.RunUntilIdle(1) > 0
	l.wake()
	return ran
}

// wake gives a turn to every strand whose wait is over.
func (l *loom) wake() {
	for _, s := range l.strands {
		if s.waiting && s.ready() {
			s.waiting = false
			l.Schedule(func() { l.resume(s) })
		}
	}
}

func (s *strand) ready() bool {
	return s.due || closed(s.done) || slices.ContainsFunc(s.until, closed)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// errKilled unwinds the work of an agent that is no more.
var errKilled = errors.New("sim: the agent was killed")

// Wait is how the model waits, in work only: an actor that waits would stop
// everything here, as it would stop its mailbox there.
func (l *loom) Wait(ctx context.Context, d time.Duration, until ...<-chan struct{}) error {
	if d == 0 || slices.ContainsFunc(until, closed) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := l.current
	if s == nil {
		panic("sim: a call that waits was made outside of any work")
	}
	s.done, s.until, s.due = ctx.Done(), append(s.room[:0], until...), false
	if d > 0 {
		defer l.clock.AfterFunc(d, func() { s.due = true })()
	}
	s.waiting = true
	s.yield(struct{}{})
	switch {
	case s.killed:
		panic(errKilled)
	case slices.ContainsFunc(s.until, closed), s.due:
		return nil
	}
	return context.Cause(ctx)
}

// AfterFunc is the clock's: what the machine does by itself outlives any agent.
func (l *loom) AfterFunc(d time.Duration, f func()) { l.clock.AfterFunc(d, f) }

// kill ends all work where it stands: nobody gets to say a word.
func (l *loom) kill() {
	for _, s := range l.strands {
		s.killed = true
		s.next()
	}
	l.strands = nil
	l.Seeded = kit.NewSeeded(0)
}
