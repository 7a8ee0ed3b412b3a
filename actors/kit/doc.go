// Package kit is the one wrapper of the actor library, protoactor-go; no other
// package imports it. It knows nothing of containers, messages of the wire or
// the kernel.
//
// # What an actor is
//
// An actor has an address (Ref), a mailbox, a parent, and one value at a time
// that handles its messages: an incarnation. Up, Receive and Down of an
// incarnation, and the functions that make its messages (then, gone, gaveUp),
// run one at a time on the mailbox, on no particular goroutine. They must not
// block: a stop, a child's failure and everything else that concerns the actor
// wait for them. What blocks goes through Pipe, which brings the result back as
// a message.
//
// Messages of one sender to one receiver arrive in the order in which they were
// sent. What a parent or a watcher is told of an actor's end comes after all
// that the actor itself told them.
//
// # How it fails
//
// An error returned by Up or Receive, a panic, and a runtime.Goexit are the
// same: a failure. It ends the incarnation at once: its timers and watches are
// dropped, its work is cancelled, and what that work still has to say is said
// to nobody. The message that was being handled is gone; those queued behind it
// wait for the next incarnation.
//
// The parent's verdict follows from the Budget of the child's Kind. Within it
// the actor restarts: after a pause, once the cancelled work has returned (but
// no longer than five seconds after the pause), everything below the actor is
// stopped, Down of the old value is called, New makes a value, Up is called.
// The children's names are free again then. Past the budget, or if the failure
// is an ErrPermanent, the actor is stopped and the parent gets the message that
// it gave to Spawn. Either verdict is logged once, with its reason, and nowhere
// else: an actor that returns an error doesn't log it too.
//
// Failures are for the unexpected. An application that exits, a droplet that
// isn't there, a node that has no room are facts, and facts are messages.
//
// # How it ends
//
// An actor doesn't stop itself; it reports, and its parent stops it. A stop
// overtakes what is queued, which is dropped. Below comes first: Down is called
// when nothing lives under the actor any more. It waits neither for a pause nor
// for cancelled work. Stopped stays stopped: a restart that was already on its
// way has no effect, on the actor or on whoever got its name next.
//
// Down can't fail and can't start anything. It is called exactly once for each
// incarnation whose Up was called, also when Up failed, except that a System
// which is closed calls nothing any more. It must release nothing that a
// running application stands on: an actor goes down whenever its code, or that
// of someone above it, has a bug, and what it was looking after goes on. Up
// therefore adopts before it makes.
//
// # How it is tested
//
// Time comes from a Clock, chance from a seed, turns from a Dispatcher. Actors
// run in a testing/synctest bubble as they are. Under a Seeded dispatcher with
// a ManualClock a whole tree is one sequence of turns that follows from the
// seed alone. Options.Hook sees every turn before the actor does and can make
// it fail there.
package kit
