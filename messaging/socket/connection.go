package socket

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/complaints"
	"github.com/deacon-agent/deacon/messaging/warden"
)

// outMax is how many bytes of answers of the door's own are written at once.
const outMax = 64 << 10

// longAgo as a deadline ends what is under way.
var longAgo = time.Unix(1, 0)

// errLeaving ends a connection that is drained.
var errLeaving = errors.New("the node takes no more requests")

// connection is one client. The reader fills the backlog, the server empties it.
type connection struct {
	door    *Door
	client  messaging.Client
	conn    *net.UnixConn
	raw     syscall.RawConn
	backlog *backlog
	out     []byte                // the server's: answers of the door's own, not yet written
	answers chan messaging.Answer // room for the one that can come
	writing chan struct{}         // holds one while somebody writes
	gone    chan struct{}         // closed when the client has gone, or is sent away
	ended   chan struct{}         // closed when ClientGone was delivered

	mu       sync.Mutex
	asked    uint64 // the request under way; 0: none
	waits    bool   // whether that one may take for ever
	answered bool   // whether its answer has come
	leaving  bool   // no other request is begun
}

func newConnection(d *Door, client messaging.Client, conn *net.UnixConn) *connection {
	c := &connection{
		door: d, client: client, conn: conn,
		answers: make(chan messaging.Answer, 1), writing: make(chan struct{}, 1),
		gone: make(chan struct{}), ended: make(chan struct{}),
	}
	c.raw, _ = conn.SyscallConn() // fails only for a nil connection
	c.backlog = newBacklog(func() { conn.SetReadDeadline(longAgo) })
	return c
}

func (c *connection) run() {
	go c.read()
	c.door.log.Trace("a connection ends", "client", c.client, "reason", c.serve())
	c.conn.Close()
	<-c.gone
	c.door.deliver(messaging.ClientGone{Client: c.client})
	c.door.forget(c) // only now: who drains or closes waits for all that was delivered
	close(c.ended)
}

// read fills the backlog until the client has gone.
func (c *connection) read() {
	defer close(c.gone)
	frames := warden.NewReader(c.conn)
	for number := uint64(1); ; number++ {
		r, err := c.understand(frames, number)
		if err != nil {
			return // the end, in its place or within a frame
		}
		full := c.backlog.put(r)
		if r.invalid != nil {
			for c.watch() { // the rest can't be understood
			}
			return
		}
		if full && !c.watch() {
			return
		}
	}
}

// understand makes a request of the next message. One that breaks the wire's
// rules is a request to be sent away.
func (c *connection) understand(frames *warden.Reader, number uint64) (request, error) {
	m, err := frames.Next()
	r := request{kind: m.Type, number: number, bytes: len(m.Payload)}
	if err == nil {
		var local bool
		if r.frame, local, err = warden.Local(m); !local && err == nil {
			r.command, err = warden.Decode(m, messaging.Ask{Client: c.client, Request: number})
		}
	}
	if invalid, ok := errors.AsType[*warden.InvalidError](err); ok {
		r.invalid, err = invalid, nil
	}
	return r, err
}

// watch waits while nothing is read. It is true when reading is to go on, and
// false when the client has gone. What it sends meanwhile stays in the socket.
func (c *connection) watch() bool {
	err := c.raw.Read(func(fd uintptr) bool {
		ends := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(ends, 0)
		return n > 0 && err == nil
	})
	if errors.Is(err, os.ErrDeadlineExceeded) { // the backlog's resume
		c.conn.SetReadDeadline(time.Time{})
		return true
	}
	return false
}

// serve takes the requests one after the other, and returns why it ends.
func (c *connection) serve() error {
	for {
		r, err := c.next()
		if err == nil {
			err = c.take(r)
		}
		if err != nil {
			return err
		}
	}
}

// next waits for a request. What the door answered itself is written before
// that, in as few writes as the client's pace allows.
func (c *connection) next() (request, error) {
	for {
		if r, ok := c.backlog.take(); ok {
			return r, nil
		}
		c.flush()
		select {
		case <-c.backlog.wake:
		case <-c.gone:
			if r, ok := c.backlog.take(); ok { // it was put before the end was seen
				return r, nil
			}
			return request{}, ErrGone
		}
	}
}

func (c *connection) take(r request) error {
	if r.frame != nil {
		c.out = append(c.out, r.frame...)
		if len(c.out) >= outMax {
			c.flush()
		}
		return nil
	}
	c.flush()
	if r.invalid != nil {
		c.complain(r.invalid)
		return r.invalid
	}
	return c.ask(r)
}

// complain says that a client is sent away by its own fault, and who it is.
func (c *connection) complain(invalid error) {
	facts := []any{"client", c.client}
	c.raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			facts = append(facts, "pid", peer.Pid, "uid", peer.Uid)
		}
	})
	c.door.complaints.Say(complaints.Kind{Message: "a client is sent away", Reason: invalid.Error()}, facts...)
}

// ask delivers a request and writes its answer.
func (c *connection) ask(r request) error {
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		return errLeaving
	}
	c.asked, c.waits, c.answered = r.number, mayTakeForEver(r.kind), false
	c.mu.Unlock()
	c.door.deliver(r.command)
	select {
	case answer := <-c.answers:
		if err := c.write(c.encode(r.kind, answer)); err != nil {
			return err
		}
		c.sent(r.number, answer)
	case <-c.gone:
		return ErrGone
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = 0
	if c.leaving {
		return errLeaving
	}
	return nil
}

// sent says that the client has what a job came to.
func (c *connection) sent(request uint64, answer messaging.Answer) {
	switch answer.(type) {
	case messaging.JobLinked, messaging.JobStreamed:
		c.door.deliver(messaging.AnswerSent{To: messaging.Ask{Client: c.client, Request: request}})
	default: // nothing waits for that
	}
}

// mayTakeForEver says which requests a node that drains doesn't wait for.
func mayTakeForEver(kind warden.Type) bool {
	return kind == warden.TypeLink || kind == warden.TypeRun || kind == warden.TypeStream
}

// encode never leaves a client without an answer: what the wire has no words
// for is answered as the node's own failure.
func (c *connection) encode(kind warden.Type, answer messaging.Answer) []byte {
	frame, err := warden.Encode(kind, answer)
	if err == nil {
		return frame
	}
	c.door.log.Error("an answer can't be told", "client", c.client, "type", kind, "error", err)
	if frame, err = warden.Encode(kind, messaging.Failed{Text: err.Error()}); err != nil {
		c.door.log.Error("a failure can't be told", "client", c.client, "error", err)
	}
	return frame
}

// answer takes the answer to the request under way, and no other.
func (c *connection) answer(a messaging.Answered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == 0 || c.asked != a.Ask.Request || c.answered {
		return
	}
	c.answered = true
	c.answers <- a.Answer
}

// drain sends the client away, now or after the answer that it waits for.
func (c *connection) drain() {
	c.mu.Lock()
	c.leaving = true
	busy := c.asked != 0 && (!c.waits || c.answered)
	c.mu.Unlock()
	if !busy {
		c.conn.Close()
	}
}

// leave sends the client away.
func (c *connection) leave() {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	c.conn.Close()
}
