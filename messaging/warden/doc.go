// Package warden is Warden's wire: frames with protobuf on one side, the closed
// sets of package messaging on the other. It is pure: no socket, no clock.
//
//	bytes ─▶ Reader.Next ─▶ Message ─▶ Decode ─▶ Command     a node hears
//	                                ─▶ Local  ─▶ bytes       ping and echo need no node
//	bytes ◀─ Encode                           ◀─ Answer      a node tells
//	bytes ◀─ Chunk                            ◀─ a job's output
//	bytes ◀─ Frame                            ◀─ a request   a client asks
//	bytes ─▶ Reader.Next ─▶ Message ─▶ Parse  ─▶ a response  and hears
//
// A frame is, both ways, the length of what follows in decimal digits, CRLF, a
// Message of package protocol, CRLF. A response has the type of its request,
// or TypeError; only a stream has more than one. Nothing names the request
// that is answered: on one connection answers come in the order of requests.
//
// What comes in is strict: the frame's form, required fields and the names of
// modes are checked, unknown fields are not looked at. What breaks a rule is an
// *InvalidError, and the connection that it came on is of no more use: it may
// have lost its place between frames, and there is no answer to what couldn't
// be read. Strings are any bytes, on the way in and out (wire/warden.md a).
package warden
