package client

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// chunksAhead is how many chunks of a stream may wait to be taken. After that
// nothing more is read, so that the server and then the job are held up.
const chunksAhead = 8

// link is one connection: requests go out by whoever asks, and one goroutine
// hands the answers to those who wait, in the order of the requests.
type link struct {
	conn    net.Conn
	writing chan struct{} // holds one token; who has it may write

	mu      sync.Mutex
	waiting []*wait // oldest first
	cause   error   // why it ended

	ended chan struct{}
}

// wait is one request's wait for its answer, or answers.
type wait struct {
	link    *link
	kind    kind
	answers chan proto.Message // *protocol.ErrorResponse, or of the kind's type
	left    chan struct{}      // closed when nobody will take them
}

func newLink(conn net.Conn) *link {
	l := &link{conn: conn, writing: make(chan struct{}, 1), ended: make(chan struct{})}
	l.writing <- struct{}{}
	go l.read()
	return l
}

// end closes the connection; the first cause counts.
func (l *link) end(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return
	}
	l.cause = cause
	close(l.ended)
	l.conn.Close()
}

func (l *link) gone(sent bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &DisconnectedError{Sent: sent, Err: l.cause}
}

// send writes a request, and queues for its answer.
func (l *link) send(ctx context.Context, k kind, request proto.Message) (*wait, error) {
	frame, err := warden.Frame(k.request, request)
	if err != nil {
		return nil, err
	}
	select {
	case <-l.writing:
		defer func() { l.writing <- struct{}{} }()
	case <-l.ended:
		return nil, l.gone(false)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w := &wait{link: l, kind: k, answers: make(chan proto.Message, 1), left: make(chan struct{})}
	if k.request == warden.TypeStream {
		w.answers = make(chan proto.Message, chunksAhead)
	}
	if !l.enqueue(w) { // before the write: the answer may be faster than its return
		return nil, l.gone(false)
	}
	return w, l.write(ctx, frame)
}

func (l *link) enqueue(w *wait) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return false
	}
	l.waiting = append(l.waiting, w)
	return true
}

// write writes a frame whole. Where it can't, the connection has lost its place
// between frames and is closed; the server drops what it has of the frame.
func (l *link) write(ctx context.Context, frame []byte) error {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.conn.SetWriteDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	n, err := l.conn.Write(frame)
	if !stop() {
		<-interrupted
		l.conn.SetWriteDeadline(time.Time{}) // where the end came too late to matter
	}
	if err == nil {
		return nil
	}
	l.end(fmt.Errorf("client: write a request, %d of %d bytes: %w", n, len(frame), err))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.gone(false)
}

// read hands out answers until the connection ends.
func (l *link) read() {
	frames := warden.NewReader(l.conn)
	for {
		m, err := frames.Next()
		if err != nil {
			l.end(err)
			return
		}
		if err := l.deliver(m); err != nil {
			l.end(err)
			return
		}
	}
}

// deliver gives an answer to the one who has waited longest.
func (l *link) deliver(m warden.Message) error {
	l.mu.Lock()
	if len(l.waiting) == 0 {
		l.mu.Unlock()
		return fmt.Errorf("client: the server sent %v and wasn't asked", m.Type)
	}
	w := l.waiting[0]
	l.mu.Unlock()
	answer, err := w.parse(m)
	if err != nil {
		return err
	}
	if isLast(answer) { // before it is handed over, so that who has it finds the queue without it
		l.mu.Lock()
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
	}
	select {
	case <-w.left: // alone first: a full channel and a gone reader must not be a draw
		return nil
	default:
	}
	select {
	case w.answers <- answer:
	case <-w.left:
	case <-l.ended: // by Close, while a stream isn't taken
	}
	return nil
}

func (w *wait) parse(m warden.Message) (proto.Message, error) {
	var answer proto.Message
	switch m.Type {
	case warden.TypeError:
		answer = &protocol.ErrorResponse{}
	case w.kind.request:
		answer = w.kind.response.New().Interface()
	default:
		return nil, fmt.Errorf("client: the server answered %v to %v", m.Type, w.kind.request)
	}
	return answer, warden.Parse(m, answer)
}

// isLast says whether an answer is the last to its request: all are, but for
// the chunks of a stream.
func isLast(answer proto.Message) bool {
	chunk, ok := answer.(*protocol.StreamResponse)
	return !ok || chunk.ExitStatus != nil
}

// next waits for the next answer.
func (w *wait) next(ctx context.Context) (proto.Message, error) {
	var answer proto.Message
	select {
	case answer = <-w.answers:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.link.ended:
		select {
		case answer = <-w.answers: // it came just before the end
		default:
			return nil, w.link.gone(true)
		}
	}
	if failed, ok := answer.(*protocol.ErrorResponse); ok {
		return nil, &ServerError{Text: failed.GetMessage()}
	}
	return answer, nil
}
