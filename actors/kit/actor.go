package kit

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Actor is one incarnation of an actor whose messages are of the closed set M.
// All three methods run on its mailbox, one at a time.
type Actor[M any] interface {
	// Up brings the actor's piece of the world up, or adopts what stands. It is
	// called once, before any message, in every incarnation.
	Up(c *Context[M]) error
	// Receive handles one message. An error, like a panic, ends the incarnation:
	// the message is gone, the budget decides what follows.
	Receive(c *Context[M], m M) error
	// Down is called once for every incarnation whose Up was called, also if Up
	// failed: when everything below it has stopped and its work was cancelled.
	// It can't fail (a panic is logged), can't start anything, and must release
	// nothing that a running application stands on.
	Down(c *Context[M])
}

// Base is an Actor's Up and Down for those that have nothing to do there.
type Base[M any] struct{}

// Up does nothing.
func (Base[M]) Up(*Context[M]) error { return nil }

// Down does nothing.
func (Base[M]) Down(*Context[M]) {}

// Kind is what all actors of one sort have in common.
type Kind[M any] struct {
	Name   string          // "instance": for logs, hook and metrics
	New    func() Actor[M] // makes the value of every incarnation
	Budget Budget          // zero: DefaultBudget
}

// Ref is the address of one actor through all its incarnations. It may be
// compared and copied: two are equal when they lead to the same actor. An
// actor spawned later under the same path is another one. The zero Ref leads
// nowhere, which is allowed.
type Ref[M any] struct{ cell *cell }

// Tell puts m into the actor's mailbox and returns at once. A message to an
// actor that is gone is dropped.
func (r Ref[M]) Tell(m M) {
	if r.cell != nil {
		r.cell.post(&letter[M]{message: m})
	}
}

// Path is the names from the root down: "node/instances/3f".
func (r Ref[M]) Path() string {
	if r.cell == nil {
		return ""
	}
	return r.cell.path
}

// IsZero says whether r leads nowhere.
func (r Ref[M]) IsZero() bool { return r.cell == nil }

// Context is what an incarnation may do to the world of actors. Spawn, Stop,
// Watch, Pipe, After and Random are for the mailbox only; the rest may be used
// from work too. Once the incarnation has ended, nothing that was asked of its
// Context has an effect on its successor.
type Context[M any] struct{ in *incarnation }

// Self is the actor's own address.
func (c *Context[M]) Self() Ref[M] { return Ref[M]{c.in.cell} }

// Name is the last part of the path.
func (c *Context[M]) Name() string { return c.in.cell.name }

// Log is a logger named with the actor's path.
func (c *Context[M]) Log() hclog.Logger { return c.in.cell.logger() }

// Now is the time of the injected clock.
func (c *Context[M]) Now() time.Time { return c.in.cell.sys.clock.Now() }

// Random is the incarnation's own source: the same seed gives the same numbers.
func (c *Context[M]) Random() *rand.Rand { return c.in.random() }

// Incarnation counts 1, 2, ...: it is 1 until the first restart.
func (c *Context[M]) Incarnation() int { return int(c.in.number) }

// After posts m to the actor itself in d, unless the incarnation ends or
// cancel is called before m is handled; cancel may be called again.
func (c *Context[M]) After(d time.Duration, m M) (cancel func()) {
	in := c.in
	t := in.addTimer(d, func(t *timer) {
		in.cell.post(&letter[M]{to: in.number, make: func() (M, bool) { return m, !t.cancelled.Load() }})
	})
	if t == nil {
		return func() {}
	}
	return func() { in.cancelTimer(t) }
}

// Spawn starts a child of c below its path. gaveUp, unless nil, makes the
// message that c gets when the child has failed past its budget; by then the
// child has stopped, and the name is free again.
//
// A name that a living child has is a programming error and panics; a child
// that was told to stop has none any more.
func Spawn[M, P any](c *Context[P], name string, k Kind[M], gaveUp func(name string, reason error) P) Ref[M] {
	in := c.in
	child := newCell(in.cell.sys, in, name, k)
	if gaveUp != nil {
		child.gaveUp = func(reason error) {
			in.cell.post(&letter[P]{to: in.number, make: func() (m P, ok bool) {
				if child.dismissed.Load() {
					return m, false
				}
				return gaveUp(name, reason), true
			}})
		}
	}
	in.adopt(child)
	return Ref[M]{child}
}

// Stop stops a child of c: what is below it first, then itself. It overtakes
// what is queued for the child, which is dropped, and cancels its work. After
// it c hears no gaveUp of this child. Only a parent may stop a child.
func Stop[M, P any](c *Context[P], ref Ref[M]) {
	child := ref.cell
	if child == nil {
		return
	}
	if child.parent == nil || child.parent.cell != c.in.cell {
		panic(fmt.Sprintf("kit: %s may not stop %s: it isn't its child", c.in.cell.path, child.path))
	}
	child.dismissed.Store(true)
	c.in.disown(child)
	child.stop()
}
