package kit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// incarnation is one life of an actor between two restarts, and owner of all
// that ends with it.
type incarnation struct {
	cell   *cell
	number uint32

	// On the mailbox only.
	behaviour behaviour
	message   any // being handled
	children  map[string]*cell
	rng       *rand.Rand

	mu      sync.Mutex
	ended   bool
	timers  []*timer
	works   []*work
	watched map[*cell]struct{}
	drained func()      // called once no work is left
	pause   func() bool // stops the timer that leads to the successor
}

// timer is one After.
type timer struct {
	cancelled atomic.Bool
	stop      func() bool
}

// work is one Pipe.
type work struct {
	name      string
	cancel    context.CancelCauseFunc
	cancelled atomic.Bool
}

// see notes what is about to be handled and shows it to the hook.
func (in *incarnation) see(m any) {
	in.message = m
	if hook := in.cell.sys.hook; hook != nil {
		hook(Turn{Kind: in.cell.kind, Path: in.cell.path, Message: messageName(m)})
	}
}

func (in *incarnation) random() *rand.Rand {
	if in.rng == nil {
		in.rng = in.cell.sys.stream(fmt.Sprintf("%s %d %d", in.cell.path, in.cell.serial, in.number))
	}
	return in.rng
}

// adopt makes child the holder of its name and starts it.
func (in *incarnation) adopt(child *cell) {
	if in.over() {
		panic(fmt.Sprintf("kit: spawn %s: the incarnation that asks has ended", child.path))
	}
	if in.children[child.name] != nil {
		panic(fmt.Sprintf("kit: spawn %s: a living child has that name", child.path))
	}
	if in.children == nil {
		in.children = map[string]*cell{}
	}
	in.children[child.name] = child
	child.launch(in.cell.library.SpawnNamed)
}

// disown frees the child's name.
func (in *incarnation) disown(child *cell) {
	if in.children[child.name] == child {
		delete(in.children, child.name)
	}
}

func (in *incarnation) over() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended
}

// end cancels all that the incarnation has under way. It may be called again,
// and on nil.
func (in *incarnation) end() {
	if in == nil {
		return
	}
	in.mu.Lock()
	in.ended = true
	timers, watched, pause := in.timers, in.watched, in.pause
	in.timers, in.watched, in.pause, in.drained = nil, nil, nil, nil
	works := slices.Clone(in.works)
	in.mu.Unlock()
	if pause != nil {
		pause()
	}
	for _, t := range timers {
		t.cancelled.Store(true)
		t.stop()
	}
	for c := range watched {
		c.forget(in)
	}
	for _, w := range works {
		w.cancelled.Store(true)
		w.cancel(ErrIncarnationEnded)
	}
}

// addTimer calls f in d unless the timer is cancelled first; nil: the
// incarnation has ended.
func (in *incarnation) addTimer(d time.Duration, f func(*timer)) *timer {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended || in.cell.sys.closed.Load() {
		return nil
	}
	t := &timer{}
	t.stop = in.cell.sys.clock.AfterFunc(d, func() {
		if in.dropTimer(t) {
			f(t)
		}
	})
	in.timers = append(in.timers, t)
	return t
}

func (in *incarnation) dropTimer(t *timer) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	at := slices.Index(in.timers, t)
	if at < 0 {
		return false
	}
	in.timers = slices.Delete(in.timers, at, at+1)
	return true
}

func (in *incarnation) cancelTimer(t *timer) {
	t.cancelled.Store(true)
	if in.dropTimer(t) {
		t.stop()
	}
}

// addWork returns the work's context, or nil if the incarnation has ended.
func (in *incarnation) addWork(name string) (*work, context.Context) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended || in.cell.sys.closed.Load() {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	w := &work{name: name, cancel: cancel}
	in.works = append(in.works, w)
	in.cell.sys.workStarted()
	return w, ctx
}

// endWork is called when the work has returned.
func (in *incarnation) endWork(w *work) {
	w.cancel(ErrIncarnationEnded)
	in.mu.Lock()
	at := slices.Index(in.works, w)
	in.works = slices.Delete(in.works, at, at+1)
	var drained func()
	if len(in.works) == 0 {
		drained, in.drained = in.drained, nil
	}
	in.mu.Unlock()
	in.cell.sys.workEnded()
	if drained != nil {
		drained()
	}
}

// working names the work that hasn't returned.
func (in *incarnation) working() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var names []string
	for _, w := range in.works {
		names = append(names, w.name)
	}
	return names
}
