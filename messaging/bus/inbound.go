package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// pendingMax is how many messages may wait to be decoded, whatever their
// subject. Past it NATS drops, and failed says so.
const pendingMax = 8192

// inbound is everything that was subscribed to. All subscriptions share one
// channel: with one each, nats.go would run them on a goroutine each, and a
// stop could overtake the start that was sent before it.
type inbound struct {
	subs     []*nats.Subscription
	messages chan *nats.Msg
	stop     chan struct{}
	stopped  chan struct{}
}

// Subscribe has every command from now on wait for Listen. A node subscribes
// before it greets: whoever answers the greeting is heard, however long it still
// takes to be ready. Past pendingMax messages are lost, and failed says so.
func (b *Bus) Subscribe() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscribe()
}

func (b *Bus) subscribe() error {
	if b.closing {
		return fmt.Errorf("bus: subscribe: %w", ErrClosed)
	}
	if b.inbound != nil {
		return errors.New("bus: subscribe: somebody has already")
	}
	in := &inbound{
		messages: make(chan *nats.Msg, pendingMax),
		stop:     make(chan struct{}), stopped: make(chan struct{}),
	}
	subjects := []string{
		dea.StartSubject(b.config.NodeID), dea.SubjectStop, dea.SubjectUpdate, dea.SubjectFind,
		dea.SubjectLocate, dea.SubjectDiscover, dea.SubjectStatus, dea.SubjectDropletStatus,
		dea.SubjectComponents, dea.SubjectRouterStart, dea.SubjectHealthManagerStart, b.routers,
	}
	for _, subject := range subjects {
		sub, err := b.conn.ChanSubscribe(subject, in.messages)
		if err != nil {
			in.unsubscribe()
			return fmt.Errorf("bus: subscribe to %s: %w", subject, err)
		}
		in.subs = append(in.subs, sub)
	}
	b.inbound = in
	return nil
}

// Listen hands each command to take, one after the other, beginning with those
// that came since Subscribe; where nobody subscribed, it does. A message that is
// malformed changes nothing and is logged with the reason. How much work a node
// takes on is not known here; take must not block, or messages are lost once
// pendingMax wait.
func (b *Bus) Listen(take func(messaging.Command)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.service != nil {
		return errors.New("bus: listen: somebody listens already")
	}
	if b.inbound == nil {
		if err := b.subscribe(); err != nil {
			return err
		}
	}
	service, err := b.serve(take)
	if err != nil {
		return err
	}
	b.service = service
	go b.hear(b.inbound, take)
	return nil
}

func (in *inbound) unsubscribe() {
	for _, sub := range in.subs {
		sub.Unsubscribe() // fails only where the connection is closed
	}
}

// StopListening ends Listen and Subscribe. When it has returned, take is not
// called any more.
func (b *Bus) StopListening() {
	b.mu.Lock()
	in, service := b.inbound, b.service
	b.inbound, b.service = nil, nil
	b.mu.Unlock()
	if in == nil {
		return
	}
	in.unsubscribe()
	if service == nil {
		return // nobody has listened yet
	}
	if err := service.Stop(); err != nil {
		b.log.Debug("stop the micro service", "error", err)
	}
	close(in.stop)
	<-in.stopped
	b.handing.Lock() // the service's last request, if one is under way
	defer b.handing.Unlock()
}

func (b *Bus) hear(in *inbound, take func(messaging.Command)) {
	defer close(in.stopped)
	for {
		select {
		case m := <-in.messages:
			b.counters.heard.Add(1)
			subject := m.Subject
			if subject == b.routers { // a router that was greeted says what one says that has come up
				subject = dea.SubjectRouterStart
			}
			if cmd, err := understand(subject, m.Reply, m.Data); err != nil {
				b.malformed(err)
			} else {
				b.hand(from(cmd, subject, m.Reply, m.Header), take)
			}
		case <-in.stop:
			return
		}
	}
}

func (b *Bus) hand(cmd messaging.Command, take func(messaging.Command)) {
	b.handing.Lock()
	defer b.handing.Unlock()
	take(cmd)
}

func (b *Bus) malformed(err error) {
	if invalid, ok := errors.AsType[*dea.InvalidError](err); ok {
		b.complain("malformed message ignored", invalid.Subject, invalid.Reason)
	}
}

// understand decodes a message and adds where its answer goes.
func understand(subject, reply string, body []byte) (messaging.Command, error) {
	cmd, err := dea.Decode(subject, body)
	if err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case messaging.DiscoverNodes:
		c.ReplyTo = reply
		cmd = c
	case messaging.DescribeInstances:
		c.ReplyTo = reply
		cmd = c
	case messaging.DescribeNodes:
		c.ReplyTo = reply
		cmd = c
	case messaging.FindInstances:
		c.ReplyTo = reply
		cmd = c
	case messaging.EvacuateNode:
		c.ReplyTo = reply
		cmd = c
	case messaging.DiscoverComponents:
		c.ReplyTo = reply
		cmd = c
	case messaging.ListActors:
		c.ReplyTo = reply
		cmd = c
	case messaging.DescribeUsage:
		c.ReplyTo = reply
		cmd = c
	case messaging.ListInstances:
		c.ReplyTo = reply
		cmd = c
	case messaging.TailLogs:
		c.ReplyTo = reply
		cmd = c
	default: // nobody is answered
		return cmd, nil
	}
	return cmd, checkReply(subject, reply)
}

func checkReply(subject, reply string) error {
	switch {
	case reply == "":
		return &dea.InvalidError{Subject: subject, Reason: "reply subject: missing"}
	case !dea.Replyable(reply):
		return &dea.InvalidError{Subject: subject, Reason: fmt.Sprintf("reply subject: %.64q must not be answered to", reply)}
	}
	return nil
}

const (
	serviceName        = "deacon"
	serviceDescription = "runs applications on this node"
	serviceVersion     = "1.0.0" // of deacon.v1; the node's own stands beside its id

	// What may wait at one endpoint; nats.go's own limits would let 64 MiB pile up.
	endpointMessagesMax, endpointBytesMax = 1024, 8 << 20
)

// serve offers what deacon's own clients ask, in a way that `nats micro` shows.
// There is no queue group: a question is for every node.
func (b *Bus) serve(take func(messaging.Command)) (micro.Service, error) {
	service, err := micro.AddService(b.conn, micro.Config{
		Name: serviceName, Version: serviceVersion, Description: serviceDescription,
		Metadata:           map[string]string{"node": b.config.NodeID, "version": b.config.Version},
		QueueGroupDisabled: true,
	})
	if err != nil {
		return nil, fmt.Errorf("bus: offer the service: %w", err)
	}
	answer := micro.HandlerFunc(func(r micro.Request) {
		b.counters.heard.Add(1)
		cmd, err := understand(r.Subject(), r.Reply(), r.Data())
		if err == nil {
			b.hand(from(cmd, r.Subject(), r.Reply(), nats.Header(r.Headers())), take)
			return
		}
		b.malformed(err)
		if dea.Replyable(r.Reply()) {
			r.Error("400", err.Error(), nil) // fails only where the asker is gone
		}
	})
	for name, subject := range map[string]string{
		"ps": dea.SubjectPS, "actors": dea.SubjectActors, "usage": dea.SubjectUsage, "logs-tail": dea.SubjectLogsTail,
		"evacuate": dea.EvacuateSubject(b.config.NodeID),
	} {
		err := service.AddEndpoint(name, answer, micro.WithEndpointSubject(subject),
			micro.WithEndpointPendingLimits(endpointMessagesMax, endpointBytesMax))
		if err != nil {
			service.Stop()
			return nil, fmt.Errorf("bus: offer %s: %w", subject, err)
		}
	}
	return service, nil
}
