// Package syslog writes lines to a syslog daemon's socket, datagram for
// datagram as `logger -t <tag> -d -p user.info -u <socket>` does:
//
//	<14>Nov 24 22:45:34 warden.app: line
//
// Nobody waits for the daemon: what it does not take, because it is away or
// slow, is dropped and counted.
package syslog

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Severity is a line's priority; the facility is user.
type Severity int

// The severities of a job's two streams.
const (
	Info Severity = 14 // user.info
	Err  Severity = 11 // user.err
)

const (
	// LineMax is how much of a line fits into a datagram; a longer line comes in
	// several, as logger's do.
	LineMax = 1024
	// QueueMax is how many datagrams may wait for the daemon.
	QueueMax = 4096
	// DefaultSocket is where a daemon listens if nobody says otherwise.
	DefaultSocket = "/dev/log"
	// patience is how long the daemon may take for one datagram.
	patience = time.Second
)

// Writer sends lines to one socket. It is safe for concurrent use.
type Writer struct {
	socket  string
	queue   chan []byte
	quit    chan struct{}
	ended   chan struct{}
	closing sync.Once
	dropped atomic.Uint64
	now     func() time.Time
	conn    *net.UnixConn // the sender's own; nil: not connected
}

// New makes a writer; the socket need not be there yet. Empty is DefaultSocket.
func New(socket string) *Writer { return newWriter(socket, time.Now) }

func newWriter(socket string, now func() time.Time) *Writer {
	if socket == "" {
		socket = DefaultSocket
	}
	w := &Writer{
		socket: socket, queue: make(chan []byte, QueueMax),
		quit: make(chan struct{}), ended: make(chan struct{}), now: now,
	}
	go w.send()
	return w
}

// Write sends a line, without its end, under a tag. It never blocks and keeps
// no reference to the line.
func (w *Writer) Write(severity Severity, tag string, line []byte) {
	for {
		piece := line[:min(len(line), LineMax)]
		select {
		case w.queue <- encode(severity, w.now(), tag, piece):
		default:
			w.dropped.Add(1)
		}
		if line = line[len(piece):]; len(line) == 0 {
			return
		}
	}
}

// Dropped is how many datagrams were dropped since the writer was made.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Close sends what waits, unless the daemon doesn't take it, and ends the
// writer. What is written afterwards goes nowhere.
func (w *Writer) Close() error {
	w.closing.Do(func() { close(w.quit) })
	<-w.ended
	return nil
}

func (w *Writer) send() {
	defer close(w.ended)
	defer w.hangUp()
	for {
		select {
		case datagram := <-w.queue:
			w.deliver(datagram)
		case <-w.quit:
			w.flush()
			return
		}
	}
}

// flush gives up at the first datagram that isn't taken.
func (w *Writer) flush() {
	for {
		select {
		case datagram := <-w.queue:
			if !w.deliver(datagram) {
				w.dropped.Add(uint64(len(w.queue)))
				return
			}
		default:
			return
		}
	}
}

// deliver sends a datagram, and says whether it was taken. A daemon that was
// started anew has another socket under the same name: the first error is
// reason to connect again.
func (w *Writer) deliver(datagram []byte) bool {
	for range 2 {
		if !w.dial() {
			break
		}
		w.conn.SetWriteDeadline(time.Now().Add(patience))
		_, err := w.conn.Write(datagram)
		if err == nil {
			return true
		}
		if late, ok := err.(net.Error); ok && late.Timeout() {
			break // it is there and does not listen
		}
		w.hangUp()
	}
	w.dropped.Add(1)
	return false
}

func (w *Writer) dial() bool {
	if w.conn != nil {
		return true
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: w.socket, Net: "unixgram"})
	if err != nil {
		return false
	}
	w.conn = conn
	return true
}

func (w *Writer) hangUp() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// stamp is RFC 3164's, in local time; the day is padded with a space.
const stamp = "Jan _2 15:04:05"

func encode(severity Severity, at time.Time, tag string, line []byte) []byte {
	datagram := make([]byte, 0, len("<14> : ")+len(stamp)+len(tag)+len(line))
	datagram = append(datagram, '<', '0'+byte(severity/10), '0'+byte(severity%10), '>')
	datagram = at.Local().AppendFormat(datagram, stamp)
	datagram = append(datagram, ' ')
	datagram = append(datagram, tag...)
	datagram = append(datagram, ": "...)
	return append(datagram, line...)
}
