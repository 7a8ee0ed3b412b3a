// Package messaging holds the two closed sets that cross the node's doors:
// Command, everything that may be asked, and Event, everything that is told.
//
//	subject ─▶ bus ─▶ dea.Decode ─▶ Command ─▶ node
//	subject ◀─ bus ◀─ dea.Encode ◀─ Event   ◀─ node
//
// It is pure: no socket, no actor, no clock. Wires live below it
// (messaging/dea), the connection in messaging/bus.
package messaging
