package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/complaints"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// ErrClosed says that the bus was closed.
var ErrClosed = errors.New("the bus is closed")

// ErrUnsent says that there was nobody to take what was still to be told.
var ErrUnsent = errors.New("messages were not sent")

// Bus is a node's connection. All methods may be called from any goroutine.
type Bus struct {
	config     Config
	log        hclog.Logger
	complaints *complaints.Log
	outbox     *outbox
	link       *link
	counters   counters
	conn       *nats.Conn
	routers    string        // where routers answer that were greeted
	gone       chan struct{} // closed when the connection is
	payloadMax atomic.Int64  // what the server takes

	sending context.Context // ends when Close waits no longer
	abandon context.CancelFunc
	sent    chan struct{} // closed when the sender has ended

	handing sync.Mutex // serialises the callback of Listen
	mu      sync.Mutex
	back    []func() // OnReconnect's
	inbound *inbound
	service micro.Service
	closing bool
}

// Open connects. Where no server answers yet it returns a Bus that goes on
// trying for ever, for a node runs its applications with or without NATS; an
// error means that the configuration can't lead to a connection.
func Open(ctx context.Context, c Config) (*Bus, error) {
	if err := dea.CheckNodeID(c.NodeID); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := c.checkServers(); err != nil {
		return nil, err
	}
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	b := &Bus{
		config: c, log: c.Log, complaints: complaints.New(c.Log), outbox: newOutbox(),
		link: newLink(), gone: make(chan struct{}), sent: make(chan struct{}),
	}
	b.payloadMax.Store(dea.MessageMax)
	b.sending, b.abandon = context.WithCancel(context.Background())
	if err := b.connect(ctx, options); err != nil {
		b.abandon()
		return nil, fmt.Errorf("bus: connect to %s: %w", c.redactedServers(), err)
	}
	go b.send()
	return b, nil
}

func (b *Bus) connect(ctx context.Context, options []nats.Option) error {
	first := make(chan struct{}) // closed when the first connection was noted
	var once sync.Once
	up := func(conn *nats.Conn) {
		b.cameUp(conn)
		once.Do(func() { close(first) })
	}
	conn, err := b.config.connect(ctx, append(options,
		nats.RetryOnFailedConnect(true),
		// Permissions can let a node have its own answers and nobody else's.
		nats.CustomInboxPrefix("_INBOX_"+b.config.NodeID),
		nats.ConnectHandler(up),
		nats.ReconnectHandler(up),
		nats.DisconnectErrHandler(b.wentDown),
		nats.ReconnectErrHandler(b.stillDown),
		nats.ErrorHandler(b.failed),
		nats.LameDuckModeHandler(func(*nats.Conn) { b.log.Info("the NATS server is about to leave") }),
		nats.ClosedHandler(func(*nats.Conn) { close(b.gone) }),
	))
	if err != nil {
		return err
	}
	b.conn, b.routers = conn, conn.NewInbox()
	if conn.Status() == nats.CONNECTED {
		<-first // else stillDown tells why not
	}
	return nil
}

// cameUp runs on nats.go's callback goroutine, like all that follow.
func (b *Bus) cameUp(conn *nats.Conn) {
	b.payloadMax.Store(conn.MaxPayload())
	b.log.Info("connected to NATS", "server", conn.ConnectedUrlRedacted(), "name", conn.ConnectedServerName())
	b.counters.connections.Add(1)
	b.outbox.setUp(true)
	b.link.set(true)
	b.mu.Lock()
	back := b.back
	b.mu.Unlock()
	for _, tell := range back {
		tell()
	}
}

func (b *Bus) wentDown(conn *nats.Conn, err error) {
	b.outbox.setUp(false)
	b.link.set(false)
	if !conn.IsClosed() {
		b.log.Warn("the connection to NATS is lost; trying on", "error", err)
	}
}

func (b *Bus) stillDown(_ *nats.Conn, err error) {
	b.complaints.Say(complaints.Kind{Message: "no NATS server takes us; trying on", Reason: err.Error()},
		"servers", b.config.redactedServers())
}

// failed is told what no call can return: refused permissions and logins, and
// messages that were lost because they came faster than they were taken.
func (b *Bus) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.complain("messages were lost, they came too fast", subject, err.Error())
		return
	}
	b.complain("NATS reports an error", subject, err.Error())
}

// OnReconnect adds a callback for every connection that is made from now on,
// the first one included if Open returned without. Whatever was kept is being
// sent when it is called.
func (b *Bus) OnReconnect(tell func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.back = append(b.back[:len(b.back):len(b.back)], tell)
}

// Connected says whether there is a connection.
func (b *Bus) Connected() bool { return b.link.isUp() }

// Close stops listening, sends what waits, and ends the connection. When ctx
// ends first, or there is no connection, what still waits is given up on and
// the error says how much that was. When Close has returned, no callback runs.
func (b *Bus) Close(ctx context.Context) error {
	b.mu.Lock()
	again := b.closing
	b.closing = true
	b.mu.Unlock()
	if again {
		return fmt.Errorf("bus: close: %w", ErrClosed)
	}
	b.StopListening()
	b.outbox.close()
	unsent := b.drainOutbox(ctx)
	err := b.drainConnection(ctx)
	b.link.close()
	b.complaints.SumUp()
	if unsent > 0 {
		err = errors.Join(fmt.Errorf("%d %w", unsent, ErrUnsent), err)
	}
	if err != nil {
		return fmt.Errorf("bus: close: %w", err)
	}
	return nil
}

// drainOutbox waits for the sender and returns how many parcels it left.
func (b *Bus) drainOutbox(ctx context.Context) int {
	stop := context.AfterFunc(ctx, b.abandon)
	defer stop()
	if !b.Connected() {
		b.abandon() // nobody knows when the server is back
	}
	<-b.sent
	b.abandon()
	waiting, _ := b.outbox.rest()
	return waiting
}

func (b *Bus) drainConnection(ctx context.Context) error {
	if err := b.conn.Drain(); err != nil {
		b.conn.Close()
	}
	select {
	case <-b.gone:
		return nil
	case <-ctx.Done():
		b.conn.Close()
		<-b.gone
		return ctx.Err()
	}
}

// Publish tells an event. It never blocks; doc.go says what happens while
// there is no connection.
func (b *Bus) Publish(event messaging.Event) {
	subject, body, err := dea.Encode(event)
	if err != nil {
		b.complain("an event can't be told", fmt.Sprintf("%T", event), err.Error())
		return
	}
	if int64(len(body)) > b.payloadMax.Load() {
		if first, second, ok := halves(event); ok {
			b.Publish(first)
			b.Publish(second)
			return
		}
	}
	p := &parcel{rule: ruleFor(event), subject: subject, body: body}
	switch e := event.(type) {
	case messaging.InstanceExited:
		if e.Reason == messaging.Crash { // nobody waits to hear that others were told
			p.exited = e.Instance
		}
	case messaging.RoutersGreeted:
		p.reply = b.routers
	default: // is not answered
	}
	if !b.outbox.put(p) {
		b.complain("events were lost, too many wait for the connection", subject, "")
	}
}

// halves cuts an answer that is too long for one message.
func halves(event messaging.Event) (first, second messaging.Event, ok bool) {
	switch e := event.(type) {
	case messaging.InstancesListed:
		n := len(e.Instances) / 2
		a, b := e, e
		a.Instances, b.Instances = e.Instances[:n], e.Instances[n:]
		return a, b, n > 0
	case messaging.ActorsListed:
		n := len(e.Actors) / 2
		a, b := e, e
		a.Actors, b.Actors = e.Actors[:n], e.Actors[n:]
		return a, b, n > 0
	case messaging.UsageDescribed:
		n := len(e.Instances) / 2
		a, b := e, e
		a.Instances, b.Instances = e.Instances[:n], e.Instances[n:]
		return a, b, n > 0
	case messaging.LogsTailed:
		n := len(e.Lines) / 2
		a, b := e, e
		a.Lines, b.Lines = e.Lines[:n], e.Lines[n:]
		return a, b, n > 0
	default: // has no list that answers a question
		return nil, nil, false
	}
}

func (b *Bus) complain(message, subject, reason string) {
	b.complaints.Say(complaints.Kind{Message: message, Subject: subject, Reason: reason})
}
