package bus

import (
	"context"
	"sync"
)

// link is whether there is a connection, to be asked and waited for. It has a
// lock of its own: nats.go's is held while a write to the server blocks.
type link struct {
	mu      sync.Mutex
	up      bool
	closed  bool
	changed chan struct{} // closed at the next change
}

func newLink() *link { return &link{changed: make(chan struct{})} }

func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = up
	l.tell()
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.up = true, false
	l.tell()
}

func (l *link) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// wait returns nil once there is a connection.
func (l *link) wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		up, closed, changed := l.up, l.closed, l.changed
		l.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case up:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
