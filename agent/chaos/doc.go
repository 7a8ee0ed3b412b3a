// Package chaos is how a node lets itself be harmed on order, so that whoever
// operates it can see that nothing is lost by it.
//
//	deacon chaos ── NATS ──▶ Service ──▶ Fault.Inject ──▶ Injection ── after its time, or when told ──▶ Heal
//	                                        │
//	     Panics (the tree's hook) · Steps (before the kernel) · Line (before NATS) · Clock · the machine itself
//
// A fault is a value, one file each. It says what it does, whom it harms, and
// whether it can be done here; where it can't, the reason is an answer and
// never an attempt. It touches nothing that does not carry this node's name.
//
// Every injection ends by itself: the node heals it when its time is over,
// whatever has become of who asked for it, at the end of the agent, and what a
// killed agent left on disk at the next one's start (Clean).
//
// A node does none of this unless its configuration says so.
package chaos
