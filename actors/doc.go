// Package actors is the node's supervision tree: who decides what, and who
// restarts whom.
//
//	node                               routes commands down and events up
//	├── ledger                         what is promised: memory, disk, slots, ports
//	├── networks    ── <container>     one network allocation: its slot rests until nothing is left of it
//	├── containers  ── <container>     the isolated box: state × input table
//	│                    ├── job       waits for the application's end
//	│                    ├── output    has its lines published
//	│                    └── health    asks its port until it opens
//	├── droplets    ── <digest>        one download for everybody who waits
//	├── instances   ── <instance>      an application instance: the DEA's state machine
//	├── janitor                        reclaims what has no owner
//	└── heartbeat, advertiser, registrar
//
// A start, message by message:
//
//	node ─asked─▶ instances ─spawn─▶ instance ─reserve─▶ ledger
//	instance ◀─granted─ ledger        instance ─need─▶ droplets ─wanted─▶ droplet
//	instance ◀─dropletReady─          instance ─containerOrder─▶ containers ─spawn─▶ container
//	container ─lease─▶ networks       container ─wantTurn─▶ containers ─turnCame─▶ container
//	container: Kernel.Create ─▶ created ─▶ containerActive, health: Kernel.Probe ─▶ healthy ─▶ RUNNING
//
// Every actor is supervised: a failure restarts it within its budget, past it
// its parent says so in an event and decides. A leaf's job given up on loses
// the container; a container's loses the instance; a part of the node begins
// the whole tree anew, and the tree's root past its budget ends the agent.
//
// A restart never harms an application, because nothing is remembered that
// could not be asked for again: an instance takes up from its record (Store),
// a container from the kernel (Adopt), a promise from the book. Whoever waits
// for an answer repeats the question after NudgeEvery, so a message that was
// lost with an incarnation is only late. Every request is safe to repeat.
//
// Nothing here makes a system call, knows NATS, reads the wall clock or starts
// a goroutine: machine, doors and time come in by the ports of Options.
package actors
