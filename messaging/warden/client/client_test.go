package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRequestsGoOutBeforeAnswersCome has a peer that says nothing until it has
// heard three requests.
func TestRequestsGoOutBeforeAnswersCome(t *testing.T) {
	three := bytes.Join([][]byte{frame(93, str(1, "a")), frame(13, str(1, "b")), frame(93, str(1, "c"))}, nil)
	answers := bytes.Join([][]byte{frame(93, str(1, "a")), refusal("unknown handle"), frame(93, str(1, "c"))}, nil)
	c := converse(t, turn{three, answers})
	var pending []*Pending
	for _, request := range []proto.Message{
		&protocol.EchoRequest{Message: new("a")}, &protocol.DestroyRequest{Handle: new("b")}, &protocol.EchoRequest{Message: new("c")},
	} {
		p, err := c.Start(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	last, err := pending[2].Wait(t.Context())
	if err != nil || last.(*protocol.EchoResponse).GetMessage() != "c" {
		t.Errorf("third: %v, %v", last, err)
	}
	if _, err := pending[1].Wait(t.Context()); fmt.Sprint(err) != "unknown handle" {
		t.Errorf("second: %v", err)
	}
	first, err := pending[0].Wait(t.Context())
	if err != nil || first.(*protocol.EchoResponse).GetMessage() != "a" {
		t.Errorf("first: %v, %v", first, err)
	}
}

func TestManyMayCallAtOnce(t *testing.T) {
	c := dial(t, serveEcho)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for j := range 50 {
				text := fmt.Sprint(i, " ", j)
				if got, err := c.Echo(t.Context(), text); err != nil || got != text {
					t.Errorf("got %q, %v; want %q", got, err, text)
				}
			}
		})
	}
	group.Wait()
}

func TestAServerThatHangsUpIsDistinctFromOneThatRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		say   []byte
		cause error
	}{
		"between answers":  {nil, io.EOF},
		"within an answer": {frame(91)[:5], io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			c := converse(t, turn{frame(91), test.say})
			err := c.Ping(t.Context())
			gone, ok := errors.AsType[*DisconnectedError](err)
			if !ok || !gone.Sent || !errors.Is(err, test.cause) {
				t.Fatalf("got %#v", err)
			}
			<-c.Done()
			err = c.Ping(t.Context())
			if gone, ok := errors.AsType[*DisconnectedError](err); !ok || gone.Sent {
				t.Errorf("afterwards: %#v", err)
			}
		})
	}
}

func TestReconnectServesAgain(t *testing.T) {
	var connections atomic.Int32
	c := dial(t, func(conn net.Conn) {
		if connections.Add(1) > 1 {
			serveEcho(conn)
		}
	})
	<-c.Done()
	if err := c.Reconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReconnectFreesWhoWaits(t *testing.T) {
	heard := make(chan struct{})
	var connections atomic.Int32
	c := dial(t, func(conn net.Conn) {
		if connections.Add(1) > 1 {
			serveEcho(conn)
			return
		}
		takeTurns(t, conn, turn{frame(22, str(1, "h"), num(2, 1)), nil})
		close(heard)
		io.Copy(io.Discard, conn)
	})
	waited := make(chan error, 1)
	go func() {
		_, err := c.Link(t.Context(), "h", 1)
		waited <- err
	}()
	<-heard
	if err := c.Reconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; !errors.Is(err, net.ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNobodyThereIsAnErrorWithTheAddress(t *testing.T) {
	path := t.TempDir() + "/none.sock"
	if _, err := Dial(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestTCPIsSpokenToo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			serveEcho(conn)
			conn.Close()
		}
	}()
	c, err := Dial(t.Context(), "tcp://"+listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestACallThatIsLeftDropsItsAnswerOnly ends a link's context; the ping behind
// it gets its own answer, once the link's has come.
func TestACallThatIsLeftDropsItsAnswerOnly(t *testing.T) {
	heard, goOn := make(chan struct{}), make(chan struct{})
	c := dial(t, func(conn net.Conn) {
		takeTurns(t, conn, turn{frame(22, str(1, "h"), num(2, 1)), nil})
		close(heard)
		<-goOn
		takeTurns(t, conn, turn{frame(91), append(frame(22, num(1, 3)), frame(91)...)})
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-heard
		cancel()
	}()
	if _, err := c.Link(ctx, "h", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("link: %v", err)
	}
	close(goOn)
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestAWriteThatIsLeftEndsTheConnection(t *testing.T) {
	hold := make(chan struct{})
	c := dial(t, func(net.Conn) { <-hold }) // reads nothing
	defer close(hold)
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() {
		_, err := c.Echo(ctx, strings.Repeat("x", 16<<20))
		written <- err
	}()
	cancel()
	if err := <-written; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnAnswerThatWasNotAskedForEndsTheConnection(t *testing.T) {
	for name, say := range map[string][]byte{
		"another type":     frame(92),
		"no frame":         []byte("hello\r\n"),
		"no protobuf":      frame(91, []byte{0x0a}),
		"a field is wrong": frame(93, num(1, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, func(conn net.Conn) {
				if _, err := hear(bufio.NewReader(conn)); err == nil {
					conn.Write(say)
					io.Copy(io.Discard, conn)
				}
			})
			if _, err := c.Echo(t.Context(), ""); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %v", err)
			}
			<-c.Done()
		})
	}
	unasked := dial(t, func(conn net.Conn) {
		conn.Write(frame(91))
		io.Copy(io.Discard, conn)
	})
	<-unasked.Done()
}

func BenchmarkPing(b *testing.B) {
	path := b.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go serveEcho(conn)
		}
	}()
	c, err := Dial(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for name, at := range map[string]int{"one": 1, "sixteen": 16} {
		b.Run(name+" at a time", func(b *testing.B) {
			b.SetParallelism(at)
			if at == 1 {
				for b.Loop() {
					if err := c.Ping(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := c.Ping(b.Context()); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
