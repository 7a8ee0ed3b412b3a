package rig

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// NATS is a real server inside the test process.
type NATS struct {
	t      testing.TB
	server *server.Server
	URL    string
}

// StartNATS runs a server on a free loopback port until the test ends.
func StartNATS(t testing.TB) *NATS {
	t.Helper()
	n := &NATS{t: t}
	n.start(server.RANDOM_PORT, nil)
	t.Cleanup(n.Stop)
	return n
}

func (n *NATS) start(port int, who server.Authentication) {
	n.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		CustomClientAuthentication: who})
	if err != nil {
		n.t.Fatal("rig: make NATS:", err)
	}
	go s.Start()
	if !s.ReadyForConnections(readyMax) {
		n.t.Fatal("rig: NATS is not ready")
	}
	n.server, n.URL = s, s.ClientURL()
}

// Stop takes the server away; its clients lose their connections.
func (n *NATS) Stop() {
	n.server.Shutdown()
	n.server.WaitForShutdown()
}

// Return brings the server back on the address it had, and lets nobody in before the
// controller hears again: what a node tells at once reaches who is there.
func (n *NATS) Return(c *Controller) {
	n.t.Helper()
	var port int
	if _, err := fmt.Sscanf(n.URL, "nats://127.0.0.1:%d", &port); err != nil {
		n.t.Fatalf("rig: port of %s: %v", n.URL, err)
	}
	gate := &gate{}
	n.start(port, gate)
	c.AwaitServer(readyMax)
	gate.open.Store(true)
}

// controllerName is what a Controller calls itself.
const controllerName = "controller"

// gate lets nobody but a controller in until it is open.
type gate struct{ open atomic.Bool }

// Check is the server's interface.
func (g *gate) Check(c server.ClientAuthentication) bool {
	return g.open.Load() || c.GetOpts().Name == controllerName
}

// Controller is a cloud controller, a health manager and a router in one: it
// knows subjects and JSON, and nothing of deacon's code.
type Controller struct {
	t    testing.TB
	Conn *nats.Conn
	seen chan Seen
	past []Seen
}

// Seen is one message that was published, and when it was read here.
type Seen struct {
	Subject string
	Body    map[string]any
	Raw     []byte
	At      time.Time
}

// watched are the subjects that a DEA publishes.
var watched = []string{"dea.heartbeat", "dea.advertise", "dea.start", "dea.shutdown", "droplet.exited",
	"router.register", "router.unregister", "vcap.component.announce"}

func isWatched(subject string) bool {
	return slices.Contains(watched, subject) || strings.HasPrefix(subject, "deacon.v1.")
}

// seenMax bounds what may wait unread; a test that lets more pile up has lost its way.
const seenMax = 1 << 16

// NewController connects and begins to listen.
func NewController(t testing.TB, url string, options ...nats.Option) *Controller {
	t.Helper()
	options = append(options, nats.Name(controllerName), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond))
	conn, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal("rig: controller:", err)
	}
	t.Cleanup(conn.Close)
	c := &Controller{t: t, Conn: conn, seen: make(chan Seen, seenMax)}
	// One subscription, because only within one does the order of arrival hold.
	if _, err := conn.Subscribe(">", c.take); err != nil {
		t.Fatal("rig: controller subscribes:", err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal("rig: controller:", err)
	}
	return c
}

func (c *Controller) take(m *nats.Msg) {
	if !isWatched(m.Subject) {
		return
	}
	seen := Seen{Subject: m.Subject, Raw: m.Data, At: time.Now()}
	if err := json.Unmarshal(m.Data, &seen.Body); err != nil {
		fmt.Fprintf(os.Stderr, "rig: %s is not a JSON object: %v: %q\n", m.Subject, err, m.Data)
		return
	}
	select {
	case c.seen <- seen:
	default:
		fmt.Fprintln(os.Stderr, "rig: the controller's queue is full; dropped", m.Subject)
	}
}

// AwaitServer returns when the controller hears again, after its server was away.
func (c *Controller) AwaitServer(limit time.Duration) {
	c.t.Helper()
	for deadline := time.Now().Add(limit); c.Conn.FlushTimeout(limit) != nil || !c.Conn.IsConnected(); {
		if time.Now().After(deadline) {
			c.t.Fatalf("rig: the controller is not connected again in %s", limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Publish sends body as JSON.
func (c *Controller) Publish(subject string, body any) {
	c.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.Conn.Publish(subject, data); err != nil {
		c.t.Fatalf("rig: publish %s: %v", subject, err)
	}
	c.Conn.Flush()
}

// Match says whether a message is the one that is waited for.
type Match func(Seen) bool

// ErrNobody says that nobody listens where something was asked.
var ErrNobody = errors.New("rig: nobody answers there")

// Ask puts a question without any parts to whoever answers on a subject.
func (c *Controller) Ask(subject string, limit time.Duration) ([]byte, error) {
	answer, err := c.Conn.Request(subject, []byte("{}"), limit)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("rig: ask %s: %w", subject, err)
	}
	return answer.Data, nil
}

// Expect waits for a message on subject that all matches accept. Messages are
// kept: one that came before it was asked for is found too, once.
func (c *Controller) Expect(subject string, limit time.Duration, matches ...Match) Seen {
	c.t.Helper()
	seen, ok := c.await(subject, limit, matches)
	if !ok {
		c.t.Fatalf("rig: no %s in %s; seen: %s", subject, limit, c.history())
	}
	return seen
}

// ExpectNone fails when such a message comes within limit.
func (c *Controller) ExpectNone(subject string, limit time.Duration, matches ...Match) {
	c.t.Helper()
	if seen, ok := c.await(subject, limit, matches); ok {
		c.t.Fatalf("rig: unexpected %s: %s", subject, seen.Raw)
	}
}

// Next is Expect for a message that need not come.
func (c *Controller) Next(subject string, limit time.Duration, matches ...Match) (Seen, bool) {
	return c.await(subject, limit, matches)
}

func (c *Controller) await(subject string, limit time.Duration, matches []Match) (Seen, bool) {
	fits := func(s Seen) bool {
		if s.Subject != subject {
			return false
		}
		for _, m := range matches {
			if !m(s) {
				return false
			}
		}
		return true
	}
	for i, s := range c.past {
		if fits(s) {
			c.past = append(c.past[:i:i], c.past[i+1:]...)
			return s, true
		}
	}
	timeout := time.After(limit)
	for {
		select {
		case s := <-c.seen:
			if fits(s) {
				return s, true
			}
			c.past = append(c.past, s)
		case <-timeout:
			return Seen{}, false
		}
	}
}

// Forget drops everything seen so far.
func (c *Controller) Forget() {
	c.past = nil
	for len(c.seen) > 0 {
		<-c.seen
	}
}

func (c *Controller) history() string {
	var text string
	for _, s := range c.past[max(0, len(c.past)-12):] {
		text += fmt.Sprintf("\n  %s %s", s.Subject, s.Raw)
	}
	return text
}

// With matches messages whose field has the value, compared as JSON.
func With(field string, value any) Match {
	want, _ := json.Marshal(value)
	return func(s Seen) bool {
		got, _ := json.Marshal(s.Body[field])
		return string(got) == string(want)
	}
}
