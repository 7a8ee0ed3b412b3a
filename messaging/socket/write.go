package socket

import (
	"context"
	"net"
	"time"
)

// flush writes the answers of the door's own. That it can't is no reason to
// end: of a client that left before its pong the reader tells, and what it
// asked behind its ping is delivered as if it had not pinged.
func (c *connection) flush() {
	if len(c.out) == 0 {
		return
	}
	if err := c.write(c.out); err != nil {
		c.door.log.Trace("a client has gone before it was answered", "client", c.client, "error", err)
	}
	if c.out = c.out[:0]; cap(c.out) > 2*outMax {
		c.out = nil // a long echo's
	}
}

// write is the server's. It waits for the client as long as that is there.
func (c *connection) write(frames []byte) error {
	if err := c.lock(context.Background()); err != nil {
		return err
	}
	defer c.unlock()
	return c.writeLocked(context.Background(), net.Buffers{frames})
}

// chunk writes a part of the output that a request asked for.
func (c *connection) chunk(ctx context.Context, request uint64, frame net.Buffers) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	// Asked with the lock held: an answer that comes now is written behind this.
	if !c.awaits(request) {
		return ErrGone
	}
	return c.writeLocked(ctx, frame)
}

func (c *connection) awaits(request uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked != 0 && c.asked == request && !c.answered
}

// lock lets one write at a time. Whoever writes ends when the client has gone.
func (c *connection) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *connection) unlock() { <-c.writing }

// writeLocked writes whole frames. Half a frame would make nonsense of all that
// follows, so that one that isn't ended ends the connection.
func (c *connection) writeLocked(ctx context.Context, frames net.Buffers) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.conn.SetWriteDeadline(longAgo)
		close(interrupted)
	})
	n, err := frames.WriteTo(c.conn)
	if !stop() {
		<-interrupted
		c.conn.SetWriteDeadline(time.Time{})
	}
	if err == nil {
		return nil
	}
	if n > 0 {
		c.conn.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return ErrGone
}
