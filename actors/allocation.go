package actors

import (
	"fmt"

	"github.com/deacon-agent/deacon/actors/kit"
)

// allocationMessage is everything that a network allocation is told.
//
//sumtype:decl
type allocationMessage interface{ allocation() }

type (
	restOrdered   struct{}
	released      struct{}
	releaseFailed struct{ err error }
	releaseDue    struct{}
)

func (restOrdered) allocation()   {}
func (released) allocation()      {}
func (releaseFailed) allocation() {}
func (releaseDue) allocation()    {}

// allocationState is where a slot stands: used by a container, resting until
// nothing of it is left in the kernel, or free for the next tenant.
type allocationState uint8

const (
	allocationHeld allocationState = iota
	allocationResting
	allocationFree
	allocationStates
)

type allocationInput uint8

const (
	inRest allocationInput = iota
	inReleased
	inReleaseFailed
	inReleaseDue
	allocationInputs
)

type allocationCell struct {
	verdict verdict
	to      allocationState
}

// allocationLifecycle is the whole machine. A slot never goes back from
// resting to held: a late packet must not reach a new tenant.
var allocationLifecycle = [allocationStates][allocationInputs]allocationCell{
	allocationHeld: {
		inRest: {accept, allocationResting}, inReleased: {verdict: ignore},
		inReleaseFailed: {verdict: ignore}, inReleaseDue: {verdict: ignore},
	},
	allocationResting: {
		inRest: {verdict: ignore}, inReleased: {accept, allocationFree},
		inReleaseFailed: {accept, allocationResting}, inReleaseDue: {accept, allocationResting},
	},
	allocationFree: {
		inRest: {accept, allocationFree}, inReleased: {verdict: ignore},
		inReleaseFailed: {verdict: ignore}, inReleaseDue: {verdict: ignore},
	},
}

func nextAllocation(s allocationState, in allocationInput) (allocationState, verdict) {
	switch cell := allocationLifecycle[s][in]; cell.verdict {
	case accept:
		return cell.to, accept
	case ignore:
		return s, ignore
	default:
		panic(fmt.Sprintf("actors: an allocation has no rule for input %d in state %d", in, s))
	}
}

// allocation is one container's place in the network: slot, addresses, link
// and mapped ports. It keeps the slot until the kernel has let all of it go.
type allocation struct {
	kit.Base[allocationMessage]
	w       *world
	place   Placement
	parts   parts
	parent  kit.Ref[networksMessage]
	state   allocationState
	retries int
}

func (w *world) allocationKind(p Placement, parts parts, parent kit.Ref[networksMessage]) kit.Kind[allocationMessage] {
	return kit.Kind[allocationMessage]{Name: "allocation", Budget: w.Budget, New: func() kit.Actor[allocationMessage] {
		return &allocation{w: w, place: p, parts: parts, parent: parent}
	}}
}

// Up asks a restarted allocation's supervisor whether it was to rest.
func (a *allocation) Up(c *kit.Context[allocationMessage]) error {
	if c.Incarnation() > 1 {
		a.parent.Tell(allocationUp{a.place.Container})
	}
	return nil
}

func (a *allocation) Receive(c *kit.Context[allocationMessage], m allocationMessage) error {
	switch m := m.(type) {
	case restOrdered:
		a.input(c, inRest)
	case released:
		a.input(c, inReleased)
	case releaseFailed:
		c.Log().Error("a slot can't be released and will be tried again", "container", a.place.Container, "error", m.err)
		a.input(c, inReleaseFailed)
	case releaseDue:
		a.input(c, inReleaseDue)
	}
	return nil
}

func (a *allocation) input(c *kit.Context[allocationMessage], in allocationInput) {
	to, v := nextAllocation(a.state, in)
	if v != accept {
		return
	}
	a.state = to
	switch {
	case to == allocationFree:
		a.parts.ledger.Tell(free{a.place.Container})
		a.parent.Tell(allocationOver{a.place.Container})
	case in == inReleaseFailed:
		c.After(min(a.w.Settings.RetryMax, a.w.Settings.RetryMin<<min(a.retries, 16)), releaseDue{})
		a.retries++
	default:
		a.parent.Tell(resting{a.place.Container})
	}
}
