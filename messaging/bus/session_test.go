package bus

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging/exec"
)

// pair is both ends of a session over a real server.
func pair(t *testing.T) (here, there *Session, server *nats.Conn) {
	t.Helper()
	url := startServer(t, nil).url
	ends := make([]*Session, 2)
	subjects := []string{"to.here", "to.there"}
	for i := range ends {
		conn, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		if ends[i], err = openSession(conn, subjects[1-i], subjects[i]); err != nil {
			t.Fatal(err)
		}
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return ends[0], ends[1], conn
}

func stdin(chunk []byte) exec.Frame { return exec.Frame{Stdin: chunk} }

// Who sends waits for who takes: nothing is lost, and no more than the window is
// ever under way.
func TestASessionSendsNoFasterThanIsTaken(t *testing.T) {
	here, there, _ := pair(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	written := make(chan error, 1)
	go func() { written <- here.Write(t.Context(), data, stdin) }()
	select {
	case err := <-written:
		t.Fatalf("four windows were written and none was taken: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	there.mu.Lock()
	waiting := there.untaken
	there.mu.Unlock()
	if waiting == 0 || waiting > exec.Window {
		t.Errorf("%d bytes wait, the window is %d", waiting, exec.Window)
	}
	var got []byte
	for len(got) < len(data) {
		f, err := there.Receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Stdin...)
		there.Took(f)
	}
	if err := <-written; err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came of %d, or others: %v", len(got), len(data), err)
	}
}

// Short frames count for more than their bytes: the window bounds how many wait.
func TestTheWindowBoundsShortFramesToo(t *testing.T) {
	here, there, _ := pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	n := 0
	for ; here.Write(ctx, []byte("x"), stdin) == nil; n++ {
	}
	there.mu.Lock()
	defer there.mu.Unlock()
	if most := exec.Window / (exec.FrameCost + 1); n != most || len(there.queue) > most {
		t.Errorf("%d frames were sent and %d wait, want %d", n, len(there.queue), most)
	}
}

func TestASessionEndsWhenItCantBeTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		bodies []string
		want   error
	}{
		"a gap":              {[]string{`{"number":2}`}, ErrTorn},
		"a repetition":       {[]string{`{"number":1}`, `{"number":1}`}, ErrTorn},
		"nonsense":           {[]string{`nonsense`}, ErrBroken},
		"credit for nothing": {[]string{`{"number":1,"took":1}`}, ErrBroken},
	} {
		here, _, conn := pair(t)
		for _, body := range c.bodies {
			conn.Publish("to.here", []byte(body))
		}
		conn.Flush()
		if _, err := here.Receive(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err := here.Send(exec.Frame{}); !errors.Is(err, c.want) {
			t.Errorf("%s: sending says %v", name, err)
		}
	}
}

// A flood of frames that cost nothing ends the session, and no memory with it.
func TestAFloodOfOrdersEndsASession(t *testing.T) {
	here, there, _ := pair(t)
	for range exec.PendingMax + 2 {
		if here.Send(exec.Frame{Signal: "INT"}) != nil {
			break
		}
	}
	<-there.Over()
	if there.err == nil || !errors.Is(there.err, ErrBroken) {
		t.Errorf("it ended with %v", there.err)
	}
}

// The server says at once when nobody listens at the other end any more.
func TestASessionNoticesThatTheOtherEndIsGone(t *testing.T) {
	here, there, _ := pair(t)
	there.conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { // the server may not have noticed yet
		for here.Send(exec.Frame{}) == nil && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if _, err := here.Receive(ctx); !errors.Is(err, ErrVanished) {
		t.Errorf("it ended with %v, want %v", err, ErrVanished)
	}
}

// What came before the end is received before the end is.
func TestTheLastWordsOfASessionAreHeard(t *testing.T) {
	here, there, _ := pair(t)
	status := 7
	here.Send(exec.Frame{Stdout: []byte("last")})
	here.Send(exec.Frame{Exit: &exec.Exit{Status: status}})
	if err := here.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	there.conn.Flush()
	there.end(ErrVanished)
	f, err := there.Receive(t.Context())
	if err != nil || string(f.Stdout) != "last" {
		t.Fatalf("%+v, %v", f, err)
	}
	if f, err = there.Receive(t.Context()); err != nil || f.Exit == nil || f.Exit.Status != status {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err = there.Receive(t.Context()); !errors.Is(err, ErrVanished) {
		t.Error(err)
	}
}
