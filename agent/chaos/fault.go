package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Harm says who may notice a fault. Requests of anybody else have to be
// answered while it lasts as if there were none.
type Harm string

// Whom faults harm.
const (
	Nobody Harm = "nobody"
	One    Harm = "one"   // the instance that it was done to
	Every  Harm = "every" // every instance of the node
)

// Fault is one way to harm a node.
type Fault struct {
	Name  string
	Does  string // for people: what is done
	Heals string // and how it is taken back
	Harm  Harm
	// For is how long it lasts where an order doesn't say; 0: it is done in a moment.
	For time.Duration
	// Shows is how long it may take until the harm is to be seen at all, by a node
	// that nothing else keeps from noticing.
	Shows time.Duration
	// Silences says that the node may be unheard while it lasts.
	Silences bool
	// Takes are the settings that it looks at: "rate", "delay", "size".
	Takes []string
	// Available says why it can't be done to this node.
	Available func(n *Node) error
	Inject    injector
}

type injector func(ctx context.Context, n *Node, o Order) (Injection, error)

// Injection is a fault that was done.
type Injection struct {
	Victim Victim // the container that it was done to, where it was one
	Note   string // what exactly was done
	// Begin is what of it must wait until the answer is on its way, because
	// nothing can be said after it; nil: all is done.
	Begin func()
	// Heal takes it back; nil: there is nothing to take back. It may be repeated.
	Heal func(ctx context.Context) error
}

// Victim is a container and whose it is.
type Victim struct {
	Container string `json:"container,omitempty"`
	Instance  string `json:"instance,omitempty"`
}

// Node is what faults lay hands on.
type Node struct {
	ID         string
	Plan       slot.Plan
	State      string        // its folder
	Kernel     actors.Kernel // without Steps before it
	Supervised bool          // somebody starts the agent again when it ends
	Log        hclog.Logger

	Panics *Panics
	Steps  *Steps
	Line   *Line
	Clock  *Clock
}

// Order asks for one fault.
type Order struct {
	ID    string `json:"id"` // chosen by who asks; the same one is carried out once
	Fault string `json:"fault"`
	Seed  uint64 `json:"seed"` // of what chance decides
	For   Span   `json:"for,omitzero"`

	// What some faults take; zero: as the fault has it.
	Instance string  `json:"instance,omitempty"` // the victim; empty: drawn
	Rate     float64 `json:"rate,omitempty"`     // how much of what passes is hit
	Delay    Span    `json:"delay,omitzero"`
	Size     int64   `json:"size,omitempty"` // bytes, or seconds that a clock jumps
}

// Bounds of an order.
const (
	ForMax   = 10 * time.Minute
	DelayMax = 30 * time.Second
	SizeMax  = 16 << 30
	idMax    = 64
)

func (o Order) check() error {
	switch {
	case o.ID == "" || len(o.ID) > idMax:
		return fmt.Errorf("\"id\" has 1 to %d characters", idMax)
	case o.For < 0 || o.For.Duration() > ForMax:
		return fmt.Errorf("\"for\" is %s; it is from 0s to %s", o.For, ForMax)
	case o.Delay < 0 || o.Delay.Duration() > DelayMax:
		return fmt.Errorf("\"delay\" is %s; it is from 0s to %s", o.Delay, DelayMax)
	case o.Rate < 0 || o.Rate > 1:
		return fmt.Errorf("\"rate\" is %g; it is from 0 to 1", o.Rate)
	case o.Size < 0 || o.Size > SizeMax:
		return fmt.Errorf("\"size\" is %d; it is from 0 to %d", o.Size, int64(SizeMax))
	}
	return nil
}

// Span is a duration that reads "2s" on the wire.
type Span time.Duration

// Duration is the span as the standard library has it.
func (s Span) Duration() time.Duration { return time.Duration(s) }

func (s Span) String() string { return time.Duration(s).String() }

// MarshalText writes it as "2s".
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	*s = Span(d)
	return err
}

// or returns a value, or another where it is zero.
func (s Span) or(otherwise time.Duration) time.Duration {
	if s == 0 {
		return otherwise
	}
	return s.Duration()
}

// unableError says why a fault can't be done at this moment, often because of
// another one. Nothing was done, and nothing is wrong with the node.
type unableError string

func (e unableError) Error() string { return string(e) }

func always(*Node) error { return nil }

// errUnsupervised is why an agent that nobody starts again is not ended.
var errUnsupervised = errors.New("nobody is known to start the agent again: " +
	"where something does, say chaos { supervised = true } in the node's configuration")

func whereSupervised(n *Node) error {
	if !n.Supervised {
		return errUnsupervised
	}
	return nil
}

// All are the faults that a node does to itself, in the order in which people
// are shown them. AgentStopped is the one that is done from outside.
func All() []Fault {
	return []Fault{
		actorPanics, stepsFail, stepsSlow, initKilled, jobKilled, agentKilled,
		natsKilled, natsPartitioned, natsSlow, natsDuplicated, natsReordered,
		diskFull, diskSlow, noInodes, noDescriptors, memoryPressure, clockJumped,
		groupRemoved, tableFlushed, linkDeleted, stateTruncated, stateFlipped,
	}
}

// Find returns a fault by its name.
func Find(name string) (Fault, bool) {
	for _, f := range append(All(), AgentStopped) {
		if f.Name == name {
			return f, true
		}
	}
	return Fault{}, false
}
