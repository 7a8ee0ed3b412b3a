// Package sweep kills at every step. A process that acts (the agent, the
// launcher, a container's PID 1, or two of them) is traced while it does one
// operation, and is killed with SIGKILL at its Nth system call that changes
// something, once before the call is executed and once after; for every N, until
// the operation ends unharmed. Then a successor recovers, and two oracles judge:
//
//	truth   what was answered before the kill holds afterwards
//	leak    after everything is destroyed, the machine is as it was before
//
// The tests' own binary plays four parts: the test, the tracer (Tracer), the node
// under the sweep, and inside its containers nothing. A sweep is a slice drawn
// from a seed, or everything; each failure names its seed and the command that
// repeats it. Which thread of a Go process is where differs from run to run, so a
// replay hits the same step of the same operation, and not always the same
// moment of its other threads.
//
// Box level opens isolation/box on a state folder, without NATS; agent level
// runs the real program. Nothing here may sleep: the tracer stops the process
// exactly where it is to die.
package sweep
