package bus

import "sync/atomic"

// Stats is how the connection stands, and what became of messages.
type Stats struct {
	Connected   bool
	Connections uint64 // that were made so far; all but the first are reconnects
	Heard, Told uint64 // messages that came and were understood or not, and that were handed to the server
	// Waiting is how many messages the outbox holds, Unheard how many commands
	// came that nobody has looked at yet.
	Waiting, Unheard int
	// Lost are messages that should have outlasted a connection's loss and were
	// thrown out because too many waited.
	Lost uint64
}

// counters are our own: nats.go's are behind a lock that is held while a write to
// the server blocks.
type counters struct{ connections, heard, told atomic.Uint64 }

// Stats asks nobody, and doesn't block on the server.
func (b *Bus) Stats() Stats {
	s := Stats{
		Connected: b.Connected(), Connections: b.counters.connections.Load(),
		Heard: b.counters.heard.Load(), Told: b.counters.told.Load(),
	}
	s.Waiting, s.Lost = b.outbox.standing()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inbound != nil {
		s.Unheard = len(b.inbound.messages)
	}
	return s
}

func (o *outbox) standing() (waiting int, lost uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count, uint64(o.lost)
}
