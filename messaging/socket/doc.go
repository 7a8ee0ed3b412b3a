// Package socket is Warden's door: a unix socket that speaks Warden's wire. It
// knows bytes, connections and order, and decides nothing.
//
//	         ┌─ connection, one for each client ──────────────────────────┐
//	         │ reader ─▶ Decode ─▶ backlog ─▶ server ─▶ deliver ──────────┼─▶ Command ─▶ node
//	client ⇄ │           Local                   │                        │
//	         │ bytes ◀───────────────────────────┴──── Encode ◀─ Answer ◀─┼── Answered ◀─ node
//	         │ bytes ◀──────────────────────────────── Chunk ◀────────────┼── a job's output
//	         └────────────────────────────────────────────────────────────┘
//
// The reader reads ahead, up to backlogMax requests or backlogBytesMax, so that
// a client that leaves is noticed while its request is under way; past that it
// only watches for the client's leaving. The server takes one request after the
// other: the next is delivered when the answer to the former was written. Ping
// and echo it answers itself, in their turn. No client waits for another one.
//
//	connection    accepted ─▶ ClientConnected ─▶ requests … ─▶ ClientGone
//
// deliver is told of one client in that order and never twice at once; of
// several clients from several goroutines. It must not block. AnswerSent follows
// the answer to a link, a run or a stream, once that was written. ClientGone comes
// once, after the last request, and says that nobody waits for an answer any
// more. What was queued behind the request under way is dropped then; one that
// was sent to an idle connection is always delivered, however soon the client
// leaves.
//
// A client that breaks the wire's rules loses its connection, in its turn, and
// nobody else anything.
//
// Drain (wire/warden.md g) takes no new client, ends at once whoever is idle or
// waits in link, run or stream, and the others once the request under way is
// answered. The socket's file stays behind for the successor to replace. Close
// ends everybody, and removes the file. Reset ends everybody and goes on.
package socket
