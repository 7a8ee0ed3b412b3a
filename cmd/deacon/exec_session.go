package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/exec"
)

// interruptsMax is how often somebody types Ctrl-C who wants no more of it.
const interruptsMax = 3

// passedOnSignals are those that the command gets in deacon's stead.
var passedOnSignals = map[os.Signal]string{
	syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGQUIT: "QUIT",
	syscall.SIGUSR1: "USR1", syscall.SIGUSR2: "USR2",
}

// remote is a command that runs elsewhere, as this end has it.
type remote struct {
	wire      *bus.Session
	terminal  bool
	noInput   bool
	out, errs io.Writer
}

// run returns the command's status as a scriptStatus, or why there is none.
func (r *remote) run(ctx context.Context) error {
	// What would end other commands is the remote one's to answer.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGHUP, syscall.SIGWINCH)
	defer signal.Stop(signals)
	if r.terminal && isTerminal(os.Stdin) {
		before, err := term.MakeRaw(int(os.Stdin.Fd()))
		if err != nil {
			return fmt.Errorf("make the terminal raw: %w", err)
		}
		defer term.Restore(int(os.Stdin.Fd()), before)
	}
	go r.heed(ctx, cancel, signals)
	go r.read(ctx)
	return r.show(ctx)
}

// heed passes signals on until the session is over.
func (r *remote) heed(ctx context.Context, cancel context.CancelCauseFunc, signals <-chan os.Signal) {
	for interrupts := 0; ; {
		var got os.Signal
		select {
		case got = <-signals:
		case <-ctx.Done():
			return
		}
		if got == syscall.SIGINT {
			interrupts++
		}
		switch {
		case got == syscall.SIGHUP || interrupts >= interruptsMax:
			r.wire.Send(exec.Frame{HangUp: true}) // the node notices anyhow
			_ = r.wire.Flush(ctx)
			cancel(context.Canceled)
			return
		case got == syscall.SIGWINCH:
			if size, ok := windowSize(); ok && r.terminal {
				r.wire.Send(exec.Frame{Window: &size})
			}
		default:
			r.wire.Send(exec.Frame{Signal: passedOnSignals[got]})
		}
	}
}

// read sends what comes in here, as fast as it is read there.
func (r *remote) read(ctx context.Context) {
	buffer := make([]byte, exec.ChunkMax)
	for !r.noInput {
		n, err := os.Stdin.Read(buffer)
		if r.wire.Write(ctx, buffer[:n], func(chunk []byte) exec.Frame { return exec.Frame{Stdin: chunk} }) != nil {
			return // the session is over, and show says why
		}
		if err != nil {
			break
		}
	}
	r.wire.Send(exec.Frame{End: true})
}

// show writes what comes from there, until the last word.
func (r *remote) show(ctx context.Context) error {
	for {
		f, err := r.wire.Receive(ctx)
		if err != nil {
			return r.cutOff(ctx, err)
		}
		switch {
		case f.Exit != nil && f.Exit.Status == 0:
			return nil
		case f.Exit != nil:
			return scriptStatus(f.Exit.Status)
		case f.Failed != nil:
			return fail(exitFailed, "", "the command was ended: %s", plain(*f.Failed))
		}
		for _, part := range []struct {
			to   io.Writer
			data []byte
		}{{r.out, f.Stdout}, {r.errs, f.Stderr}} {
			if len(part.data) == 0 {
				continue
			}
			if _, err := part.to.Write(part.data); err != nil {
				// Nobody reads it any more: as with a pipe, that ends who writes.
				r.wire.Send(exec.Frame{HangUp: true})
				_ = r.wire.Flush(ctx)
				return fmt.Errorf("write what the command said: %w", err)
			}
		}
		r.wire.Took(f)
	}
}

func (r *remote) cutOff(ctx context.Context, err error) error {
	const remedy = "the node ends the command (SIGHUP, then SIGKILL); the application is not touched"
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, bus.ErrVanished):
		return fail(exitUnreachable, remedy, "the node's agent is gone, and the session with it: %w", err)
	default:
		return fail(exitUnreachable, remedy, "the session was cut off: %w", err)
	}
}
