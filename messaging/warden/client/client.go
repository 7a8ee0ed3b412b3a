package client

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden"
)

// Client is a connection to Warden's socket.
type Client struct {
	network, address string

	mu   sync.Mutex // guards link
	link *link
}

// Dial connects to a unix socket by its path, or to "tcp://host:port" (Warden
// itself listens on a unix socket only; somebody else may forward).
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{network: "unix", address: strings.TrimPrefix(path, "unix://")}
	if address, isTCP := strings.CutPrefix(path, "tcp://"); isTCP {
		c.network, c.address = "tcp", address
	}
	link, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.link = link
	return c, nil
}

func (c *Client) dial(ctx context.Context) (*link, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, c.network, c.address)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err) // net's error has verb and address
	}
	return newLink(conn), nil
}

// Reconnect makes a new connection in the place of the one there is, which it
// closes, gone or not. What still waits for an answer gets a
// *DisconnectedError. If it fails, the old connection is as it was.
func (c *Client) Reconnect(ctx context.Context) error {
	fresh, err := c.dial(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	old := c.link
	c.link = fresh
	c.mu.Unlock()
	old.end(net.ErrClosed)
	return nil
}

// Close closes the connection. What still waits gets a *DisconnectedError.
func (c *Client) Close() error {
	c.current().end(net.ErrClosed)
	return nil
}

// Done is closed when the connection there is now is gone.
func (c *Client) Done() <-chan struct{} { return c.current().ended }

func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Call sends any request but a StreamRequest, and returns its response:
// *protocol.InfoResponse for *protocol.InfoRequest, and so on.
func (c *Client) Call(ctx context.Context, request proto.Message) (proto.Message, error) {
	pending, err := c.Start(ctx, request)
	if err != nil {
		return nil, err
	}
	return pending.Wait(ctx)
}

// Pending is a request that was sent.
type Pending struct{ wait *wait }

// Start sends any request but a StreamRequest, and doesn't wait for the answer:
// several sent so by one goroutine are answered in this order.
func (c *Client) Start(ctx context.Context, request proto.Message) (*Pending, error) {
	kind, err := kindOf(request)
	if err != nil {
		return nil, err
	}
	if kind.request == warden.TypeStream {
		return nil, fmt.Errorf("client: a stream has many answers; use Stream")
	}
	wait, err := c.current().send(ctx, kind, request)
	if err != nil {
		return nil, err
	}
	return &Pending{wait}, nil
}

// Wait returns the answer. After the context's error it may be called again;
// once there was an answer, it may not.
func (p *Pending) Wait(ctx context.Context) (proto.Message, error) { return p.wait.next(ctx) }
