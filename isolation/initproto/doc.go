// Package initproto is what the agent and a container's PID 1 say to one
// another. Both sides import it; deacon-init has to stay tiny, so it needs
// nothing but the standard library's errors and time.
//
// One message is one datagram of a SOCK_SEQPACKET socket:
//
//	u16 kind, then fields: u16 number, u32 length, bytes
//
// little-endian throughout. A field that a side doesn't know is skipped, so an
// old PID 1 works with a new agent and the other way round; a number is never
// used again for something else. Descriptors travel as SCM_RIGHTS in the order
// that the message's comment gives.
//
//	gate (socketpair)        agent ── Setup ─▶ PID 1 ── SetupDone | Failed ─▶ agent
//	init.sock (any number)   PID 1 ── Hello ─▶ agent
//	                         agent ── Spawn ─▶ PID 1 ── Spawned | Failed ─▶ agent
//	                         agent ── Stop  ─▶ PID 1 ── Stopped ─▶ agent
//	                         agent ── Signal | HangUp ─▶ PID 1     of a session
//	                         PID 1 ── Exited ─▶ every agent
//
// A greeting tells of the jobs that run and of the last that ended. How others
// ended is in their exit records, which PID 1 writes before it says Exited.
package initproto
