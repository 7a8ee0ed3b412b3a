package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/complaints"
	"github.com/deacon-agent/deacon/messaging/warden"
)

// ErrGone says that nobody waits for what is to be written: the client has
// gone, or its request was answered already.
var ErrGone = errors.New("the client is gone")

// connectionsMax is how many clients there may be at once unless configured
// otherwise. Each takes a file descriptor, two goroutines and some 30 KiB.
const connectionsMax = 8192

var frameEnd = []byte(warden.FrameEnd)

// Config says where the door is and who may come in.
type Config struct {
	Path           string
	Mode           fs.FileMode // of the socket's file; 0: 0755
	Group          string      // that the file gets, a name or a number; empty: the process's own
	ConnectionsMax int         // how many clients there may be at once; 0: 8192
	Log            hclog.Logger
}

// Door is an open socket. All methods may be called from any goroutine.
type Door struct {
	deliver    func(messaging.Command)
	listener   *listener
	clientsMax int
	log        hclog.Logger
	complaints *complaints.Log

	stopping sync.Once
	stop     chan struct{} // closed when no client is accepted any more
	stopped  chan struct{} // closed when the last one was
	last     messaging.Client

	mu      sync.RWMutex
	clients map[messaging.Client]*connection
}

// Open listens on a path. A socket that was left there by a server that is no
// more is replaced; anything else there is an error, and left alone. deliver is
// called as doc.go says, from the first client on, maybe before Open returns:
// who needs the Door to answer has deliver wait until it is there.
func Open(c Config, deliver func(messaging.Command)) (*Door, error) {
	l, err := listen(c)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	d := &Door{
		deliver: deliver, listener: l, clientsMax: c.ConnectionsMax, log: c.Log,
		complaints: complaints.New(c.Log),
		stop:       make(chan struct{}), stopped: make(chan struct{}),
		// A successor begins above whatever this one reaches with less than a
		// million connections a second.
		last:    messaging.Client(time.Now().UnixMicro()),
		clients: map[messaging.Client]*connection{},
	}
	if d.clientsMax == 0 {
		d.clientsMax = connectionsMax
	}
	go d.accept()
	return d, nil
}

const (
	// What lies between two tries to accept after one that failed, most likely
	// for want of file descriptors: from the first to the longest.
	acceptPauseMin, acceptPauseMax = 5 * time.Millisecond, time.Second
)

func (d *Door) accept() {
	defer close(d.stopped)
	pause := acceptPauseMin
	for {
		conn, err := d.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			pause = acceptPauseMin
			d.admit(conn)
			continue
		}
		d.complaints.Say(complaints.Kind{Message: "a client can't be accepted", Reason: err.Error()})
		select {
		case <-time.After(pause):
			pause = min(2*pause, acceptPauseMax)
		case <-d.stop:
			return
		}
	}
}

// admit is called by accept only, so that after its end nobody comes in.
func (d *Door) admit(conn *net.UnixConn) {
	d.mu.Lock()
	if len(d.clients) >= d.clientsMax {
		d.mu.Unlock()
		conn.Close()
		reason := fmt.Sprintf("there are %d already", d.clientsMax)
		d.complaints.Say(complaints.Kind{Message: "a client was turned away", Reason: reason})
		return
	}
	d.last++
	c := newConnection(d, d.last, conn)
	d.clients[c.client] = c
	d.mu.Unlock()
	d.deliver(messaging.ClientConnected{Client: c.client})
	go c.run()
}

func (d *Door) forget(c *connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.clients, c.client)
}

// find is nil for a client that has gone.
func (d *Door) find(client messaging.Client) *connection {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.clients[client]
}

// Answer answers a request. It never blocks; what nobody waits for is dropped.
func (d *Door) Answer(a messaging.Answered) {
	if c := d.find(a.Ask.Client); c != nil {
		c.answer(a)
	}
}

// Chunk writes a part of a job's output to who asked for it, and returns when
// it was written: a client that is slow to read holds up its caller only. It
// fails with ErrGone, or with ctx's error when that ends first; a client that
// had part of the chunk by then loses its connection.
func (d *Door) Chunk(ctx context.Context, ask messaging.Ask, stream string, data []byte) error {
	err := ErrGone
	if c := d.find(ask.Client); c != nil {
		head := warden.AppendChunkHead(nil, stream, len(data))
		err = c.chunk(ctx, ask.Request, net.Buffers{head, data, frameEnd})
	}
	if err != nil {
		return fmt.Errorf("socket: write a chunk to client %d: %w", ask.Client, err)
	}
	return nil
}

// Drain ends the connections as doc.go says, and returns when all have ended.
// When ctx ends first, those that are left stay until Close.
func (d *Door) Drain(ctx context.Context) error {
	d.stopAccepting(func() {})
	clients := d.everybody()
	for _, c := range clients {
		c.drain()
	}
	for i, c := range clients {
		select {
		case <-c.ended:
		case <-ctx.Done():
			return fmt.Errorf("socket: drain: %d clients wait for answers still: %w", len(clients)-i, ctx.Err())
		}
	}
	d.complaints.SumUp()
	return nil
}

// Close ends every connection at once and removes the socket's file; what was
// drained leaves it to the successor. When Close has returned, nothing is
// delivered any more.
func (d *Door) Close() error {
	var err error
	d.stopAccepting(func() { err = d.listener.remove() })
	clients := d.everybody()
	for _, c := range clients {
		c.leave()
	}
	for _, c := range clients {
		<-c.ended
	}
	d.complaints.SumUp()
	if err != nil {
		return fmt.Errorf("socket: close: %w", err)
	}
	return nil
}

// stopAccepting does what comes first just once, and while the socket is still
// listened on: until it isn't, no successor takes the path.
func (d *Door) stopAccepting(first func()) {
	d.stopping.Do(func() {
		first()
		close(d.stop)
		d.listener.Close()
	})
	<-d.stopped
}

func (d *Door) everybody() []*connection {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(d.clients))
}
