package kit

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Seeded is a Dispatcher that runs one message of one mailbox at a time,
// picked by its seed: the same seed, the same history. What is piped is one
// more turn.
type Seeded struct {
	// Settle, unless nil, waits until what was started has ended or blocks for
	// good, as synctest.Wait does; then piped work runs on a goroutine of its
	// own and may block. Without it work runs inside its turn and must not.
	Settle func()

	mu    sync.Mutex
	rng   *rand.Rand
	ready []func()
}

// NewSeeded makes one.
func NewSeeded(seed uint64) *Seeded {
	return &Seeded{rng: rand.New(rand.NewPCG(seed, 0))}
}

// Schedule puts a turn among those that may come next.
func (s *Seeded) Schedule(turn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, turn)
}

// Throughput is one message: a mailbox that emptied itself in one turn would
// hide most of the possible histories.
func (s *Seeded) Throughput() int { return 1 }

// Work puts what was piped among the turns.
func (s *Seeded) Work(run func()) {
	if s.Settle == nil {
		s.Schedule(run)
		return
	}
	s.Schedule(func() { go run() })
}

// RunUntilIdle runs turns until none is left, at most max, and says how many.
func (s *Seeded) RunUntilIdle(max int) (turns int) {
	for turns < max {
		turn := s.pick()
		if turn == nil {
			return turns
		}
		turn()
		turns++
		if s.Settle != nil {
			s.Settle()
		}
	}
	return turns
}

func (s *Seeded) pick() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		return nil
	}
	i := s.rng.IntN(len(s.ready))
	turn := s.ready[i]
	s.ready = slices.Delete(s.ready, i, i+1)
	return turn
}

// ManualClock stands still until it is advanced.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Time
	serial int
	alarms []*alarm
}

type alarm struct {
	at     time.Time
	serial int
	f      func()
}

// NewManualClock makes one that shows start.
func NewManualClock(start time.Time) *ManualClock { return &ManualClock{now: start} }

// Now is where the clock stands.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc calls f from the Advance or Next that passes d from now, never at once.
func (c *ManualClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serial++
	a := &alarm{at: c.now.Add(max(d, 0)), serial: c.serial, f: f}
	c.alarms = append(c.alarms, a)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.drop(a)
	}
}

func (c *ManualClock) drop(a *alarm) bool {
	at := slices.Index(c.alarms, a)
	if at < 0 {
		return false
	}
	c.alarms = slices.Delete(c.alarms, at, at+1)
	return true
}

// Advance turns the clock by d, and calls what falls due in the order of its
// time; each f sees its own.
func (c *ManualClock) Advance(d time.Duration) {
	end := c.Now().Add(d)
	for c.ring(end) {
	}
	c.mu.Lock()
	c.now = end
	c.mu.Unlock()
}

// Next turns the clock to the next thing due and calls it; false: nothing is.
func (c *ManualClock) Next() bool { return c.ring(time.Time{}) }

// ring calls the next alarm, unless that is after end (zero: no end).
func (c *ManualClock) ring(end time.Time) bool {
	c.mu.Lock()
	if len(c.alarms) == 0 {
		c.mu.Unlock()
		return false
	}
	next := slices.MinFunc(c.alarms, func(a, b *alarm) int {
		if order := a.at.Compare(b.at); order != 0 {
			return order
		}
		return a.serial - b.serial
	})
	if !end.IsZero() && next.at.After(end) {
		c.mu.Unlock()
		return false
	}
	c.drop(next)
	c.now = next.at
	c.mu.Unlock()
	next.f()
	return true
}
