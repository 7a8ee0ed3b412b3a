package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	// quiet ends a question: how long after an answer no other has come.
	quiet = 250 * time.Millisecond
	// firstAnswerMax is how long a question waits for its first answer; a cloud
	// controller waits as long.
	firstAnswerMax = 2 * time.Second
	// clientMax bounds calls whose context doesn't.
	clientMax = 5 * time.Second
	// answersMax bounds the answers to one question.
	answersMax = 4096
)

// Client is the command line's side of the wire: it speaks as any controller
// would, and knows no more of a node than its subjects.
type Client struct {
	conn *nats.Conn
	by   string // who asks, as it says itself
}

// Dial connects, or says why it can't; it tries no second time. A connection
// that breaks later is made again.
func Dial(ctx context.Context, c Config) (*Client, error) {
	if err := c.checkServers(); err != nil {
		return nil, err
	}
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	if c.InboxPrefix != "" {
		options = append(options, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	conn, err := c.connect(ctx, append(options,
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.Log.Warn("the connection to NATS is lost; trying on", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.Log.Warn("NATS reports an error", "error", err)
		}),
	))
	if err != nil {
		return nil, fmt.Errorf("bus: connect to %s: %w", c.redactedServers(), err)
	}
	return &Client{conn: conn, by: c.By}, nil
}

// Close ends the connection at once.
func (c *Client) Close() { c.conn.Close() }

// Publish returns when the server has the message.
func (c *Client) Publish(ctx context.Context, subject string, body []byte) error {
	message := &nats.Msg{Subject: subject, Data: body}
	if c.by != "" {
		message.Header = nats.Header{AskerHeader: {c.by}}
	}
	if err := c.conn.PublishMsg(message); err != nil {
		return fmt.Errorf("bus: publish %s: %w", subject, err)
	}
	return c.flush(ctx, "publish "+subject)
}

// Subscribe hands every message to take until the client is closed, one after
// the other for each subscription. When it has returned, the server knows of
// it: what is published from then on comes.
func (c *Client) Subscribe(subject string, take func(subject string, body []byte)) error {
	_, err := c.conn.Subscribe(subject, func(m *nats.Msg) { take(m.Subject, m.Data) })
	if err != nil {
		return fmt.Errorf("bus: subscribe to %s: %w", subject, err)
	}
	return c.flush(context.Background(), "subscribe to "+subject)
}

func (c *Client) flush(ctx context.Context, doing string) error {
	ctx, cancel := context.WithTimeout(ctx, clientMax)
	defer cancel()
	if err := c.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("bus: %s: %w", doing, err)
	}
	return nil
}

// RequestMany asks every node and returns the answers of those that gave one.
// It is over when quiet has passed since the last answer, when the first takes
// longer than firstAnswerMax, when ctx ends, or when nobody listens at all;
// silence is no error. A node's refusal is, where there is no answer beside it.
func (c *Client) RequestMany(ctx context.Context, subject string, body []byte) ([][]byte, error) {
	inbox := c.conn.NewInbox()
	answers := make(chan *nats.Msg, answersMax)
	sub, err := c.conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, fmt.Errorf("bus: ask %s: %w", subject, err)
	}
	defer sub.Unsubscribe() // fails only where the connection is closed
	if err := c.conn.PublishRequest(subject, inbox, body); err != nil {
		return nil, fmt.Errorf("bus: ask %s: %w", subject, err)
	}
	bodies, err := collect(ctx, answers)
	if err != nil && len(bodies) == 0 {
		return nil, fmt.Errorf("bus: ask %s: %w", subject, err)
	}
	return bodies, nil
}

func collect(ctx context.Context, answers <-chan *nats.Msg) (bodies [][]byte, err error) {
	timer := time.NewTimer(firstAnswerMax)
	defer timer.Stop()
	for len(bodies) < answersMax {
		select {
		case m := <-answers:
			if nobody(m) {
				return bodies, err
			}
			if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
				err = errors.Join(err, fmt.Errorf("a node refused: %s %s", code, m.Header.Get(micro.ErrorHeader)))
			} else {
				bodies = append(bodies, m.Data)
			}
			timer.Reset(quiet)
		case <-timer.C:
			return bodies, err
		case <-ctx.Done():
			return bodies, errors.Join(err, context.Cause(ctx))
		}
	}
	return bodies, err
}

// nobody says whether it is the server that answers: there is no subscriber.
func nobody(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

// Ask puts a question to the one node that answers on subject. A *RefusedError
// is its no; ErrNobody says that nobody listens there.
func (c *Client) Ask(ctx context.Context, subject string, body []byte) ([]byte, error) {
	question := &nats.Msg{Subject: subject, Data: body}
	if c.by != "" {
		question.Header = nats.Header{AskerHeader: {c.by}}
	}
	m, err := c.conn.RequestMsgWithContext(ctx, question)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("bus: ask %s: %w", subject, err)
	}
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		return nil, &RefusedError{code, m.Header.Get(micro.ErrorHeader)}
	}
	return m.Data, nil
}
