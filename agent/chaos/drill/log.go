package drill

import (
	"sync"
	"time"
)

// Request is one that was made of an instance.
type Request struct {
	Target   string // "hello/0"
	From, To time.Time
	Error    string // empty: it was answered
}

// Done is a fault that was injected, or was to be.
type Done struct {
	Fault    string
	Node     string
	Target   string // the victim's; empty: nobody in particular
	Instance string
	Note     string
	From, To time.Time // To: when it was to be over
	Error    string    // it could not be done
	Skipped  string    // it isn't available, and why
}

// happened says whether it was done.
func (d Done) happened() bool { return d.Error == "" && d.Skipped == "" }

// Change is an instance that became another state.
type Change struct {
	At       time.Time
	Target   string
	Instance string
	To       string
	Ran      bool   // it was RUNNING until then
	Words    string // how it ended
}

// GivenUp is a part of a node that its supervisor gave up on.
type GivenUp struct {
	At                  time.Time
	Node, Actor, Reason string
}

// Beat is a heartbeat of a node.
type Beat struct {
	At   time.Time
	Node string
	Live map[string]bool // instances that aren't told as crashed
}

// Log is everything that happened, in the order in which it was heard of.
type Log struct {
	mu       sync.Mutex
	Requests []Request
	Done     []Done
	Changes  []Change
	Exits    map[string]int // droplet.exited, by instance
	Beats    []Beat
	Health   []Health
	Begun    []Beat // dea.start: an agent of a node has begun
	GaveUp   []GivenUp
	Ordered  []string // instances that the drill itself had stopped
}

// Health is how many instances run, of how many.
type Health struct {
	At              time.Time
	Running, Wanted int
}

func (l *Log) add(change func(*Log)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *Log) request(r Request) {
	l.add(func(l *Log) { l.Requests = append(l.Requests, r) })
}
