package kit

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"
)

// Options is what a System is given; the zero value will do.
type Options struct {
	Log        hclog.Logger // nil: none
	Clock      Clock        // nil: RealClock
	Seed       uint64       // of all chance; 0: a random one
	Dispatcher Dispatcher   // nil: a goroutine per turn
	Hook       func(Turn)   // nil: none
}

// Turn is what an actor is about to handle. A Hook sees it on the actor's
// mailbox, and what it panics with becomes the actor's failure: that is how a
// test makes any actor fail at any message.
type Turn struct {
	Kind    string
	Path    string
	Message string // the message's type ("healthy"), "Up" or "Down"
}

// Dispatcher runs mailboxes' turns.
type Dispatcher interface {
	Schedule(turn func())
	// Throughput is how many messages one turn handles at most.
	Throughput() int
}

// worker is a Dispatcher that also runs what is piped.
type worker interface{ Work(run func()) }

// goroutines is the Dispatcher of real life.
type goroutines struct{}

func (goroutines) Schedule(turn func()) { go turn() }
func (goroutines) Throughput() int      { return 300 }

// systems counts them: all share one system of the library.
var systems atomic.Uint64

// System is a forest of actors.
type System struct {
	log        hclog.Logger
	clock      Clock
	seed       uint64
	dispatcher Dispatcher
	hook       func(Turn)
	number     uint64 // among all systems of the process
	serial     atomic.Uint64
	tallies    tallies
	closed     atomic.Bool
	done       chan struct{} // closed with it

	mu    sync.Mutex
	rng   *rand.Rand
	cells map[string]*cell // living, by the library's name
	roots []*cell          // living, oldest first
	final bool             // no root may come any more
	works int              // that haven't returned
	idle  chan struct{}    // closed when works is 0; nil: nobody waits
}

// NewSystem makes one without actors.
func NewSystem(o Options) *System {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Clock == nil {
		o.Clock = RealClock()
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if o.Dispatcher == nil {
		o.Dispatcher = goroutines{}
	}
	s := &System{
		log: o.Log, clock: o.Clock, seed: o.Seed, dispatcher: o.Dispatcher, hook: o.Hook,
		number: systems.Add(1), done: make(chan struct{}), cells: map[string]*cell{},
	}
	s.rng = s.stream("pauses")
	return s
}

// Root starts an actor that has no parent. gaveUp, unless nil, is called once
// when it has failed past its budget and has stopped; it must not block.
func Root[M any](s *System, name string, k Kind[M], gaveUp func(reason error)) Ref[M] {
	c := newCell(s, nil, name, k)
	c.gaveUp = gaveUp
	s.addRoot(c)
	c.launch(library().Root.SpawnNamed, actor.WithGuardian(supervisor{}))
	return Ref[M]{c}
}

// Stop stops the roots, newest first, everything below them before, and waits
// until the last work has returned. What hasn't stopped when ctx ends is named
// in the error and detached, as by Close. After Close it only waits for work.
func (s *System) Stop(ctx context.Context) error {
	defer s.Close()
	for _, root := range slices.Backward(s.lastRoots()) {
		root.dismissed.Store(true)
		root.stop()
		s.settle()
		select {
		case <-root.whenGone():
		case <-s.done:
		case <-ctx.Done():
			return fmt.Errorf("kit: stop: still there: %s: %w", strings.Join(s.Living(), ", "), context.Cause(ctx))
		}
	}
	select {
	case <-s.whenIdle():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kit: stop: %d pieces of work haven't returned: %w", s.workCount(), context.Cause(ctx))
	}
}

// Close detaches: timers end, work is cancelled, and no message is handled any
// more, Down neither. A message that is being handled right now is finished.
// It doesn't wait and may be called again.
func (s *System) Close() {
	if s.closed.Swap(true) {
		return
	}
	close(s.done)
	registry := library().ProcessRegistry
	for _, c := range s.abandon() {
		c.current.Load().end()
		registry.Remove(library().NewLocalPID(c.id))
	}
}

// abandon forgets and returns all actors.
func (s *System) abandon() []*cell {
	cells := s.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.cells)
	s.roots, s.final = nil, true
	return cells
}

// Living returns the paths of all actors, sorted; a closed System has none.
func (s *System) Living() []string {
	var paths []string
	for _, c := range s.snapshot() {
		paths = append(paths, c.path)
	}
	slices.Sort(paths)
	return paths
}

func (s *System) snapshot() []*cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	cells := make([]*cell, 0, len(s.cells))
	for _, c := range s.cells {
		cells = append(cells, c)
	}
	return cells
}

// settle lets a seeded dispatcher come to rest: nobody else would.
func (s *System) settle() {
	if d, ok := s.dispatcher.(*Seeded); ok {
		d.RunUntilIdle(settleMax)
	}
}

// settleMax is how many turns the way down may take.
const settleMax = 1_000_000

func (s *System) addRoot(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final {
		panic(fmt.Sprintf("kit: root %s: the system has stopped", c.path))
	}
	if slices.ContainsFunc(s.roots, func(r *cell) bool { return r.name == c.name }) {
		panic(fmt.Sprintf("kit: root %s: a living root has that name", c.path))
	}
	s.roots = append(s.roots, c)
}

func (s *System) lastRoots() []*cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.final = true
	return slices.Clone(s.roots)
}

// add names the cell for the library and counts it among the living.
func (s *System) add(c *cell) {
	prefix := strconv.FormatUint(s.number, 36) + ":"
	if c.parent != nil {
		prefix = c.parent.cell.id + "/"
	}
	c.id = prefix + c.name + "#" + strconv.FormatUint(c.serial, 36)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cells[c.id] = c
}

func (s *System) remove(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cells, c.id)
	s.roots = slices.DeleteFunc(s.roots, func(r *cell) bool { return r == c })
}

// stream is a source of chance that follows from the seed and a name.
func (s *System) stream(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(s.seed, h.Sum64()))
}

func (s *System) chance() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64()
}

// work runs what is piped.
func (s *System) work(run func()) {
	if d, ok := s.dispatcher.(worker); ok {
		d.Work(run)
		return
	}
	go func() {
		deepen(0)
		run()
	}()
}

func (s *System) workStarted() {
	s.mu.Lock()
	s.works++
	s.mu.Unlock()
}

func (s *System) workEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.works--; s.works == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

func (s *System) workCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.works
}

func (s *System) whenIdle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := make(chan struct{})
	if s.works == 0 {
		close(idle)
	} else {
		s.idle = idle
	}
	return idle
}
