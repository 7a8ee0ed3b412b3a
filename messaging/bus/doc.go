// Package bus is the node's connection to NATS and the only package that
// imports nats.go. It knows bytes and subjects and decides nothing.
//
//	NATS ─▶ one channel ─▶ dea.Decode ─▶ Listen's callback       one after the other, as they came
//	NATS ◀─ sender ◀─ outbox ◀─ dea.Encode ◀─ Publish           never blocks
//	NATS ◀───────────────────── dea.Encode ◀─ PublishLines      blocks until the server has them
//	NATS ⇄ micro service "deacon" (ps, logs-tail; PING, INFO, STATS)
//
// While there is no connection applications run on, and what a node has to
// tell falls into three kinds (outbox.go has the table):
//
//   - what the next one replaces (heartbeats, advertisements) and what nobody
//     waits for any more (answers) is dropped: stale, it would do harm;
//   - what must not be lost (exits, state changes) is kept, a bounded number
//     for each instance, and told once the server is back;
//   - of routes the newest for each instance is kept, register or unregister.
//
// What was handed to the server when the connection broke may be told twice,
// never not at all: nats.go can't say what arrived, so a batch counts as told
// only when the server answered a ping that was sent behind it on the same
// connection. nats.go's own reconnect buffer is off, because it replays
// heartbeats of the time before.
//
// Callbacks: Listen's runs on one goroutine, or on the micro service's, but
// never twice at once. OnReconnect's run on nats.go's callback goroutine, in
// the order in which the connection comes and goes. ExitTold is called by the
// sender, which sends nothing meanwhile. None may block.
package bus
