package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging/exec"
)

// How a session ends that its command didn't.
var (
	// ErrVanished says that nobody is at the other end any more.
	ErrVanished = errors.New("nobody is at the other end any more")
	// ErrTorn says that something of the session was lost on the way.
	ErrTorn = errors.New("messages were lost on the way")
	// ErrBroken says that the other end doesn't keep to the rules.
	ErrBroken = errors.New("the other end breaks the rules")
)

// Session is one end of a session: numbered frames both ways, of which neither
// side sends more than the other takes (messaging/exec). Its methods may be
// called from any goroutine.
type Session struct {
	conn     *nats.Conn
	to, from string
	sub      *nats.Subscription
	over     chan struct{} // closed with err
	ready    chan struct{} // a frame waits, or the session is over
	credited chan struct{} // more may be sent

	sending sync.Mutex // frames leave in the order of their numbers
	sent    uint64     // the last number

	mu      sync.Mutex
	err     error
	heard   time.Time
	number  uint64 // of the last frame that came
	queue   []exec.Frame
	plain   int // of them without data
	untaken int // what came of the window and was not taken
	taken   int // what was, and it wasn't said yet
	credit  int // what of it may be sent
}

// openSession begins to listen on from. Everything is sent to to, with from as the
// subject of an answer: so the server says at once when nobody listens there.
func openSession(conn *nats.Conn, to, from string) (*Session, error) {
	s := &Session{
		conn: conn, to: to, from: from, over: make(chan struct{}), heard: time.Now(), credit: exec.Window,
		ready: make(chan struct{}, 1), credited: make(chan struct{}, 1),
	}
	sub, err := conn.Subscribe(from, s.take)
	if err == nil {
		// More than the window never waits, but for whoever breaks the rules.
		err = sub.SetPendingLimits(2*exec.PendingMax, 4*exec.Window)
	}
	if err != nil {
		return nil, fmt.Errorf("bus: subscribe to %s: %w", from, err)
	}
	s.sub = sub
	return s, nil
}

// begin has the other end told, at times, that this one is alive, and this one
// notice when the other isn't.
func (s *Session) begin() { go s.live() }

func (s *Session) live() {
	tick := time.NewTicker(exec.AliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.over:
			return
		case now := <-tick.C:
			s.mu.Lock()
			silent := now.Sub(s.heard)
			s.mu.Unlock()
			if silent > exec.SilenceMax {
				s.end(fmt.Errorf("%w: no word for %s", ErrVanished, silent.Round(time.Second)))
				return
			}
			s.Send(exec.Frame{}) // an error ended the session
		}
	}
}

// take runs on nats.go's goroutine for the subscription.
func (s *Session) take(m *nats.Msg) {
	if nobody(m) {
		s.end(ErrVanished)
		return
	}
	f, err := exec.DecodeFrame(m.Data)
	if err != nil {
		s.end(fmt.Errorf("%w: %w", ErrBroken, err))
		return
	}
	if err := s.accept(f); err != nil {
		s.end(err)
	}
}

func (s *Session) accept(f exec.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	if f.Number != s.number+1 {
		return fmt.Errorf("%w: number %d came after %d", ErrTorn, f.Number, s.number)
	}
	s.number++
	switch {
	case f.Took > 0:
		if s.credit += f.Took; s.credit > exec.Window {
			return fmt.Errorf("%w: it took more than it was sent", ErrBroken)
		}
		wakeOne(s.credited)
		return nil
	case f.Bare():
		return nil
	}
	s.untaken += f.Cost()
	if f.Cost() == 0 {
		s.plain++
	}
	if s.untaken > exec.Window || s.plain > exec.PendingMax {
		return fmt.Errorf("%w: it sent more than was taken", ErrBroken)
	}
	s.queue = append(s.queue, f)
	wakeOne(s.ready)
	return nil
}

func wakeOne(waiter chan struct{}) {
	select {
	case waiter <- struct{}{}:
	default: // has not looked yet since it was last woken
	}
}

// Receive waits for the next frame. What came before the session's end comes
// before the error that ended it. One goroutine receives.
func (s *Session) Receive(ctx context.Context) (exec.Frame, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			f := s.queue[0]
			s.queue = s.queue[1:]
			if f.Cost() == 0 {
				s.plain--
			}
			s.mu.Unlock()
			return f, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return exec.Frame{}, err
		}
		select {
		case <-s.ready:
		case <-s.over:
		case <-ctx.Done():
			return exec.Frame{}, context.Cause(ctx)
		}
	}
}

// tookEvery is how much is taken before it is said: a quarter of what may
// be under way, so that who sends never waits for it where data flows.
const tookEvery = exec.Window / 4

// Took says that the frame's data has gone where it belongs.
func (s *Session) Took(f exec.Frame) {
	s.mu.Lock()
	s.untaken -= f.Cost()
	s.taken += f.Cost()
	say := s.taken
	if say < tookEvery {
		s.mu.Unlock()
		return
	}
	s.taken = 0
	s.mu.Unlock()
	s.Send(exec.Frame{Took: say})
}

// Send sends a frame without data.
func (s *Session) Send(f exec.Frame) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	select {
	case <-s.over:
		return s.err
	default:
	}
	s.sent++
	f.Number = s.sent
	body, err := f.Encode()
	if err == nil {
		err = s.conn.PublishRequest(s.to, s.from, body)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrTorn, err)
		s.end(err)
	}
	return err
}

// Write sends data, cut to frames by make, as fast as the other end takes it.
func (s *Session) Write(ctx context.Context, data []byte, make func(chunk []byte) exec.Frame) error {
	for len(data) > 0 {
		n, err := s.claim(ctx, min(len(data), exec.ChunkMax))
		if err == nil {
			err = s.Send(make(data[:n]))
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// claim waits until something may be sent, and says how much of it: at most most.
func (s *Session) claim(ctx context.Context, most int) (int, error) {
	for {
		s.mu.Lock()
		n := max(0, min(most, s.credit-exec.FrameCost))
		if n > 0 {
			s.credit -= n + exec.FrameCost
		}
		err := s.err
		s.mu.Unlock()
		if err != nil || n > 0 {
			return n, err
		}
		select {
		case <-s.credited:
		case <-s.over:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// Over is closed when the session is.
func (s *Session) Over() <-chan struct{} { return s.over }

func (s *Session) end(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
		close(s.over)
	}
	s.mu.Unlock()
	if first {
		s.sub.Unsubscribe() // fails only where the connection is closed
	}
}

// Close ends the session; what was sent is on its way.
func (s *Session) Close() { s.end(ErrClosed) }
