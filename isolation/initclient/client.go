package initclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

// answerMax is how long PID 1 may take to answer anything but a stop.
const answerMax = 10 * time.Second

var (
	// ErrLost says that the connection to PID 1 ended; whether PID 1 did is
	// another question, which Dial answers.
	ErrLost = errors.New("init: the connection is lost")
	// ErrNotRunning says that PID 1 runs no such job, and that how one ended is
	// on record if it ever did.
	ErrNotRunning = errors.New("init: it runs no such job")
	// ErrTooOld says that PID 1 was started by an older agent, and doesn't know
	// what it is asked for.
	ErrTooOld = errors.New("init: the container's init is too old")
	// ErrTooNew says that PID 1 was started by a newer agent, and that one of this
	// version could do harm: it lives, and is to be left alone.
	ErrTooNew = errors.New("init: the container's init is too new")
)

// Client is one connection to a PID 1. It is safe for concurrent use.
type Client struct {
	conn  *packet.Conn
	hello initproto.Hello
	pidfd *os.File
	pid   int

	asking sync.Mutex    // one Spawn at a time: answers come in order
	reply  chan []byte   // to a Spawn
	lost   chan struct{} // closed when the connection is over

	mu      sync.Mutex
	asked   uint32 // the job that a Spawn waits for
	running map[uint32]*running
	lately  []initproto.Exit // of those that ran, the last
	changed chan struct{}    // closed and made anew at every stop
	stops   int              // how many Stopped came
}

// running is a job that PID 1 is known to run.
type running struct {
	pid  uint32
	exit initproto.Exit
	over chan struct{} // closed once exit is there
}

// Bind makes the socket that a PID 1 is to listen on. It must be PID 1 who
// calls listen: whoever connects is told by the kernel that the peer is the
// process that did, and acts on that.
func Bind(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	err = atShortPath(path, func(short string) error { return unix.Bind(fd, &unix.SockaddrUnix{Name: short}) })
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("init: bind %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// atShortPath calls f with a path to the same file that fits into a socket
// address, which has room for 108 bytes: a state folder may lie deeper.
func atShortPath(path string, f func(short string) error) error {
	const room = 107
	if len(path) <= room {
		return f(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir, filepath.Base(path)))
}

// Dial connects to the PID 1 that listens at path and hears its greeting.
// Nobody listening is unix.ECONNREFUSED, no socket fs.ErrNotExist: PID 1 is gone.
func Dial(ctx context.Context, path string) (*Client, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Without waiting: a PID 1 that accepts nobody is not going to.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	err = atShortPath(path, func(short string) error { return unix.Connect(fd, &unix.SockaddrUnix{Name: short}) })
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("init: connect to %s: %w", path, err)
	}
	conn, err := packet.New(fd)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	c := &Client{conn: conn, reply: make(chan []byte, 1), lost: make(chan struct{}),
		running: map[uint32]*running{}, changed: make(chan struct{})}
	if err := c.greet(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("init: %s: %w", path, err)
	}
	go c.receive()
	return c, nil
}

func (c *Client) greet(ctx context.Context) error {
	c.conn.SetDeadline(time.Now().Add(answerMax))
	stop := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
	message, _, err := c.conn.Receive()
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for the greeting: %w", errors.Join(err, context.Cause(ctx)))
	}
	c.conn.SetDeadline(time.Time{})
	if c.hello, err = initproto.DecodeHello(message); err != nil {
		return err
	}
	if c.hello.Needs > initproto.Version {
		return fmt.Errorf("%w: it speaks version %d of the protocol and needs an agent that speaks %d, this one speaks %d; "+
			"start the newer agent again", ErrTooNew, c.hello.Version, c.hello.Needs, initproto.Version)
	}
	for _, job := range c.hello.Jobs {
		if job.Exit != nil {
			c.ended(*job.Exit)
		} else {
			c.runs(job.Number, job.PID)
		}
	}
	return c.identify()
}

// identify takes hold of PID 1 itself. Its pid comes from the living
// connection, and the pidfd from the kernel where it can (6.5); else the
// connection proves afterwards that the pid was not given to another.
func (c *Client) identify() (err error) {
	controlled := c.conn.Control(func(fd int) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		c.pid = int(cred.Pid)
		pidfd, failed := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if failed != nil {
			pidfd, err = openPeer(fd, c.pid)
		}
		if err == nil {
			c.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
		}
	})
	return errors.Join(controlled, err)
}

// openPeer is SO_PEERPIDFD for older kernels. A pid is free for others only
// after its process has closed its files: while the connection stands, whoever
// was opened is still the peer.
func openPeer(fd, pid int) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, ErrLost
	}
	if err != nil {
		return -1, os.NewSyscallError("pidfd_open", err)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	_, err = unix.Poll(fds, 0)
	if err == nil && fds[0].Revents != 0 {
		err = ErrLost
	}
	if err != nil {
		unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}

func (c *Client) receive() {
	defer close(c.lost)
	for {
		message, _, err := c.conn.Receive()
		if err != nil {
			return
		}
		kind, err := initproto.KindOf(message)
		if err != nil {
			return
		}
		switch kind {
		case initproto.KindExited:
			if exit, err := initproto.DecodeExited(message); err == nil {
				c.ended(exit)
			}
		case initproto.KindStopped:
			c.stopped()
		case initproto.KindSpawned, initproto.KindFailed:
			c.answered(message)
		}
	}
}

// answered takes the answer to a Spawn: one that was given up is answered all
// the same, and the end of its job may be the next message.
func (c *Client) answered(message []byte) {
	failed, err := initproto.DecodeFailed(message)
	number := failed.Job
	if err != nil {
		started, err := initproto.DecodeStarted(message, initproto.KindSpawned)
		if err != nil {
			return
		}
		number = started.Number
		c.runs(number, started.PID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == number {
		c.asked = 0
		c.reply <- message
	}
}

// ask says which job's answer is waited for, and forgets another's. 0: none.
func (c *Client) ask(job uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = job
	select {
	case <-c.reply:
	default:
	}
}

func (c *Client) runs(job, pid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[job] = &running{pid: pid, over: make(chan struct{})}
}

func (c *Client) ended(exit initproto.Exit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lately) == initproto.EndedMax {
		c.lately = append(c.lately[:0], c.lately[1:]...)
	}
	c.lately = append(c.lately, exit)
	if r := c.running[exit.Job]; r != nil {
		delete(c.running, exit.Job)
		r.exit = exit
		close(r.over)
	}
}

func (c *Client) stopped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stops++
	close(c.changed)
	c.changed = make(chan struct{})
}

// Jobs are those that run, and the last of those that did.
func (c *Client) Jobs() []initproto.JobState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var jobs []initproto.JobState
	for number, r := range c.running {
		jobs = append(jobs, initproto.JobState{Number: number, PID: r.pid})
	}
	for _, exit := range c.lately {
		jobs = append(jobs, initproto.JobState{Number: exit.Job, Exit: &exit})
	}
	slices.SortFunc(jobs, func(a, b initproto.JobState) int { return cmp.Compare(a.Number, b.Number) })
	return jobs
}

// Runs says whether PID 1 runs the job.
func (c *Client) Runs(job uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[job] != nil
}

// Hello is what PID 1 said of itself when this connection began.
func (c *Client) Hello() initproto.Hello { return c.hello }

// PID is PID 1's pid on the node, as it was when the connection began.
func (c *Client) PID() int { return c.pid }

// PIDFD is a hold on PID 1 that no other process can get into. It is the
// client's, until Close.
func (c *Client) PIDFD() *os.File { return c.pidfd }

// Spawn starts a job. files are stdin, stdout, stderr, the exit record and the
// folder of the output files; they stay the caller's. A FailedError and
// ErrTooOld say that it was not started; with any other error it may have been.
func (c *Client) Spawn(ctx context.Context, job initproto.Job, files []*os.File) (initproto.Started, error) {
	if c.hello.Version < job.Since() {
		return initproto.Started{}, fmt.Errorf("%w: it speaks version %d of the protocol, the job needs %d",
			ErrTooOld, c.hello.Version, job.Since())
	}
	c.asking.Lock()
	defer c.asking.Unlock()
	c.ask(job.Number)
	defer c.ask(0)
	if err := c.conn.Send(initproto.Spawn{Job: job}.Encode(), files...); err != nil {
		return initproto.Started{}, fmt.Errorf("init: spawn: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	select {
	case message := <-c.reply:
		if failed, err := initproto.DecodeFailed(message); err == nil {
			return initproto.Started{}, &FailedError{failed.Step, failed.Text}
		}
		return initproto.DecodeStarted(message, initproto.KindSpawned)
	case <-c.lost:
		return initproto.Started{}, ErrLost
	case <-ctx.Done():
		return initproto.Started{}, fmt.Errorf("init: spawn: %w", context.Cause(ctx))
	}
}

// Stop asks PID 1 to end every job and returns when no process but PID 1 is left.
func (c *Client) Stop(ctx context.Context, grace time.Duration) error {
	c.mu.Lock()
	before := c.stops
	c.mu.Unlock()
	message := initproto.Stop{GraceMillis: uint64(max(grace, 0).Milliseconds())}
	if err := c.conn.Send(message.Encode()); err != nil {
		return fmt.Errorf("init: stop: %w", errors.Join(ErrLost, err))
	}
	for {
		c.mu.Lock()
		done, changed := c.stops > before, c.changed
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-c.lost:
			return ErrLost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Wait returns when the job has ended, how it did. It knows those that run, and
// the last of those that did.
func (c *Client) Wait(ctx context.Context, job uint32) (initproto.Exit, error) {
	c.mu.Lock()
	r := c.running[job]
	for _, exit := range slices.Backward(c.lately) {
		if r == nil && exit.Job == job {
			c.mu.Unlock()
			return exit, nil
		}
	}
	c.mu.Unlock()
	if r == nil {
		return initproto.Exit{}, ErrNotRunning
	}
	select {
	case <-r.over:
		return r.exit, nil
	case <-ctx.Done():
		return initproto.Exit{}, context.Cause(ctx)
	case <-c.lost:
	}
	select {
	case <-r.over: // before the connection was
		return r.exit, nil
	default:
		return initproto.Exit{}, ErrLost
	}
}

// Close gives the connection up. PID 1 and its jobs are not touched.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.lost
	return errors.Join(err, c.pidfd.Close())
}

// Done is closed when the connection is over.
func (c *Client) Done() <-chan struct{} { return c.lost }

// Lost says whether the connection is over.
func (c *Client) Lost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}
