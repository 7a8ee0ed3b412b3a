package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

const (
	// batchMax is how many messages share one round trip.
	batchMax = 256
	// answerMax is how long a server may take to answer a ping.
	answerMax = 10 * time.Second
	// retryPause lies between two tries on a connection that seems to stand:
	// that it is lost is told a moment after the first write fails.
	retryPause = 50 * time.Millisecond
)

var errOtherConnection = errors.New("the connection was replaced")

// send is the one goroutine that empties the outbox.
func (b *Bus) send() {
	defer close(b.sent)
	for b.sending.Err() == nil {
		batch := b.outbox.take(batchMax)
		if len(batch) == 0 {
			if waiting, closed := b.outbox.rest(); closed && waiting == 0 {
				return
			}
			select {
			case <-b.outbox.wake:
			case <-b.sending.Done():
			}
			continue
		}
		err := b.deliver(b.sending, func() error { return b.publishAll(batch) })
		if err != nil {
			b.log.Debug("messages wait for the connection", "messages", len(batch), "error", err)
			b.outbox.giveBack(batch)
			pause(b.sending, retryPause)
			continue
		}
		b.tellExits(batch)
	}
}

// tellExits says which instances' ends the server has now.
func (b *Bus) tellExits(batch []*parcel) {
	if b.config.ExitTold == nil {
		return
	}
	for _, p := range batch {
		if p.exited != "" {
			b.config.ExitTold(p.exited)
		}
	}
}

func (b *Bus) publishAll(batch []*parcel) error {
	for _, p := range batch {
		if err := b.publish(p.subject, p.reply, p.body); err != nil {
			return err
		}
	}
	return nil
}

// publish hands one message to nats.go. One that no server would take is
// reported and left out, for no second try would help it.
func (b *Bus) publish(subject, reply string, body []byte) error {
	err := b.conn.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: body})
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) {
		b.complain("a message was left out", subject, fmt.Sprintf("%v (it has %d bytes)", err, len(body)))
		return nil
	}
	if err == nil {
		b.counters.told.Add(1)
	}
	return err
}

// deliver returns nil when the server has everything that publish published.
// The ping behind it proves that only on the same connection: one that was
// made in between would answer too.
func (b *Bus) deliver(ctx context.Context, publish func() error) error {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	before := b.conn.Stats().Reconnects
	if err := publish(); err != nil {
		return err
	}
	if err := b.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	if b.conn.Stats().Reconnects != before {
		return errOtherConnection
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// PublishLine is PublishLines for one.
func (b *Bus) PublishLine(ctx context.Context, line messaging.LogLine) error {
	return b.PublishLines(ctx, []messaging.LogLine{line})
}

// PublishLines returns nil when the server has all the lines, so that whoever
// follows an application may go on behind them. While there is no connection
// it waits until there is one or ctx ends; an error means that they must be
// published again. Lines may then come twice, never not at all.
func (b *Bus) PublishLines(ctx context.Context, lines []messaging.LogLine) error {
	for {
		err := b.link.wait(ctx)
		if err == nil {
			err = b.deliver(ctx, func() error { return b.publishLines(lines) })
		}
		switch unsayable, ok := errors.AsType[*unsayableError](err); {
		case err == nil:
			return nil
		case ok:
			return unsayable
		case ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, nats.ErrConnectionClosed) && b.conn.IsClosed():
			return fmt.Errorf("bus: publish %d lines: %w", len(lines), err)
		}
		pause(ctx, retryPause)
	}
}

// unsayableError is a line that has no place on the wire, whoever tries.
type unsayableError struct{ err error }

func (e *unsayableError) Error() string { return e.err.Error() }
func (e *unsayableError) Unwrap() error { return e.err }

func (b *Bus) publishLines(lines []messaging.LogLine) error {
	for _, line := range lines {
		subject, body, err := dea.Encode(line)
		if err != nil {
			return &unsayableError{err}
		}
		if err := b.publish(subject, "", body); err != nil {
			return err
		}
	}
	return nil
}
