// Package client is a client of Warden's socket, deacon's or the original's,
// for programs in Go.
//
//	c, err := client.Dial(ctx, "/tmp/warden.sock") // or "tcp://host:port"
//	handle, err := c.Create(ctx, &protocol.CreateRequest{})
//	job, err := c.Spawn(ctx, &protocol.SpawnRequest{Handle: &handle, Script: proto.String("ls")})
//	result, err := c.Link(ctx, handle, job)
//
// There is a method for each request (calls.go), and Call for requests that
// are chosen at run time. Requests and most answers are the wire's own messages
// (package protocol), because presence counts there: an exit status of 0 and
// none at all differ. V1 understands the first version's text commands.
//
// # One connection
//
// A Client is one connection, and may be used by several goroutines at once.
// Requests go out as they come, without waiting for the answers of others, and
// the server answers them one after the other, in that order: a Link, Run or
// Stream holds up what is asked after it. Who wants more at once dials more.
//
// A call whose context ends returns at once, but it can't be taken back: its
// answer will come, is dropped then, and holds up what is asked after it until
// it does. Reconnect is free of that.
//
// Connections matter to the server: once the last of those that made a
// container, named it, or were opened while it existed is closed, its grace
// time runs, and then it is destroyed (wire/warden.md b).
//
// # Errors
//
//   - *ServerError: the server says no. Its text is what clients of Warden have
//     always matched, such as "unknown handle".
//   - *DisconnectedError: the connection is gone, and every call fails so until
//     Reconnect. It tells whether the server may have acted on the request; it
//     is io.EOF if the server closed the connection between two answers.
//   - the context's own error.
//   - anything else: the request is incomplete, or what came was no answer to
//     it; after the latter the connection is gone as well.
package client
