package initclient

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

// server is the test in PID 1's place.
type server struct {
	t      *testing.T
	path   string
	socket *os.File
}

func newServer(t *testing.T, path string) *server {
	t.Helper()
	socket, err := Bind(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &server{t, path, socket}
}

func shortPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deacon-initclient-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "init.sock")
}

func (s *server) listen() {
	s.t.Helper()
	if err := unix.Listen(int(s.socket.Fd()), 8); err != nil {
		s.t.Fatal(err)
	}
}

// accept takes one connection and greets it.
func (s *server) accept(hello initproto.Hello) *packet.Conn {
	s.t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.socket.Fd()), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 5000); err != nil {
		s.t.Fatal(err)
	}
	fd, _, err := unix.Accept4(int(s.socket.Fd()), unix.SOCK_CLOEXEC)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := packet.New(fd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.Send(hello.Encode()); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// connect is a client and PID 1's end of its connection.
func connect(t *testing.T, hello initproto.Hello) (*Client, *packet.Conn) {
	t.Helper()
	s := newServer(t, shortPath(t))
	s.listen()
	dialed := make(chan *Client, 1)
	go func() {
		client, err := Dial(t.Context(), s.path)
		if err != nil {
			t.Error(err)
		}
		dialed <- client
	}()
	conn := s.accept(hello)
	client := <-dialed
	if client == nil {
		t.FailNow()
	}
	t.Cleanup(func() { client.Close() })
	return client, conn
}

func TestWhoDoesNotListenIsGone(t *testing.T) {
	path := shortPath(t)
	if _, err := Dial(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a socket: %v", err)
	}
	s := newServer(t, path)
	if _, err := Dial(t.Context(), path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("before PID 1 listens: %v", err)
	}
	s.listen()
	s.socket.Close()
	if _, err := Dial(t.Context(), path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after its end: %v", err)
	}
}

// A state folder may lie deeper than a socket's address has room for.
func TestALongPathIsReachedToo(t *testing.T) {
	dir := filepath.Join(filepath.Dir(shortPath(t)), strings.Repeat("deep/", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, filepath.Join(dir, "init.sock"))
	s.listen()
	dialled := make(chan error, 1)
	go func() {
		client, err := Dial(t.Context(), s.path)
		if err == nil {
			err = client.Close()
		}
		dialled <- err
	}()
	s.accept(initproto.Hello{ID: "x"})
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
}

// Destroying a container is a signal to the process that this names.
func TestTheProcessIsTheOneThatListened(t *testing.T) {
	client, _ := connect(t, initproto.Hello{ID: "abcdefghijk", Epoch: 2})
	if client.PID() != os.Getpid() {
		t.Errorf("pid %d, want %d", client.PID(), os.Getpid())
	}
	if err := unix.PidfdSendSignal(int(client.PIDFD().Fd()), 0, nil, 0); err != nil {
		t.Errorf("the pidfd: %v", err)
	}
	if h := client.Hello(); h.ID != "abcdefghijk" || h.Epoch != 2 {
		t.Errorf("it says that it is %+v", h)
	}
}

func TestAnExitIsToldWhetherItWasBeforeOrAfterTheConnection(t *testing.T) {
	before := initproto.Exit{Job: 1, Code: 3, At: time.Unix(1, 0)}
	after := initproto.Exit{Job: 2, Signal: 9, Code: -1, At: time.Unix(2, 0)}
	client, conn := connect(t, initproto.Hello{Jobs: []initproto.JobState{{Number: 1, Exit: &before}, {Number: 2, PID: 7}}})
	if got, err := client.Wait(t.Context(), 1); err != nil || got != before {
		t.Errorf("before: %+v, %v", got, err)
	}
	go conn.Send(initproto.Exited(after))
	if got, err := client.Wait(t.Context(), 2); err != nil || got != after {
		t.Errorf("after: %+v, %v", got, err)
	}
}

func TestALostConnectionEndsEveryWait(t *testing.T) {
	client, conn := connect(t, initproto.Hello{Version: 1, Jobs: []initproto.JobState{{Number: 1, PID: 7}}})
	ends := make(chan error, 3)
	go func() { _, err := client.Wait(t.Context(), 1); ends <- err }()
	go func() { ends <- client.Stop(t.Context(), time.Second) }()
	go func() { _, err := client.Spawn(t.Context(), initproto.Job{Number: 2}, nil); ends <- err }()
	for range 2 { // the stop and the spawn have been asked for
		if _, _, err := conn.Receive(); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	for range 3 {
		if err := <-ends; !errors.Is(err, ErrLost) {
			t.Errorf("ended with %v", err)
		}
	}
	<-client.Done()
	if !client.Lost() {
		t.Error("it doesn't know that it is lost")
	}
}

func TestAnAnswerThatWasGivenUpIsNotTheNextOnes(t *testing.T) {
	client, conn := connect(t, initproto.Hello{Version: 1, Jobs: []initproto.JobState{{Number: 9, PID: 7}}})
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := client.Spawn(short, initproto.Job{Number: 1}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the first: %v", err)
	}
	if _, _, err := conn.Receive(); err != nil {
		t.Fatal(err)
	}
	late := initproto.Failed{Job: 1, Step: "execute", Text: "too late"}
	exit := initproto.Exit{Job: 9, At: time.Unix(1, 0)}
	conn.Send(late.Encode())
	conn.Send(initproto.Exited(exit)) // comes after, so the answer is there by then
	if _, err := client.Wait(t.Context(), 9); err != nil {
		t.Fatal(err)
	}
	go func() {
		conn.Receive()
		conn.Send(initproto.Started{Number: 2, PID: 5}.Encode(initproto.KindSpawned))
	}()
	if started, err := client.Spawn(t.Context(), initproto.Job{Number: 2}, nil); err != nil || started.Number != 2 {
		t.Errorf("the second: %+v, %v", started, err)
	}
}

// A container may be of an agent that is no more.
func TestAnOldInitIsNotAskedForWhatItDoesNotKnow(t *testing.T) {
	client, conn := connect(t, initproto.Hello{Version: 1})
	more := initproto.Job{Number: 1, Argv: []string{"/x"}, Rlimits: []initproto.Rlimit{{Resource: unix.RLIMIT_CORE}}}
	if _, err := client.Spawn(t.Context(), more, nil); !errors.Is(err, ErrTooOld) {
		t.Errorf("a limit that it doesn't know: %v", err)
	}
	old := initproto.Job{Number: 2, Argv: []string{"/x"}, Rlimits: []initproto.Rlimit{{Resource: unix.RLIMIT_NOFILE, Value: 8}}}
	go func() {
		conn.Receive()
		conn.Send(initproto.Started{Number: 2, PID: 5}.Encode(initproto.KindSpawned))
	}()
	if _, err := client.Spawn(t.Context(), old, nil); err != nil {
		t.Errorf("one that it knows: %v", err)
	}
}

// What PID 1 doesn't tell of is not waited for: its end is on record, or it
// never was.
func TestAJobThatDoesNotRunIsNotWaitedFor(t *testing.T) {
	client, conn := connect(t, initproto.Hello{Jobs: []initproto.JobState{{Number: 1, PID: 7}}})
	if _, err := client.Wait(t.Context(), 2); !errors.Is(err, ErrNotRunning) {
		t.Errorf("error is %v", err)
	}
	if !client.Runs(1) || client.Runs(2) {
		t.Error("it doesn't know which job runs")
	}
	go func() {
		for n := range uint32(initproto.EndedMax) {
			conn.Send(initproto.Exited(initproto.Exit{Job: 100 + n, At: time.Unix(1, 0)}))
		}
		conn.Send(initproto.Exited(initproto.Exit{Job: 1, Code: 3, At: time.Unix(2, 0)}))
	}()
	if exit, err := client.Wait(t.Context(), 1); err != nil || exit.Code != 3 {
		t.Errorf("ended with %+v, %v", exit, err)
	}
	if jobs := client.Jobs(); len(jobs) != initproto.EndedMax || jobs[0].Number != 1 || jobs[1].Number != 101 {
		t.Errorf("%d jobs are known, first %+v", len(jobs), jobs[:2])
	}
	if _, err := client.Wait(t.Context(), 100); !errors.Is(err, ErrNotRunning) {
		t.Errorf("of one that is forgotten: %v", err)
	}
}

func TestARefusalIsInPID1sWords(t *testing.T) {
	client, conn := connect(t, initproto.Hello{Version: 1})
	go func() {
		conn.Receive()
		conn.Send(initproto.Failed{Job: 1, Step: "execute /x", Text: "no such file or directory"}.Encode())
	}()
	_, err := client.Spawn(t.Context(), initproto.Job{Number: 1}, nil)
	if failed, ok := errors.AsType[*FailedError](err); !ok || failed.Step != "execute /x" {
		t.Errorf("error is %v", err)
	}
}

func TestAGreetingThatDoesNotComeEndsWithTheContext(t *testing.T) {
	s := newServer(t, shortPath(t))
	s.listen()
	for what, ctx := range map[string]func() (context.Context, context.CancelFunc){
		"cancelled later": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 20*time.Millisecond)
		},
		"cancelled before": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		},
	} {
		ctx, cancel := ctx()
		begun := time.Now()
		_, err := Dial(ctx, s.path)
		cancel()
		if !errors.Is(err, context.Cause(ctx)) || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v after %s", what, err, time.Since(begun))
		}
	}
}

// A PID 1 that hangs must not hold up an agent that asks.
func TestAFullQueueIsAnErrorAndNoWait(t *testing.T) {
	s := newServer(t, shortPath(t))
	if err := unix.Listen(int(s.socket.Fd()), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var err error
	for range 8 {
		if _, err = Dial(ctx, s.path); errors.Is(err, unix.EAGAIN) {
			return
		}
		// Its place in the queue is kept although it is closed.
	}
	t.Errorf("the last error is %v", err)
}

func TestTheGateTellsDeathFromRefusal(t *testing.T) {
	pid1 := func() (*Gate, *packet.Conn) {
		gate, err := NewGate()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(gate.Close)
		fd, err := unix.FcntlInt(gate.Peer().Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		gate.ClosePeer()
		conn, err := packet.New(fd)
		if err != nil {
			t.Fatal(err)
		}
		return gate, conn
	}
	gate, dead := pid1()
	go func() { dead.Receive(); dead.Close() }()
	if _, err := gate.Open(t.Context(), initproto.Setup{}, nil); !errors.Is(err, ErrAtGate) {
		t.Errorf("dead: %v", err)
	}
	gate, refusing := pid1()
	go func() { refusing.Receive(); refusing.Send(initproto.Failed{Step: "mount /proc", Text: "no"}.Encode()) }()
	if _, err := gate.Open(t.Context(), initproto.Setup{}, nil); err == nil || !strings.Contains(err.Error(), "mount /proc: no") {
		t.Errorf("refused: %v", err)
	}
	gate, _ = pid1()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gate.Open(over, initproto.Setup{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}
