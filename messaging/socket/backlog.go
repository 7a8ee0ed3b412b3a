package socket

import (
	"sync"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
)

const (
	// What may wait on one connection before no more of it is read. The last
	// request may go beyond the bytes, or a long one would never come in.
	backlogMax, backlogBytesMax = 256, 1 << 20

	// Reading goes on when half of that was taken, or each request that is
	// taken from a full backlog would cost a pause.
	backlogLow, backlogBytesLow = backlogMax / 2, backlogBytesMax / 2
)

// request is one that was read. It is one of three things.
type request struct {
	kind  warden.Type
	bytes int // that it holds

	number  uint64            // of those on its connection
	command messaging.Command // for the node; nil: one of the other two
	frame   []byte            // the answer, of one that the door answers itself
	invalid error             // the reason why the connection ends here
}

// backlog holds the requests of one connection that were read and not begun,
// in their order. It knows no connection.
type backlog struct {
	wake   chan struct{} // there may be something to take
	resume func()        // called once for each put that returned true, when there is room

	mu     sync.Mutex
	queue  []request
	bytes  int
	paused bool
}

func newBacklog(resume func()) *backlog {
	return &backlog{wake: make(chan struct{}, 1), resume: resume}
}

// put adds a request. full: nothing more is to be put until resume was called.
func (b *backlog) put(r request) (full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = append(b.queue, r)
	b.bytes += r.bytes
	b.paused = len(b.queue) >= backlogMax || b.bytes >= backlogBytesMax
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return b.paused
}

// take removes the oldest request, if there is one.
func (b *backlog) take() (request, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return request{}, false
	}
	r := b.queue[0]
	b.queue[0] = request{} // lets go of what it holds
	b.queue = b.queue[1:]
	b.bytes -= r.bytes
	if b.paused && len(b.queue) <= backlogLow && b.bytes <= backlogBytesLow {
		b.paused = false
		b.resume()
	}
	return r, true
}
