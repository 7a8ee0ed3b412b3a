package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
)

// SessionsFrom is the first number of a session's job. Other jobs are counted
// from 1; a session leaves nothing on disk by which to count, so its number is
// drawn. It is the session's alone only for as long as that lives.
const SessionsFrom = 1 << 31

func isSession(job uint32) bool { return job >= SessionsFrom }

// ErrTooOld says that the container's PID 1 is an older agent's, which knows of
// no sessions. It does when its instance was started anew.
var ErrTooOld = errors.New("the container was made by an older agent, whose init can't do that")

// Session is a job that somebody is connected to. It leaves nothing on disk, and
// ends with this agent's hold on the container.
type Session struct {
	// Stdin, Stdout and Stderr are the agent's ends. With a terminal the first two
	// are one file, and there is no Stderr.
	Stdin, Stdout, Stderr *os.File

	init     *initclient.Client
	job      uint32
	terminal bool
}

// Attach starts a further job in a living container, as Spawn does, and connects
// the caller to it: by a terminal of the container's own where window is given,
// else by three pipes. The job's number is one that the caller has drawn.
func (b *Box) Attach(ctx context.Context, id string, job isolation.Job, window *isolation.Window) (*Session, error) {
	c, err := b.find(ctx, id)
	var s *Session
	if err == nil {
		s, err = b.attach(ctx, c, job, window)
	}
	if errors.Is(err, initclient.ErrTooOld) {
		err = ErrTooOld
	}
	if err != nil {
		return nil, fmt.Errorf("box: attach to %s: %w", id, err)
	}
	return s, nil
}

func (b *Box) attach(
	ctx context.Context, c *container, job isolation.Job, window *isolation.Window,
) (_ *Session, err error) {
	if err := b.whois(c, &job); err != nil {
		return nil, err
	}
	job.Number, job.Discard = job.Number|SessionsFrom, true
	s := &Session{init: c.init, job: job.Number, terminal: window != nil}
	ends, err := s.open(c.init.PID(), b.ownerOf(c.spec, job), window)
	defer closeAll(ends)
	if err == nil {
		// The record of how it ends, and the folder of its output: there is neither.
		var null *os.File
		if null, err = open(os.DevNull, unix.O_RDWR, 0); err == nil {
			defer null.Close()
			ends = append(ends, null, null)
		}
	}
	if err == nil {
		order := b.encodeJob(job)
		order.Session, order.Terminal = true, s.terminal
		_, err = c.init.Spawn(ctx, order, ends)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open makes both ends and returns those of the job: stdin, stdout, stderr.
func (s *Session) open(init, owner int, window *isolation.Window) (theirs []*os.File, err error) {
	if window != nil {
		return s.openTerminal(init, owner, *window)
	}
	for i, ours := range []**os.File{&s.Stdin, &s.Stdout, &s.Stderr} {
		var ends [2]int // to read from, to write to
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return theirs, os.NewSyscallError("pipe2", err)
		}
		if i == 0 {
			ends[0], ends[1] = ends[1], ends[0]
		}
		theirs = append(theirs, os.NewFile(uintptr(ends[1]), "pipe"))
		// Ours is waited for by the poller; the job's blocks, as programs expect.
		err := errors.Join(unix.SetNonblock(ends[0], true), unix.Fchown(ends[1], owner, owner))
		*ours = os.NewFile(uintptr(ends[0]), "pipe")
		if err != nil {
			return theirs, fmt.Errorf("make a pipe: %w", err)
		}
	}
	return theirs, nil
}

// openTerminal opens a terminal in the container's own /dev/pts, so that it has a
// name there, and nowhere else. Its other end is had from the kernel and not by
// that name, which could be another's by then.
func (s *Session) openTerminal(init, owner int, window isolation.Window) ([]*os.File, error) {
	fd, err := s.openMaster(init)
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	s.Stdin = os.NewFile(uintptr(fd), "terminal")
	s.Stdout = s.Stdin
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	if err := s.Resize(window); err != nil {
		return nil, err
	}
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return nil, fmt.Errorf("open the terminal's other end: %w", errno)
	}
	theirs := os.NewFile(peer, "terminal")
	if err := unix.Fchown(int(peer), owner, -1); err != nil {
		theirs.Close()
		return nil, fmt.Errorf("give the terminal to the job: %w", err)
	}
	return []*os.File{theirs, theirs, theirs}, nil
}

// openMaster opens the maker of the container's terminals, once it is known to be
// that: nothing else there is to be opened by this process.
func (s *Session) openMaster(init int) (int, error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(init)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errors.Join(isolation.ErrGone, err)
	}
	defer unix.Close(root)
	// The pid was PID 1's own if that lives now.
	if dead, err := waitDeath(int(s.init.PIDFD().Fd()), 0); err != nil || dead {
		return -1, errors.Join(isolation.ErrGone, err)
	}
	maker, err := unix.Openat2(root, "dev/pts/ptmx", &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(maker)
	var st unix.Stat_t
	if err := unix.Fstat(maker, &st); err != nil {
		return -1, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(5, 2) {
		return -1, errors.New("/dev/pts/ptmx is something else in there")
	}
	return unix.Open("/proc/self/fd/"+strconv.Itoa(maker), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// Resize changes the terminal's size, of which the kernel tells the job (SIGWINCH).
// Without a terminal there is nothing to change.
func (s *Session) Resize(w isolation.Window) error {
	if !s.terminal {
		return nil
	}
	raw, err := s.Stdin.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: w.Rows, Col: w.Columns})
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("set the terminal's size: %w", err)
	}
	return nil
}

// Signal signals the job's process group. That it has ended is no error.
func (s *Session) Signal(signal unix.Signal) error { return s.init.Signal(s.job, uint32(signal)) }

// Wait returns when the job's first process has ended. The exit is lost where PID 1
// died first, or let this agent go.
func (s *Session) Wait(ctx context.Context) (isolation.Exit, error) {
	exit, err := s.init.Wait(ctx, s.job)
	if errors.Is(err, initclient.ErrLost) || errors.Is(err, initclient.ErrNotRunning) {
		return isolation.Exit{Job: s.job, Code: -1, Lost: true}, nil
	}
	return exitOf(exit), err
}

// HangUp has PID 1 end the job and all that it left: SIGHUP, and SIGKILL a moment
// later. Where it can't be told, it does so by itself.
func (s *Session) HangUp() { _ = s.init.HangUp(s.job) }

// Close closes the agent's ends.
func (s *Session) Close() { closeAll([]*os.File{s.Stdin, s.Stdout, s.Stderr}) }
