package bus

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between a bus and its server and can stop forwarding.
type proxy struct {
	url  string
	hung chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{url: "nats://" + l.Addr().String(), hung: make(chan struct{})}
	ended := make(chan struct{})
	t.Cleanup(func() { l.Close(); close(ended) })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", strings.TrimPrefix(to, "nats://"))
			if err != nil {
				near.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			go p.forward(far, near, ended)
			go p.forward(near, far, ended)
		}
	}()
	return p
}

func (p *proxy) forward(to, from net.Conn, ended <-chan struct{}) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-p.hung:
			<-ended // holds the connection and reads no more
			return
		default:
			to.Write(buffer[:n])
		}
	}
}

func (p *proxy) hang() { close(p.hung) }

// breakAll cuts every connection; new ones are let through.
func (p *proxy) breakAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
	p.conns = nil
}
