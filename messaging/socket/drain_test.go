package socket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// drain drains in the background and returns once nobody is accepted any more.
func (n *node) drain(t *testing.T, ctx context.Context) <-chan error {
	t.Helper()
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(ctx) }()
	receive(t, n.stopped)
	return drained
}

func TestDrainEndsAtOnceWhoeverIsIdleOrWaits(t *testing.T) {
	n := open(t, Config{})
	idle, half, link, stream, run := n.dial(t), n.dial(t), n.dial(t), n.dial(t), n.dial(t)
	half.send([]byte("4\r\n\x08"))
	link.send(linkOf(t, "h"), destroyOf(t, "queued"))
	hear[messaging.LinkJob](t, n)
	stream.send(streamOf(t, "h"), destroyOf(t, "queued"))
	asked := hear[messaging.StreamJob](t, n)
	if err := n.Chunk(t.Context(), asked.Ask, "stdout", []byte("x")); err != nil {
		t.Fatal(err)
	}
	stream.next()
	run.send(runOf(t, "h"), destroyOf(t, "queued"))
	hear[messaging.RunJob](t, n)
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{idle, half, link, stream, run} {
		c.expectEnd()
		hear[messaging.ClientGone](t, n)
	}
	n.hearNothing(t)
	if err := n.Chunk(t.Context(), asked.Ask, "stdout", nil); !errors.Is(err, ErrGone) {
		t.Errorf("a chunk afterwards: %v", err)
	}
}

// waitUntilLeaving waits for what nobody outside is told of.
func (c *connection) waitUntilLeaving(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		c.mu.Lock()
		leaving := c.leaving
		c.mu.Unlock()
		if leaving {
			return
		}
	}
	t.Fatal("the drain doesn't come to it")
}

func TestDrainWaitsForTheAnswerAndDropsWhatIsQueued(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(destroyOf(t, "h"), ping(), destroyOf(t, "queued"))
	destroy := hear[messaging.DestroyContainer](t, n)
	drained := n.drain(t, t.Context())
	n.find(c.number).waitUntilLeaving(t)
	if _, err := net.Dial("unix", n.path); err == nil {
		t.Error("a client is let in")
	}
	select {
	case err := <-drained:
		t.Fatal("drained in the middle of a request: ", err)
	default:
	}
	n.Answer(messaging.Answered{Ask: destroy.Ask, Answer: messaging.Done{}})
	c.expect(warden.TypeDestroy, messaging.Done{})
	c.expectEnd()
	if err := receive(t, drained); err != nil {
		t.Error(err)
	}
	hear[messaging.ClientGone](t, n)
	n.hearNothing(t)
}

// The answer has come and is on its way: the client gets it.
func TestDrainLetsALinkHaveAnAnswerThatHasCome(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(linkOf(t, "h"))
	link := hear[messaging.LinkJob](t, n)
	output := bytes.Repeat([]byte("x"), 4<<20)
	n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{Stdout: output}})
	drained := n.drain(t, t.Context())
	n.find(c.number).waitUntilLeaving(t)
	c.expect(warden.TypeLink, messaging.JobLinked{Stdout: output})
	c.expectEnd()
	if err := receive(t, drained); err != nil {
		t.Error(err)
	}
}

func TestDrainEndsWithItsContextAndCloseEndsTheRest(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(destroyOf(t, "h"))
	hear[messaging.DestroyContainer](t, n)
	ctx, cancel := context.WithCancel(t.Context())
	drained := n.drain(t, ctx)
	cancel()
	if err := receive(t, drained); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	c.expectEnd()
	hear[messaging.ClientGone](t, n)
}

// The socket's file is the successor's from then on: neither the drain nor
// the Close that may come after it takes that away.
func TestASuccessorOpensAfterADrainAndKeepsItsSocket(t *testing.T) {
	first := open(t, Config{})
	first.dial(t)
	if err := first.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(first.path); err != nil {
		t.Errorf("the drained socket: %v", err)
	}
	second := open(t, Config{Path: first.path})
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	c := second.dial(t)
	c.send(ping())
	c.pong()
}

func TestCloseEndsEverybodyAndRemovesTheFile(t *testing.T) {
	n := open(t, Config{})
	idle, busy, slow := n.dial(t), n.dial(t), n.dial(t)
	busy.send(destroyOf(t, "h"))
	hear[messaging.DestroyContainer](t, n)
	slow.send(linkOf(t, "h"))
	link := hear[messaging.LinkJob](t, n)
	n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{Stdout: make([]byte, 8<<20)}})
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if heard := len(n.commands); heard != 3 {
		t.Errorf("%d commands were delivered until Close returned", heard)
	}
	for range 3 {
		hear[messaging.ClientGone](t, n)
	}
	idle.expectEnd()
	busy.expectEnd()
	slow.expectEnd()
	if _, err := os.Lstat(n.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error("a second time: ", err)
	}
}

func TestCloseLeavesASocketThatIsNotItsOwn(t *testing.T) {
	n := open(t, Config{})
	if err := os.Remove(n.path); err != nil {
		t.Fatal(err)
	}
	other := open(t, Config{Path: n.path})
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	other.dial(t)
}

// Between the drain's look at the backlog's owner and its end a request may be
// taken: it is dropped like those that are queued.
func TestARequestThatIsTakenDuringADrainIsDropped(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	there := n.find(c.number)
	there.mu.Lock()
	there.leaving = true
	there.mu.Unlock()
	c.send(destroyOf(t, "h"))
	c.expectEnd()
	hear[messaging.ClientGone](t, n)
}

// Who drains may rely on having heard everything when Drain returns.
func TestAClientIsThereUntilItsGoingWasDelivered(t *testing.T) {
	there := make(chan bool, 1)
	path := socketPath(t)
	var door *Door
	ready := make(chan struct{})
	door, err := Open(Config{Path: path, Log: logbook.New().Logger()}, func(cmd messaging.Command) {
		if gone, ok := cmd.(messaging.ClientGone); ok {
			<-ready
			there <- door.find(gone.Client) != nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	close(ready)
	dial(t, path).conn.Close()
	if !receive(t, there) {
		t.Error("it was forgotten before")
	}
}
