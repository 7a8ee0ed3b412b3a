package legacy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// answer is a whole HTTP response. Warden's was its first line alone, which is
// all that the old checks look at; the others of today want an end.
const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"

// Bounds of one check. A check that says nothing gets no answer, as ever.
const (
	checkMax  = 5 * time.Second
	lingerMax = time.Second
	askedMax  = 64 << 10
	checksMax = 64 // at once; further ones wait in the kernel's queue
)

// HealthCheck answers whatever is asked with 200, as long as this process
// takes connections: that is all it says, and all that Warden's said.
type HealthCheck struct {
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

// StartHealthCheck listens at an address. A port of 0 takes any.
func StartHealthCheck(at netip.AddrPort) (*HealthCheck, error) {
	listener, err := net.Listen("tcp4", at.String())
	if err != nil {
		return nil, fmt.Errorf("legacy: answer health checks: %w", err)
	}
	h := &HealthCheck{listener: listener, open: map[net.Conn]bool{}}
	h.running.Go(h.accept)
	return h, nil
}

// Address is where it listens.
func (h *HealthCheck) Address() netip.AddrPort {
	return h.listener.Addr().(*net.TCPAddr).AddrPort()
}

// Close ends it, and waits until nothing of it is left.
func (h *HealthCheck) Close() error {
	err := h.listener.Close()
	h.mu.Lock()
	h.closed = true
	for conn := range h.open {
		conn.Close()
	}
	h.mu.Unlock()
	h.running.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("legacy: stop answering health checks: %w", err)
	}
	return nil
}

func (h *HealthCheck) accept() {
	places := make(chan struct{}, checksMax)
	for {
		places <- struct{}{}
		conn, err := h.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Out of file descriptors, say: that passes, and so does this check.
			time.Sleep(acceptPause)
			<-places
			continue
		}
		if !h.begin(conn) {
			return
		}
		h.running.Go(func() {
			defer func() { <-places }()
			defer h.end(conn)
			serve(conn)
		})
	}
}

const acceptPause = 50 * time.Millisecond

// begin keeps a connection where Close finds it; false: Close has been there.
func (h *HealthCheck) begin(conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		conn.Close()
		return false
	}
	h.open[conn] = true
	return true
}

func (h *HealthCheck) end(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, conn)
	conn.Close()
}

// serve answers the first bytes, whatever they are. It reads on to the end
// before it closes: closing over unread bytes resets the connection, and the
// answer with it.
func serve(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(checkMax))
	var asked [4096]byte
	if n, _ := conn.Read(asked[:]); n == 0 {
		return
	}
	if _, err := io.WriteString(conn, answer); err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	conn.SetDeadline(time.Now().Add(lingerMax))
	io.Copy(io.Discard, io.LimitReader(conn, askedMax))
}
