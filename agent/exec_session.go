package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/exec"
)

const (
	// lastWords is how long a command's output may be still when the command has
	// ended: who it left behind is hung up, and gone by then.
	lastWords = 3 * time.Second
	// goodbyeMax is how long the last frames may take to the server, and a command
	// that was hung up to its end.
	goodbyeMax = 5 * time.Second
	// endOfInput is what ends input on a terminal: control-D.
	endOfInput = 4
)

// session carries bytes between a client and a command, until either is gone.
type session struct {
	wire     *bus.Session
	process  *box.Session
	log      hclog.Logger
	terminal bool

	exited chan struct{} // closed when the command has
	input  inlet
}

// run returns when nothing of the session is left but what PID 1 still ends.
func (s *session) run(life context.Context) {
	defer s.process.Close()
	defer s.wire.Close()
	ctx, cancel := context.WithCancelCause(life)
	defer cancel(nil)
	s.exited, s.input.more = make(chan struct{}), make(chan struct{}, 1)
	go s.feed(ctx)
	go func() { cancel(s.listen(ctx)) }()
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.speak(ctx)
	}()
	exit, err := s.process.Wait(ctx)
	close(s.exited)
	if err == nil {
		s.hurry()
		select {
		case <-written:
			s.tell(exit)
			return
		case <-ctx.Done():
		}
	}
	// Whoever ended it, the command is not to outlive it.
	s.process.HangUp()
	reason := context.Cause(ctx)
	s.log.Info("a session ended before its command", "reason", reason)
	if errors.Is(reason, errSessionsEnd) {
		s.say(exec.Frame{Failed: new(reason.Error())})
	}
	s.await()
}

// await gives a command that was hung up time to end while this agent looks on.
func (s *session) await() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeMax)
	defer cancel()
	if _, err := s.process.Wait(ctx); err != nil {
		s.log.Warn("a command that was hung up still runs; its init ends it", "error", err)
	}
}

// tell says how the command ended, the last frame of all.
func (s *session) tell(exit isolation.Exit) {
	s.log.Info("a command in an instance has ended", "status", exit.Code, "signal", exit.SignalName(), "lost", exit.Lost)
	if exit.Lost {
		s.say(exec.Frame{Failed: new("the instance's container is gone, and the command with it")})
		return
	}
	frame := exec.Exit{Status: exit.Code}
	if exit.Signal != 0 {
		frame = exec.Exit{Status: 128 + exit.Signal, Signal: exit.SignalName()}
	}
	s.say(exec.Frame{Exit: &frame})
}

// say returns when the server has it, or when that takes too long: there is nobody
// to tell of an error.
func (s *session) say(f exec.Frame) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeMax)
	defer cancel()
	if s.wire.Send(f) == nil {
		_ = s.wire.Flush(ctx)
	}
}

// listen takes the client's frames until the session ends, and says why it did.
func (s *session) listen(ctx context.Context) error {
	for {
		f, err := s.wire.Receive(ctx)
		if err != nil {
			return err
		}
		switch {
		case len(f.Stdin) > 0 || f.End:
			s.input.put(f)
		case f.Window != nil:
			err = s.process.Resize(isolation.Window{Rows: f.Window.Rows, Columns: f.Window.Columns})
		case f.Signal != "":
			err = s.process.Signal(unix.SignalNum("SIG" + f.Signal))
		case f.HangUp:
			return errHungUp
		}
		if err != nil {
			s.log.Debug("what a session's client asked could not be done", "error", err)
		}
	}
}

var errHungUp = errors.New("the client hung up")

// inlet holds input that the command has not read, so that a signal passes it by.
// The window bounds it.
type inlet struct {
	mu     sync.Mutex
	frames []exec.Frame
	more   chan struct{}
}

func (i *inlet) put(f exec.Frame) {
	i.mu.Lock()
	i.frames = append(i.frames, f)
	i.mu.Unlock()
	select {
	case i.more <- struct{}{}:
	default:
	}
}

func (i *inlet) take(ctx context.Context) (exec.Frame, bool) {
	for {
		i.mu.Lock()
		if len(i.frames) > 0 {
			f := i.frames[0]
			i.frames = i.frames[1:]
			i.mu.Unlock()
			return f, true
		}
		i.mu.Unlock()
		select {
		case <-i.more:
		case <-ctx.Done():
			return exec.Frame{}, false
		}
	}
}

// feed writes the client's input to the command. What a command doesn't want that
// has closed its stdin goes nowhere, as with a pipe whose reader is gone.
func (s *session) feed(ctx context.Context) {
	for gone := false; ; {
		f, ok := s.input.take(ctx)
		if !ok {
			return
		}
		if f.End {
			if !s.terminal {
				s.process.Stdin.Close()
				return
			}
			f.Stdin = []byte{endOfInput}
		}
		if !gone {
			_, err := s.process.Stdin.Write(f.Stdin)
			gone = err != nil
		}
		if !f.End {
			s.wire.Took(f)
		}
	}
}

// speak returns when all that the command wrote is on its way.
func (s *session) speak(ctx context.Context) {
	var streams sync.WaitGroup
	streams.Go(func() {
		s.copy(ctx, s.process.Stdout, func(chunk []byte) exec.Frame { return exec.Frame{Stdout: chunk} })
	})
	if s.process.Stderr != nil {
		streams.Go(func() {
			s.copy(ctx, s.process.Stderr, func(chunk []byte) exec.Frame { return exec.Frame{Stderr: chunk} })
		})
	}
	streams.Wait()
}

// copy ends at the end of file (EIO of a terminal), or when nothing more comes
// after the command's end.
func (s *session) copy(ctx context.Context, from *os.File, frame func([]byte) exec.Frame) {
	buffer := make([]byte, exec.ChunkMax)
	for {
		n, err := from.Read(buffer)
		if n > 0 && s.wire.Write(ctx, buffer[:n], frame) != nil {
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, unix.EIO) && !errors.Is(err, os.ErrDeadlineExceeded) {
				s.log.Debug("a command's output can't be read any more", "error", err)
			}
			return
		}
		select {
		case <-s.exited: // the client may have been slow since
			_ = from.SetReadDeadline(time.Now().Add(lastWords))
		default:
		}
	}
}

// hurry bounds what is waited for in reads that are under way.
func (s *session) hurry() {
	for _, from := range []*os.File{s.process.Stdout, s.process.Stderr} {
		if from != nil {
			_ = from.SetReadDeadline(time.Now().Add(lastWords))
		}
	}
}
