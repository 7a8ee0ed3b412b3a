package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

// ErrDied says that the launcher ended; another can be started.
var ErrDied = errors.New("launcher: it died")

// Config says what to launch and where the launcher lives.
type Config struct {
	Init string // path of the deacon-init program
	// Join are the tasks files (cgroup v1) of the groups that the launcher and
	// every PID 1 live in, opened for writing; none on v2.
	Join []*os.File
}

// Request is one PID 1 to be cloned. The files stay the caller's.
type Request struct {
	Name    string   // the container's id
	UIDBase uint32   // first of Size user and group ids of the node
	Size    uint32   //
	Gate    *os.File // PID 1's end of the gate
	Cgroup  *os.File // v2: the group it is born in; nil: the launcher's
}

// Born is a PID 1 that waits at its gate.
type Born struct {
	PID   int
	PIDFD *os.File
}

// Launcher is one living launcher process. It is safe for concurrent use.
type Launcher struct {
	process *exec.Cmd
	conn    *packet.Conn
	done    chan struct{}
	sending sync.Mutex
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
}

type answer struct {
	born Born
	err  error
}

// Start runs a launcher from a sealed copy of the program: no container can
// write to what later containers are made from.
func Start(config Config) (*Launcher, error) {
	program, err := seal(config.Init)
	if err != nil {
		return nil, fmt.Errorf("launcher: copy %s: %w", config.Init, err)
	}
	defer program.Close()
	return startProgram(program, config.Join)
}

func startProgram(program *os.File, join []*os.File) (*Launcher, error) {
	conn, peer, err := packet.Pair()
	if err != nil {
		return nil, fmt.Errorf("launcher: %w", err)
	}
	defer peer.Close()
	l := &Launcher{conn: conn, done: make(chan struct{}), waiting: map[uint64]chan answer{}}
	l.process = exec.Command(fmt.Sprintf("/proc/self/fd/%d", program.Fd()), "launcher")
	l.process.Args[0] = "deacon-init"
	l.process.Dir = "/"
	l.process.Env = []string{"GOMAXPROCS=1"}
	l.process.ExtraFiles = []*os.File{peer, program}
	if err := startInside(l.process, join); err != nil {
		conn.Close()
		return nil, fmt.Errorf("launcher: start: %w", err)
	}
	go l.receive()
	return l, nil
}

// seal copies the program into memory and forbids every change to it.
func seal(path string) (*os.File, error) {
	source, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	fd, err := unix.MemfdCreate("deacon-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before 6.3 there is no MFD_EXEC, and none is needed
		fd, err = unix.MemfdCreate("deacon-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	program := os.NewFile(uintptr(fd), "deacon-init")
	if _, err := io.Copy(program, source); err != nil {
		program.Close()
		return nil, err
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(program.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		program.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return program, nil
}

// startInside starts the process from a thread that has joined the groups; the
// child inherits them. The thread is thrown away, because it stays inside.
func startInside(process *exec.Cmd, join []*os.File) error {
	if len(join) == 0 {
		return process.Start()
	}
	done := make(chan error, 1)
	go onThrowaway(func() {
		for _, tasks := range join {
			if _, err := tasks.WriteString("0"); err != nil {
				done <- fmt.Errorf("join %s: %w", tasks.Name(), err)
				return
			}
		}
		done <- process.Start()
	})
	return <-done
}

// onThrowaway runs f on a thread that ends with it. The process's first thread
// can't end: the runtime parks it for ever, and what it joined would never be
// empty again. Where the scheduler gives us that one, it is held while another
// does the work.
func onThrowaway(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f() // and never unlocked
		return
	}
	defer runtime.UnlockOSThread()
	over := make(chan struct{})
	go func() {
		defer close(over)
		onThrowaway(f)
	}()
	<-over
}

// Clone makes one PID 1. It returns when the process exists and waits at its gate.
func (l *Launcher) Clone(ctx context.Context, r Request) (Born, error) {
	sequence, reply := l.expect()
	defer l.forget(sequence)
	message := initproto.Clone{
		Sequence: sequence, Name: r.Name, UIDBase: r.UIDBase, Size: r.Size, InGroup: r.Cgroup != nil,
	}
	files := []*os.File{r.Gate}
	if r.Cgroup != nil {
		files = append(files, r.Cgroup)
	}
	l.sending.Lock()
	err := l.conn.Send(message.Encode(), files...)
	l.sending.Unlock()
	if err != nil {
		l.Close() // it is on its way out, and Done says so before anybody asks for another
		return Born{}, fmt.Errorf("%w: %w", ErrDied, err)
	}
	select {
	case a := <-reply:
		return a.born, a.err
	case <-l.done:
		return Born{}, ErrDied
	case <-ctx.Done():
		return Born{}, fmt.Errorf("launcher: clone %s: %w", r.Name, context.Cause(ctx))
	}
}

func (l *Launcher) expect() (uint64, chan answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	reply := make(chan answer, 1)
	l.waiting[l.next] = reply
	return l.next, reply
}

// forget gives up on an answer. A PID 1 that comes nevertheless finds its gate
// closed and goes away by itself.
func (l *Launcher) forget(sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, sequence)
}

func (l *Launcher) receive() {
	defer close(l.done)
	defer l.process.Wait()
	defer l.conn.Close()
	for {
		message, files, err := l.conn.Receive()
		if err != nil {
			return
		}
		cloned, err := initproto.DecodeCloned(message)
		if err != nil {
			return
		}
		l.deliver(cloned, files)
	}
}

func (l *Launcher) deliver(cloned initproto.Cloned, files []*os.File) {
	var a answer
	switch {
	case cloned.Error != "":
		a.err = fmt.Errorf("launcher: %s", cloned.Error)
	case len(files) != 1:
		a.err = errors.New("launcher: the answer has no pidfd")
	default:
		a.born = Born{PID: int(cloned.PID), PIDFD: files[0]}
	}
	l.mu.Lock()
	reply, wanted := l.waiting[cloned.Sequence]
	l.mu.Unlock()
	if !wanted {
		for _, file := range files {
			file.Close()
		}
		return
	}
	reply <- a
}

// PID is the launcher's process.
func (l *Launcher) PID() int { return l.process.Process.Pid }

// Done is closed when the launcher has ended.
func (l *Launcher) Done() <-chan struct{} { return l.done }

// Close ends the launcher and waits for its end.
func (l *Launcher) Close() error {
	l.conn.Close()
	<-l.done
	return nil
}
