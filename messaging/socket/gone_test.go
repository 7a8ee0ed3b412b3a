package socket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

func TestAClientThatLeavesIsNoticedWhileItsRequestIsUnderWay(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(linkOf(t, "h"), destroyOf(t, "h"))
	link := hear[messaging.LinkJob](t, n)
	c.conn.Close()
	if gone := hear[messaging.ClientGone](t, n); gone.Client != c.number {
		t.Errorf("%d is said to have left", gone.Client)
	}
	n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{}})
	n.dial(t) // and nothing was heard before
}

// A backlog that takes no more reads no more, and a leaving is what reading finds.
func TestAClientThatLeavesIsNoticedBehindAFullBacklog(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(linkOf(t, "h"))
	hear[messaging.LinkJob](t, n)
	c.send(bytes.Repeat(ping(), backlogMax+100))
	n.find(c.number).backlog.waitUntilPaused(t)
	c.conn.Close()
	hear[messaging.ClientGone](t, n)
}

// Old scripts send a stop or a destroy and don't wait. Whether that works must
// not be a matter of luck.
func TestTheRequestOfAClientThatLeavesAtOnceIsDelivered(t *testing.T) {
	n := openSlow(t)
	for range 200 {
		c := dial(t, n.path)
		c.send(ping(), destroyOf(t, "h"))
		c.conn.Close()
		hear[messaging.ClientConnected](t, n)
		hear[messaging.DestroyContainer](t, n)
		hear[messaging.ClientGone](t, n)
	}
}

// openSlow opens a door whose node takes its time with a client's coming, for
// what must be heard later to come first if it can.
func openSlow(t *testing.T) *node {
	t.Helper()
	n := &node{log: logbook.New(), path: socketPath(t), commands: make(chan messaging.Command, 1<<16)}
	door, err := Open(Config{Path: n.path, Log: n.log.Logger()}, func(cmd messaging.Command) {
		if _, ok := cmd.(messaging.ClientConnected); ok {
			for range 1000 {
				runtime.Gosched()
			}
		}
		n.commands <- cmd
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { door.Close() })
	n.Door = door
	return n
}

// That a client has gone may be seen before what it sent.
func TestWhatWasReadBeforeTheEndIsTakenBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan messaging.Command, 1)
		c := newConnection(&Door{deliver: func(cmd messaging.Command) { heard <- cmd }}, 1, &net.UnixConn{})
		ended := make(chan error, 1)
		go func() { ended <- c.serve() }()
		synctest.Wait() // it waits for a request or the end
		c.backlog.queue = append(c.backlog.queue, request{number: 1, command: messaging.ListContainers{}})
		close(c.gone)
		if err := <-ended; !errors.Is(err, ErrGone) {
			t.Errorf("it ended with %v", err)
		}
		if len(heard) != 1 {
			t.Error("the request was lost")
		}
	})
}

func TestAClientThatOnlyStopsSendingHasLeft(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(linkOf(t, "h"))
	hear[messaging.LinkJob](t, n)
	if err := c.conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	hear[messaging.ClientGone](t, n)
	c.expectEnd()
}

func TestHalfAFrameIsForgottenWithItsClient(t *testing.T) {
	n := open(t, Config{})
	whole := linkOf(t, "h")
	for i := range len(whole) {
		c := n.dial(t)
		c.send(whole[:i])
		c.conn.Close()
		if gone := hear[messaging.ClientGone](t, n); gone.Client != c.number {
			t.Fatalf("%d is said to have left", gone.Client)
		}
	}
	if n.log.String() != "" {
		t.Errorf("it is nothing to complain of:\n%s", n.log)
	}
}

func TestAFrameMayComeByteByByte(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	for _, b := range linkOf(t, "h") {
		c.send([]byte{b})
	}
	if link := hear[messaging.LinkJob](t, n); link.Handle != "h" || link.Job != 7 {
		t.Errorf("heard %+v", link)
	}
}

func TestWhoBreaksTheRulesIsSentAwayInItsTurnAndNobodyElse(t *testing.T) {
	for name, c := range map[string]struct{ sent, reason string }{
		"no length":       {"GET / HTTP/1.1\r\n\r\n", `want a length and CR LF, got 'G'`},
		"LF only":         {"4\n\x08\x5b\x12\x00\r\n", `want a length and CR LF`},
		"endless length":  {strings.Repeat("1", 100), "longer than"},
		"no message":      {"3\r\n\xff\xff\xff\r\n", "not a message"},
		"unknown type":    {"4\r\n\x08\x63\x12\x00\r\n", "no request of type 99"},
		"an error":        {"4\r\n\x08\x01\x12\x00\r\n", "no request of type"},
		"a missing field": {"4\r\n\x08\x0d\x12\x00\r\n", "handle: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t, Config{})
			other := n.dial(t)
			other.send(linkOf(t, "h"))
			link := hear[messaging.LinkJob](t, n)
			for range 3 {
				bad := n.dial(t)
				bad.send(ping(), infoOf(t, "before"), []byte(c.sent), infoOf(t, "behind"))
				bad.pong()
				asked := hear[messaging.InspectContainer](t, n)
				n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.ContainerInspected{}})
				bad.expect(warden.TypeInfo, messaging.ContainerInspected{})
				bad.expectEnd()
				hear[messaging.ClientGone](t, n)
			}
			n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{}})
			other.expect(warden.TypeLink, messaging.JobLinked{})
			if got := strings.Count(n.log.String(), c.reason); got != 1 {
				t.Errorf("%q is in the log %d times:\n%s", c.reason, got, n.log)
			}
		})
	}
}

func TestWhoBreaksTheRulesAndLeavesIsNoticedInTheMiddleOfARequest(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(linkOf(t, "h"), []byte("nonsense"))
	hear[messaging.LinkJob](t, n)
	c.conn.Close()
	hear[messaging.ClientGone](t, n)
}

// slowClient reads nothing of a stream that is far too much for the socket, and
// pushed is told how that ended.
func slowClient(t *testing.T, ctx context.Context, n *node) (c *client, stream messaging.Ask, pushed chan error) {
	t.Helper()
	c = n.dial(t)
	c.send(streamOf(t, "h"))
	stream = hear[messaging.StreamJob](t, n).Ask
	pushed = make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		chunk := make([]byte, 64<<10)
		if err := n.Chunk(ctx, stream, "stdout", chunk); err != nil {
			t.Error(err)
		}
		close(begun)
		for range 1000 {
			if err := n.Chunk(ctx, stream, "stdout", chunk); err != nil {
				pushed <- err
				return
			}
		}
		pushed <- nil
	}()
	receive(t, begun)
	return c, stream, pushed
}

func TestAStreamThatNobodyReadsEndsWithItsClient(t *testing.T) {
	n := open(t, Config{})
	c, _, pushed := slowClient(t, t.Context(), n)
	c.conn.Close()
	if err := receive(t, pushed); !errors.Is(err, ErrGone) {
		t.Errorf("pushing ended with %v", err)
	}
	hear[messaging.ClientGone](t, n)
}

// Chunks this small go whole or not at all, so that the connection lives on.
func TestAStreamThatNobodyReadsEndsWithItsContextBetweenChunks(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(streamOf(t, "h"), ping())
	stream := hear[messaging.StreamJob](t, n)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	written := 0
	var err error
	for err == nil {
		if err = n.Chunk(ctx, stream.Ask, "stdout", []byte("x")); err == nil {
			written++
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("pushing ended with %v", err)
	}
	n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.JobStreamed{}})
	for range written {
		c.next()
	}
	c.expect(warden.TypeStream, messaging.JobStreamed{})
	c.pong()
}

func TestAChunkBehindOneThatIsNotReadEndsWithItsContext(t *testing.T) {
	n := open(t, Config{})
	c, stream, pushed := slowClient(t, t.Context(), n)
	writing := n.find(c.number).writing
	for deadline := time.Now().Add(patience); len(writing) == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody writes")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for { // the other one may write on for a while
		err := n.Chunk(ctx, stream, "stderr", []byte("x"))
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c.conn.Close()
	if err := receive(t, pushed); !errors.Is(err, ErrGone) {
		t.Errorf("pushing ended with %v", err)
	}
}

// A chunk that is cut off leaves no place for the next frame.
func TestAChunkThatIsCutOffEndsItsConnection(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(streamOf(t, "h"))
	stream := hear[messaging.StreamJob](t, n)
	ctx, cancel := context.WithCancel(t.Context())
	pushed := make(chan error, 1)
	go func() { pushed <- n.Chunk(ctx, stream.Ask, "stdout", make([]byte, 8<<20)) }()
	if _, err := c.conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := receive(t, pushed); !errors.Is(err, context.Canceled) {
		t.Errorf("pushing ended with %v", err)
	}
	hear[messaging.ClientGone](t, n)
	if rest := c.readAll(); len(rest) > 4<<20 {
		t.Errorf("%d bytes of 8 MiB came", len(rest))
	}
}

func TestAContextThatIsOverWritesNothing(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(streamOf(t, "h"))
	stream := hear[messaging.StreamJob](t, n)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Chunk(ctx, stream.Ask, "stdout", []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.JobStreamed{}})
	c.expect(warden.TypeStream, messaging.JobStreamed{})
}

// The node tells answers one after the other; who doesn't read must not stop it.
func TestAnAnswerThatNobodyReadsHoldsUpNobody(t *testing.T) {
	n := open(t, Config{})
	slow := n.dial(t)
	slow.send(linkOf(t, "h"), ping())
	link := hear[messaging.LinkJob](t, n)
	output := bytes.Repeat([]byte("x"), 8<<20)
	n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{Stdout: output}})
	other := n.dial(t)
	other.send(infoOf(t, "h"))
	asked := hear[messaging.InspectContainer](t, n)
	n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.ContainerInspected{}})
	other.expect(warden.TypeInfo, messaging.ContainerInspected{})
	slow.expect(warden.TypeLink, messaging.JobLinked{Stdout: output})
	slow.pong()
}

func TestAStreamsChunksComeInOrderBeforeItsEnd(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(streamOf(t, "h"), ping())
	stream := hear[messaging.StreamJob](t, n)
	chunks := [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("\xff\x00"), 300<<10), []byte("z")}
	go func() {
		for i, data := range chunks {
			if err := n.Chunk(t.Context(), stream.Ask, []string{"stdout", "stderr"}[i%2], data); err != nil {
				t.Error(err)
			}
		}
		n.Answer(messaging.Answered{Ask: stream.Ask, Answer: messaging.JobStreamed{Status: 0}})
	}()
	for i, data := range chunks {
		m := c.next()
		want := warden.Chunk([]string{"stdout", "stderr"}[i%2], data)
		if got := warden.AppendFrame(nil, m.Type, m.Payload); !bytes.Equal(got, want) {
			t.Fatalf("chunk %d is %.60q, want %.60q", i, got, want)
		}
	}
	c.expect(warden.TypeStream, messaging.JobStreamed{Status: 0})
	c.pong()
}
