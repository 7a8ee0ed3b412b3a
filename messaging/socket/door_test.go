package socket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// patience is how long anything that must come is waited for.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// socketPath is a path that isn't there yet. A test's own folder would make it
// too long for a socket.
func socketPath(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "deacon-socket-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return filepath.Join(folder, "warden.sock")
}

// node stands where the node will: it hears what is delivered.
type node struct {
	*Door
	path     string
	log      *logbook.Logbook
	commands chan messaging.Command
}

// open opens a door that the test closes.
func open(t testing.TB, c Config) *node {
	t.Helper()
	n := &node{log: logbook.New(), commands: make(chan messaging.Command, 1<<16)}
	if c.Path == "" {
		c.Path = socketPath(t)
	}
	c.Log = n.log.Logger()
	door, err := Open(c, func(cmd messaging.Command) { n.commands <- cmd })
	if err != nil {
		t.Fatal(err)
	}
	n.Door, n.path = door, c.Path
	t.Cleanup(func() {
		if err := door.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// receive waits for the next of a channel.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// hear waits for the next command, which must be a C.
func hear[C messaging.Command](t testing.TB, n *node) C {
	t.Helper()
	got := receive(t, n.commands)
	cmd, ok := got.(C)
	if !ok {
		t.Fatalf("heard %#v, want a %T", got, cmd)
	}
	return cmd
}

// hearNothing is for after something that proves that all before it was delivered.
func (n *node) hearNothing(t testing.TB) {
	t.Helper()
	select {
	case got := <-n.commands:
		t.Errorf("heard %#v as well", got)
	default:
	}
}

// client is any program that speaks Warden's wire.
type client struct {
	t      testing.TB
	conn   *net.UnixConn
	frames *warden.Reader
	number messaging.Client
}

// dial connects, and waits until the node heard of it.
func (n *node) dial(t testing.TB) *client {
	t.Helper()
	c := dial(t, n.path)
	c.number = hear[messaging.ClientConnected](t, n).Client
	return c
}

func dial(t testing.TB, path string) *client {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn, frames: warden.NewReader(conn)}
}

func (c *client) send(frames ...[]byte) {
	c.t.Helper()
	if _, err := c.conn.Write(bytes.Join(frames, nil)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() warden.Message {
	c.t.Helper()
	m, err := c.frames.Next()
	if err != nil {
		c.t.Fatal("no answer: ", err)
	}
	return m
}

// expect reads an answer, which must be want.
func (c *client) expect(kind warden.Type, want messaging.Answer) {
	c.t.Helper()
	frame, err := warden.Encode(kind, want)
	if err != nil {
		c.t.Fatal(err)
	}
	m := c.next()
	if got := warden.AppendFrame(nil, m.Type, m.Payload); !bytes.Equal(got, frame) {
		c.t.Fatalf("answered %q, want %q", got, frame)
	}
}

// expectEnd reads until the door has closed the connection, and nothing else
// may come. What the client sent and nobody read makes it a reset.
func (c *client) expectEnd() {
	c.t.Helper()
	m, err := c.frames.Next()
	if err == nil {
		c.t.Fatalf("answered with %v %q, want the end", m.Type, m.Payload)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection doesn't end")
	}
}

func frame(t testing.TB, kind warden.Type, content proto.Message) []byte {
	t.Helper()
	f, err := warden.Frame(kind, content)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The requests that the tests send. Handles say which one it was.
func infoOf(t testing.TB, handle string) []byte {
	return frame(t, warden.TypeInfo, &protocol.InfoRequest{Handle: &handle})
}

func destroyOf(t testing.TB, handle string) []byte {
	return frame(t, warden.TypeDestroy, &protocol.DestroyRequest{Handle: &handle})
}

func linkOf(t testing.TB, handle string) []byte {
	return frame(t, warden.TypeLink, &protocol.LinkRequest{Handle: &handle, JobId: new(uint32(7))})
}

func streamOf(t testing.TB, handle string) []byte {
	return frame(t, warden.TypeStream, &protocol.StreamRequest{Handle: &handle, JobId: new(uint32(7))})
}

func runOf(t testing.TB, handle string) []byte {
	return frame(t, warden.TypeRun, &protocol.RunRequest{Handle: &handle, Script: new("true")})
}

func ping() []byte { return warden.AppendFrame(nil, warden.TypePing, nil) }

func echoOf(t testing.TB, text string) []byte {
	return frame(t, warden.TypeEcho, &protocol.EchoRequest{Message: &text})
}

// pong reads the answer to a ping.
func (c *client) pong() {
	c.t.Helper()
	if m := c.next(); m.Type != warden.TypePing || len(m.Payload) != 0 {
		c.t.Fatalf("answered with %v %q, want a pong", m.Type, m.Payload)
	}
}

// echoed reads the answer to an echo.
func (c *client) echoed(text string) {
	c.t.Helper()
	m := c.next()
	var r protocol.EchoResponse
	if err := warden.Parse(m, &r); err != nil || m.Type != warden.TypeEcho || r.GetMessage() != text {
		c.t.Fatalf("answered with %v %q, want an echo of %.40q: %v", m.Type, m.Payload, text, err)
	}
}

func TestARequestReachesTheNodeAndItsAnswerTheClient(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(infoOf(t, "h"))
	asked := hear[messaging.InspectContainer](t, n)
	if asked.Handle != "h" || asked.Client != c.number {
		t.Errorf("client %d asked %#v", c.number, asked)
	}
	n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.Failed{Text: "unknown handle"}})
	c.expect(warden.TypeInfo, messaging.Failed{Text: "unknown handle"})
	c.conn.Close()
	if gone := hear[messaging.ClientGone](t, n); gone.Client != c.number {
		t.Errorf("client %d left, %d is said to have", c.number, gone.Client)
	}
}

func TestNumbersOfClientsAreNotUsedAgainByASuccessor(t *testing.T) {
	used := map[messaging.Client]bool{}
	path := socketPath(t)
	for range 5 {
		n := open(t, Config{Path: path})
		for range 20 {
			c := n.dial(t)
			if used[c.number] {
				t.Fatalf("%d was used before", c.number)
			}
			used[c.number] = true
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// An answer that the wire has no words for is the node's mistake, and the
// client hears of it rather than waiting for ever.
func TestAnAnswerOfTheWrongKindIsAFailure(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(infoOf(t, "h"), ping())
	asked := hear[messaging.InspectContainer](t, n)
	n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.PortMapped{Host: 1, Container: 2}})
	if m := c.next(); m.Type != warden.TypeError {
		t.Errorf("answered with %v", m.Type)
	}
	c.pong()
	n.log.Wait(t, "an answer can't be told")
}

func TestWhatNobodyWaitsForIsDropped(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	n.Answer(messaging.Answered{Ask: messaging.Ask{Client: c.number + 1, Request: 1}, Answer: messaging.Done{}})
	n.Answer(messaging.Answered{Ask: messaging.Ask{Client: c.number}, Answer: messaging.Done{}})
	n.Answer(messaging.Answered{Ask: messaging.Ask{Client: c.number, Request: 1}, Answer: messaging.Done{}})
	c.send(streamOf(t, "h"), destroyOf(t, "h"))
	stream := hear[messaging.StreamJob](t, n)
	n.Answer(messaging.Answered{Ask: messaging.Ask{Client: c.number, Request: stream.Request + 1}, Answer: messaging.Done{}})
	n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.JobStreamed{Status: 3}})
	n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.JobStreamed{Status: 4}})
	c.expect(warden.TypeStream, messaging.JobStreamed{Status: 3})
	if sent := hear[messaging.AnswerSent](t, n); sent.To != stream.Ask {
		t.Errorf("the client has the answer to %v, want %v", sent.To, stream.Ask)
	}
	destroy := hear[messaging.DestroyContainer](t, n)
	if err := n.Chunk(t.Context(), stream.Ask, "stdout", []byte("late")); !errors.Is(err, ErrGone) {
		t.Errorf("a chunk after the answer: %v", err)
	}
	n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.Done{}})
	n.Answer(messaging.Answered{Ask: destroy.Ask, Answer: messaging.Done{}})
	c.expect(warden.TypeDestroy, messaging.Done{})
	c.conn.Close()
	hear[messaging.ClientGone](t, n)
	n.Answer(messaging.Answered{Ask: destroy.Ask, Answer: messaging.Done{}})
	if err := n.Chunk(t.Context(), stream.Ask, "stdout", nil); !errors.Is(err, ErrGone) {
		t.Errorf("a chunk for who has gone: %v", err)
	}
}

// readAll reads what comes until the end.
func (c *client) readAll() []byte {
	c.t.Helper()
	got, err := io.ReadAll(c.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection doesn't end")
	}
	return got
}
