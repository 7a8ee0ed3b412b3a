// Package sweep kills at every step. A process that acts (the agent, the
// launcher, a container's PID 1) is traced while it does one operation, and is
// killed with SIGKILL at its Nth system call that changes something, once before
// the call is executed and once after; for every N, until the operation ends
// unharmed. Or two of them die ("agent+init": the second at a drawn step of its own,
// or where it stands when the operation is over), or one at a step of another
// that lives on ("init@agent"). Then a successor recovers, and two oracles judge:
//
//	truth   what was answered before the kill holds afterwards
//	leak    after everything is destroyed, the machine is as it was before
//
// That both can fail is tested with each kind of residue and of lies.
//
// The tests' own binary plays four parts: the test, the tracer (Tracer), the node
// under the sweep, and inside its containers nothing. A sweep is a slice drawn
// from a seed, or everything; each failure names the command that
// repeats it. Which thread of a Go process is where differs from run to run, so a
// replay hits the same step of the same operation, and not always the same
// moment of its other threads.
//
// Box level opens isolation/box on a state folder, without NATS; agent level
// runs the real program. Nothing here may sleep: the tracer stops the process
// exactly where it is to die.
package sweep
