package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// through returns both ends of a connection that a line lies between.
func through(t *testing.T, l *Line) (near, far net.Conn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	near, err = l.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if far, err = server.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

const awhile = 10 * time.Second // far more than anything here takes

func send(t *testing.T, to net.Conn, count int) {
	t.Helper()
	for i := range count {
		if _, err := fmt.Fprintf(to, "PUB a 2\r\n%02d\r\n", i); err != nil {
			t.Fatal(err)
		}
	}
}

// receive reads messages and returns their payloads.
func receive(t *testing.T, from *bufio.Reader, count int) (got []string) {
	t.Helper()
	u := &unitReader{r: from}
	for range count {
		unit, message, err := u.next()
		if err != nil || !message {
			t.Fatalf("after %v: %q, %v", got, unit, err)
		}
		got = append(got, string(unit[len("PUB a 2\r\n"):len(unit)-2]))
	}
	return got
}

func TestALineWithoutRulesChangesNothing(t *testing.T) {
	near, far := through(t, NewLine())
	far.SetDeadline(time.Now().Add(awhile))
	send(t, near, 50)
	got := receive(t, bufio.NewReader(far), 50)
	if !slices.IsSorted(got) || len(slices.Compact(got)) != 50 {
		t.Errorf("received %v", got)
	}
	far.Close()
	near.SetDeadline(time.Now().Add(awhile))
	if _, err := near.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the end of the other side is not noticed: %v", err)
	}
}

func TestAHeldLinePassesEverythingLater(t *testing.T) {
	l := NewLine()
	near, far := through(t, l)
	l.set(func(r *rules) { r.held = true })
	send(t, near, 20)
	far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes passed, %v", n, err)
	}
	far.SetDeadline(time.Now().Add(awhile))
	l.set(func(r *rules) { r.held = false })
	if got := receive(t, bufio.NewReader(far), 20); !slices.IsSorted(got) {
		t.Errorf("received %v", got)
	}
}

// A delay is of each message, and not of one after the other.
func TestASlowLineDelaysAllAlike(t *testing.T) {
	l := NewLine()
	near, far := through(t, l)
	const delay = 150 * time.Millisecond
	l.set(func(r *rules) { r.delay = delay })
	began := time.Now()
	send(t, near, 20)
	far.SetDeadline(time.Now().Add(awhile))
	receive(t, bufio.NewReader(far), 20)
	if took := time.Since(began); took < delay || took > 10*delay {
		t.Errorf("twenty messages took %s", took)
	}
}

func TestMessagesComeTwiceAndOutOfOrder(t *testing.T) {
	l := NewLine()
	near, far := through(t, l)
	far.SetDeadline(time.Now().Add(awhile))
	reader := bufio.NewReader(far)
	l.set(func(r *rules) { r.repeated, r.rng = 1, random(1) })
	send(t, near, 3)
	if got := receive(t, reader, 6); !slices.Equal(got, []string{"00", "00", "01", "01", "02", "02"}) {
		t.Errorf("received %v", got)
	}
	l.set(func(r *rules) { r.repeated, r.swapped, r.held = 0, 1, true })
	send(t, near, 4)
	l.set(func(r *rules) { r.held = false })
	got := receive(t, reader, 4)
	if slices.IsSorted(got) {
		t.Errorf("nothing changed places: %v", got)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"00", "01", "02", "03"}) {
		t.Errorf("received %v", got)
	}
}

func TestARefusedLineHasNoConnections(t *testing.T) {
	n := &Node{Line: NewLine()}
	near, _ := through(t, n.Line)
	done := n.onLine("", func(r *rules) { r.refused = true }, func(r *rules) { r.refused = false })
	done.Begin()
	near.SetDeadline(time.Now().Add(awhile))
	if _, err := near.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives on: %v", err)
	}
	if _, err := n.Line.Dial("tcp", "127.0.0.1:1"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	if err := done.Heal(context.Background()); err != nil {
		t.Error(err)
	}
	through(t, n.Line)
}

// As if the server were killed: also what a partition holds back breaks.
func TestARefusedLineEndsAConnectionThatIsHeld(t *testing.T) {
	n := &Node{Line: NewLine()}
	near, far := through(t, n.Line)
	n.Line.set(func(r *rules) { r.held = true })
	send(t, near, 3)
	send(t, far, 3)
	n.onLine("", func(r *rules) { r.refused = true }, nil).Begin()
	near.SetReadDeadline(time.Now().Add(awhile))
	if _, err := near.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives on: %v", err)
	}
}

// Whoever was about to connect when the line broke must not get through.
func TestAConnectionThatComesAfterTheEndIsNone(t *testing.T) {
	l := NewLine()
	l.set(func(r *rules) { r.refused = true })
	if l.join(&wire{}) {
		t.Error("it is one of the line's")
	}
}

func TestNothingIsLeftOfConnectionsThatEnded(t *testing.T) {
	l := NewLine()
	before := runtime.NumGoroutine()
	for range 10 {
		near, far := through(t, l)
		send(t, near, 3)
		near.Close()
		far.Close()
	}
	for deadline := time.Now().Add(awhile); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		open := len(l.open)
		l.mu.Unlock()
		if open == 0 && runtime.NumGoroutine() <= before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections, %d goroutines and %d before", open, runtime.NumGoroutine(), before)
		}
	}
}
