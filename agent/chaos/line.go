package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Line stands between the agent and its NATS server: every connection goes
// through it, and it can hold back, delay, cut, repeat and swap what passes.
//
//	nats.go ── socketpair ── read ─▶ queue ─▶ write ── TCP ── server     and the same backwards
//
// It reads message by message where it can, so that a message is repeated or
// swapped as a whole. What is encrypted passes as bytes.
type Line struct {
	mu      sync.Mutex
	rules   rules
	changed chan struct{} // closed at the next change of the rules
	open    map[*wire]bool
	sealed  bool // a connection can't be read as messages: encrypted, or a web socket
}

// wire is one connection, the agent's end and the server's.
type wire struct {
	near, far net.Conn
	over      chan struct{} // closed when it ends, whoever ends it
	once      sync.Once
}

// end ends a connection, both ways: what is on its way is lost.
func (w *wire) end() {
	w.once.Do(func() {
		close(w.over)
		w.far.Close()
		w.near.Close()
	})
}

// rules are what a line does to what passes.
type rules struct {
	refused  bool // there are no connections
	held     bool // nothing passes
	delay    time.Duration
	repeated float64 // how much of the messages
	swapped  float64
	rng      *rand.Rand
}

// NewLine makes a line that lets everything pass.
func NewLine() *Line { return &Line{changed: make(chan struct{}), open: map[*wire]bool{}} }

// errRefused is what a dial fails with while there is said to be no server.
var errRefused = fmt.Errorf("chaos: %w", unix.ECONNREFUSED)

// Sizes of what is on its way.
const (
	lineBuffer = 64 << 10
	lineQueue  = 4096
	swapMax    = 100 * time.Millisecond // how long a message waits for another to be swapped with
)

const lineDialMax = 2 * time.Second

// Dial connects through the line.
func (l *Line) Dial(network, address string) (net.Conn, error) {
	if l.now().refused {
		return nil, errRefused
	}
	far, err := net.DialTimeout(network, address, lineDialMax)
	if err != nil {
		return nil, err
	}
	agents, near, err := pair()
	if err != nil {
		return nil, errors.Join(err, far.Close())
	}
	w := &wire{near: near, far: far, over: make(chan struct{})}
	if !l.join(w) {
		w.end()
		return nil, errors.Join(errRefused, agents.Close())
	}
	go l.carry(w, near, far)
	go l.carry(w, far, near)
	return agents, nil
}

// join makes a connection one of the line's, unless there are none any more.
func (l *Line) join(w *wire) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules.refused {
		return false
	}
	l.open[w] = true
	return true
}

// carry passes on what comes from one end to the other, until the connection is
// over.
func (l *Line) carry(w *wire, from, to net.Conn) {
	defer func() {
		w.end()
		l.mu.Lock()
		delete(l.open, w)
		l.mu.Unlock()
	}()
	queue := make(chan parcel, lineQueue)
	go l.read(from, queue, w.over)
	l.write(to, queue, w.over)
}

// pair is a connection within the process, with the kernel's buffers.
func pair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("chaos: make a line: %w", err)
	}
	a, failed := connOf(fds[0])
	b, err = connOf(fds[1])
	if err = errors.Join(failed, err); err != nil {
		for _, end := range []net.Conn{a, b} {
			if end != nil {
				end.Close()
			}
		}
		return nil, nil, fmt.Errorf("chaos: make a line: %w", err)
	}
	return a, b, nil
}

func connOf(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "line")
	defer file.Close() // the connection has its own
	return net.FileConn(file)
}

func (l *Line) now() rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules
}

func (l *Line) set(change func(*rules)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.rules)
	close(l.changed)
	l.changed = make(chan struct{})
}

// cut ends every connection; whoever dials gets another, if rules let him.
func (l *Line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.open {
		w.end()
	}
}

// isSealed says whether messages can't be told apart.
func (l *Line) isSealed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sealed
}

// parcel is a message, or whatever else came as one.
type parcel struct {
	bytes   []byte
	message bool
	came    time.Time
}

// read queues what comes until there is no more.
func (l *Line) read(from net.Conn, queue chan<- parcel, over <-chan struct{}) {
	defer close(queue)
	r := &unitReader{r: bufio.NewReaderSize(from, lineBuffer)}
	for {
		bytes, message, err := r.next()
		if r.opaque {
			l.mu.Lock()
			l.sealed = true
			l.mu.Unlock()
		}
		if len(bytes) > 0 {
			select {
			case queue <- parcel{bytes, message, time.Now()}:
			case <-over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// write passes on what is queued, as the rules say at that moment.
func (l *Line) write(to io.Writer, queue <-chan parcel, over <-chan struct{}) {
	for {
		select {
		case p, ok := <-queue:
			if !ok || !l.await(p, over) {
				return
			}
			if !l.pass(to, p, queue) {
				return
			}
		case <-over:
			return
		}
	}
}

// await returns when a parcel may pass; false: the connection is over.
func (l *Line) await(p parcel, over <-chan struct{}) bool {
	for {
		l.mu.Lock()
		held, delay, changed := l.rules.held, l.rules.delay, l.changed
		l.mu.Unlock()
		left := delay - time.Since(p.came)
		if !held && left <= 0 {
			return true
		}
		var due <-chan time.Time
		if !held {
			due = time.After(left)
		}
		select {
		case <-due:
		case <-changed:
		case <-over:
			return false
		}
	}
}

func (l *Line) pass(to io.Writer, p parcel, queue <-chan parcel) bool {
	l.mu.Lock()
	repeat := p.message && l.rules.repeated > 0 && l.rules.rng.Float64() < l.rules.repeated
	swap := p.message && l.rules.swapped > 0 && l.rules.rng.Float64() < l.rules.swapped
	l.mu.Unlock()
	out := p.bytes
	if swap {
		select {
		case next, ok := <-queue:
			if ok && next.message {
				out = append(next.bytes, p.bytes...)
			} else {
				out = append(out, next.bytes...)
			}
		case <-time.After(swapMax): // nobody came
		}
	}
	if repeat {
		out = append(out[:len(out):len(out)], p.bytes...)
	}
	_, err := to.Write(out)
	return err == nil
}
