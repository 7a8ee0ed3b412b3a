package network

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	mdlayher "github.com/mdlayher/netlink"
)

// transactions is a socket to nftables on which one transaction is made after
// another. It is opened when it is needed and thrown away after an error: what
// the library had queued by then, or the kernel answered and nobody read,
// would be taken for part of the next one.
type transactions struct {
	mu   sync.Mutex
	conn *nftables.Conn
}

// buffers is room for the largest transaction and the answers to each of its
// messages: Restore of some thousand containers.
const buffers = 32 << 20

// run makes one transaction of what fill queues.
func (t *transactions) run(fill func(*nftables.Conn) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.open(); err != nil {
		return err
	}
	err := fill(t.conn)
	if err == nil {
		err = t.conn.Flush()
	}
	if err != nil {
		return errors.Join(err, t.discard())
	}
	return nil
}

func (t *transactions) open() error {
	if t.conn != nil {
		return nil
	}
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(
		func(c *mdlayher.Conn) error { return c.SetReadBuffer(buffers) },
		func(c *mdlayher.Conn) error { return c.SetWriteBuffer(buffers) },
	))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t.conn = conn
	return nil
}

func (t *transactions) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.discard()
}

func (t *transactions) discard() error {
	if t.conn == nil {
		return nil
	}
	err := t.conn.CloseLasting()
	t.conn = nil
	return err
}
