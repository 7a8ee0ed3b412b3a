package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/peterh/liner"

	"github.com/deacon-agent/deacon/messaging/warden/client"
)

const wardenPrompt = "warden> "

// renewMax is how long a person who typed Ctrl-C waits for the server.
const renewMax = time.Second

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// fileLines are commands from a file or a pipe.
type fileLines struct{ from *bufio.Reader }

func newFileLines(from io.Reader) fileLines { return fileLines{bufio.NewReader(from)} }

// next is the next line; the last need not end with a newline.
func (l fileLines) next() (string, error) {
	line, err := l.from.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", err
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// terminalLines are commands from a person. The line editor is peterh/liner: it
// is small and kept, has history, its search and completion, and leaves the
// terminal's own ways alone while a command runs.
type terminalLines struct {
	editor  *liner.State
	history history
}

// typed is what a prompt gave.
type typed struct {
	line string
	err  error
}

// next waits for a line; io.EOF is Ctrl-D, or ctx's end.
func (l terminalLines) next(ctx context.Context) (string, error) {
	if ctx.Err() != nil { // a prompt would change the terminal once more
		return "", io.EOF
	}
	got := make(chan typed, 1)
	go func() {
		line, err := l.editor.Prompt(wardenPrompt)
		got <- typed{line, err}
	}()
	select {
	case t := <-got:
		return t.line, t.err
	case <-ctx.Done():
		return "", io.EOF
	}
}

// converseOnTerminal is the shell. Ctrl-C takes back a line, or leaves a
// command; Ctrl-D, exit and SIGTERM end it.
func (w *wardenShell) converseOnTerminal(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt) // for good, so that between commands it does no harm
	defer signal.Stop(interrupts)

	lines := terminalLines{editor: liner.NewLiner(), history: openHistory()}
	defer lines.editor.Close()
	for _, line := range lines.history.lines {
		lines.editor.AppendHistory(line)
	}
	lines.editor.SetTabCompletionStyle(liner.TabPrints)
	lines.editor.SetWordCompleter(completer{w.handlesNow}.complete)
	w.atPrompt = !w.exitOnError // an error ends the shell then, and its remedy is for who comes after
	for {
		line, err := lines.next(ctx)
		if err != nil {
			return ignoreEOF(err)
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		lines.editor.AppendHistory(line)
		if err := lines.history.add(line); err != nil {
			w.note("warning: what you type isn't kept for the next time: %v", err)
			lines.history.path = "" // one warning is enough
		}
		if endsSession(line) {
			return nil
		}
		if err := w.performInterruptibly(ctx, interrupts, line); err != nil {
			if w.exitOnError {
				return err
			}
			w.complain(err)
		}
	}
}

// performInterruptibly does a line, and leaves it at Ctrl-C. What the server was
// asked it will answer, so the connection is of no use until it has: a new one
// takes its place.
func (w *wardenShell) performInterruptibly(all context.Context, interrupts <-chan os.Signal, line string) error {
	ctx, cancel := context.WithCancel(all)
	defer cancel()
	select {
	case <-interrupts: // of before
	default:
	}
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := w.performLine(ctx, line)
	if ctx.Err() != nil && w.client != nil {
		w.renew(all)
	}
	return err
}

// renew changes the connection for a new one. The server must know of that
// before the old one is closed, or it finds everybody gone and may destroy what
// nobody knows any more: so it is asked something first.
func (w *wardenShell) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, renewMax)
	defer cancel()
	fresh, err := client.Dial(ctx, w.socket)
	if err != nil {
		w.client.Close() // the next command finds it gone, and waits for the server
		return
	}
	if err := fresh.Ping(ctx); err != nil {
		w.note("warning: the server doesn't answer: %v", err)
	}
	w.client.Close()
	w.client = fresh
}
