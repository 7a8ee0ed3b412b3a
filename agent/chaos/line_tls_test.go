package chaos

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/deacon-agent/deacon/messaging/bus"
)

// startSecureServer runs a NATS server that speaks TLS only, and returns where
// it is and the file of the certificate that it is trusted by.
func startSecureServer(t *testing.T) (url, ca string) {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	certified.Close()
	ca = filepath.Join(t.TempDir(), "ca.pem")
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw})
	if err := os.WriteFile(ca, body, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSTimeout: awhile.Seconds(),
		TLSConfig: &tls.Config{Certificates: certified.TLS.Certificates},
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(awhile) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL(), ca
}

// secured is a node's connection through a line, somebody else's past it, and
// what the node hears.
type secured struct {
	t           *testing.T
	line        *Line
	node, other *bus.Client
	heard       chan string
}

func newSecured(t *testing.T) secured {
	t.Helper()
	url, ca := startSecureServer(t)
	s := secured{t: t, line: NewLine(), heard: make(chan string, 16)}
	config := bus.Config{Servers: []string{url}, TLS: bus.TLS{CA: ca}, Log: hclog.NewNullLogger()}
	var err error
	if s.other, err = bus.Dial(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.other.Close)
	config.Dial = s.line.Dial
	if s.node, err = bus.Dial(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.node.Close)
	if err := s.node.Subscribe("news", func(_ string, body []byte) { s.heard <- string(body) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s secured) say(text string) {
	s.t.Helper()
	if err := s.other.Publish(s.t.Context(), "news", []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s secured) hears(want string) {
	s.t.Helper()
	select {
	case got := <-s.heard:
		if got != want {
			s.t.Errorf("heard %q, want %q", got, want)
		}
	case <-time.After(awhile):
		s.t.Fatalf("%q is not heard", want)
	}
}

func TestWhatIsEncryptedPassesAndCanBeHeldAndSlowed(t *testing.T) {
	s := newSecured(t)
	s.say("first")
	s.hears("first")
	n := &Node{Line: s.line}
	for _, f := range []Fault{natsDuplicated, natsReordered} {
		if err := f.Available(n); err == nil || !strings.Contains(err.Error(), "is encrypted") {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	const delay = 100 * time.Millisecond
	s.line.set(func(r *rules) { r.delay = delay })
	began := time.Now()
	if err := s.node.Publish(t.Context(), "other", nil); err != nil || time.Since(began) < 2*delay {
		t.Errorf("there and back in %s: %v", time.Since(began), err)
	}
	s.line.set(func(r *rules) { r.delay, r.held = 0, true })
	s.say("second")
	ctx, cancel := context.WithTimeout(t.Context(), delay)
	defer cancel()
	if err := s.node.Publish(ctx, "other", nil); err == nil {
		t.Error("a message got through a line that is held")
	}
	if len(s.heard) != 0 {
		t.Errorf("%q is heard", <-s.heard)
	}
	s.line.set(func(r *rules) { r.held = false })
	s.hears("second")
}

func TestAnEncryptedConnectionIsMadeAgain(t *testing.T) {
	s := newSecured(t)
	n := &Node{Line: s.line}
	killed := n.onLine("", func(r *rules) { r.refused = true }, func(r *rules) { r.refused = false })
	killed.Begin()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.node.Publish(ctx, "other", nil); err == nil {
		t.Error("a message got through a line that is cut")
	}
	if err := killed.Heal(t.Context()); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(awhile); s.node.Publish(t.Context(), "other", nil) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not made again")
		}
	}
	s.say("again")
	s.hears("again")
}
