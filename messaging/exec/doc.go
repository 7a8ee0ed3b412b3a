// Package exec is what is said over NATS of a command that somebody runs in an
// instance's container (docs/adr/0023-a-command-in-a-container-is-a-session.md).
// It is pure: no socket, no clock.
//
//	client ─▶ deacon.v1.<node>.exec             Request, answered by Opened or an error
//	client ─▶ deacon.v1.<node>.exec.<session>   Frames: stdin, end, window, signal, hang up
//	client ◀─ the request's "output"            Frames: stdout, stderr, exit, failed
//
// Both ways the frames are numbered from 1: one that is missing, or comes twice,
// ends the session, for no byte of it may be lost in silence. Neither side sends
// more than a Window of data that the other hasn't said it took; a frame carries
// ChunkMax at most. Who hears nothing for SilenceMax takes the other for gone, so
// there is a frame each AliveEvery, if only one that says nothing.
package exec
