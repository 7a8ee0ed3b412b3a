package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/exec"
)

type execOptions struct {
	terminal, pipes, noInput bool
}

func newExec(s *session) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec APP[/INDEX] [-- COMMAND...]",
		Short: "Run a command inside an instance, on whichever node it is",
		Long: `Run a command in the container of an instance that runs or is starting: as the same
user, with the same environment and limits, in the same folder as the application
itself. APP is a name or an id; without an INDEX it is the lowest that runs. Without
a COMMAND it is a shell.

From a terminal the command gets one of its own; keys, Ctrl-C among them, and the
window's size go to it. Else it gets three pipes: standard output and error stay
apart, the end of the input is the end of its input, and the signals INT, TERM,
QUIT, USR1 and USR2 are passed on. Ctrl-C three times gives up waiting for it.

deacon ends with the command's own status, 128 and a signal's number where one ended
it. When the connection is lost, or deacon is killed, the command is hung up: it gets
SIGHUP, and two seconds later SIGKILL, and so does all that it started, but for what
began a session of its own (setsid). The application is not touched.`,
		Example: exampleText("deacon exec hello", "deacon exec hello/1 -- ps aux",
			"deacon exec hello -- tar cz logs > logs.tar.gz", "deacon exec hello -T -- sh -c 'cat > note' < note"),
		GroupID: groupApps,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%s takes an application, and got none", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			command := args[1:]
			if at := cmd.ArgsLenAtDash(); at != 1 && len(command) > 0 {
				return fail(exitUsage, "deacon exec APP -- COMMAND", "the command goes behind a --")
			}
			if len(command) == 0 {
				command = []string{"/bin/bash"}
			}
			return s.exec(cmd.Context(), args[0], command, o)
		},
	}
	toggle(cmd.Flags(), &o.terminal, "tty", "t", "a terminal, whatever deacon's own input and output are")
	toggle(cmd.Flags(), &o.pipes, "no-tty", "T", "no terminal, though deacon has one")
	toggle(cmd.Flags(), &o.noInput, "no-stdin", "n", "no input: deacon's own is left to others")
	return cmd
}

func (s *session) exec(ctx context.Context, app string, command []string, o execOptions) error {
	if o.terminal && o.pipes {
		return fail(exitUsage, "", "--tty and --no-tty exclude one another")
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	target, err := link.instance(ctx, app)
	if err != nil {
		return err
	}
	request := exec.Request{Instance: target.Instance, Command: command, By: whoAsks()}
	if o.terminal || !o.pipes && isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		request.Terminal = terminalHere()
	}
	asked, cancel := context.WithTimeout(ctx, 2*connectMax)
	defer cancel()
	wire, err := link.client.OpenSession(asked, target.node, request)
	if err != nil {
		return refusedSession(ctx, target, err)
	}
	defer wire.Close()
	return (&remote{wire: wire, terminal: request.Terminal != nil, noInput: o.noInput, out: s.out, errs: s.errs}).run(ctx)
}

// instance is the one that is meant: by its index, or else the lowest that runs.
func (l *link) instance(ctx context.Context, app string) (row, error) {
	rows, err := l.rows(ctx)
	if err != nil {
		return row{}, err
	}
	name, index := app, -1
	if before, after, ok := cutLast(app, "/"); ok {
		if n, err := strconv.Atoi(after); err == nil && n >= 0 && after == strconv.Itoa(n) {
			name, index = before, n
		}
	}
	found, err := find(rows, app)
	if err != nil && index >= 0 {
		found, err = find(rows, name)
	} else {
		index = -1 // the application is called so
	}
	if err != nil {
		return row{}, err
	}
	var indices []string
	var crashed *row
	for _, r := range newest(found) {
		if index >= 0 && r.Index != index {
			indices = append(indices, strconv.Itoa(r.Index))
			continue
		}
		if r.live() {
			return r, nil
		}
		crashed = &r
	}
	if crashed != nil { // its node says why not
		return *crashed, nil
	}
	return row{}, fail(exitNotFound, "there is index "+strings.Join(slices.Compact(indices), ", "),
		"%s has no instance with index %d", plain(name), index)
}

// refusedSession says what a node's no means.
func refusedSession(ctx context.Context, target row, err error) error {
	if refused, ok := errors.AsType[*bus.RefusedError](err); ok {
		code, remedy := exitFailed, ""
		switch refused.Code {
		case exec.CodeUnknown, exec.CodeNotRunning:
			code, remedy = exitNotFound, "see deacon ps"
		case exec.CodeMalformed:
			code = exitUsage
		}
		what := fmt.Sprintf("%s/%d on %s", plain(target.title()), target.Index, plain(target.node))
		return fail(code, remedy, "%s: %s", what, plain(refused.Text))
	}
	if errors.Is(err, bus.ErrNobody) {
		return fail(exitUnreachable, "its agent is older, or has just gone",
			"the node %s answers nobody who asks for a command", plain(target.node))
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fail(exitUnreachable, "", "the node %s doesn't answer", plain(target.node))
	}
	return lost(ctx, "%w", err)
}

func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// terminalHere is what this one is, or a plain one where there is none.
func terminalHere() *exec.Terminal {
	t := &exec.Terminal{Size: exec.Size{Rows: 24, Columns: 80}, Type: environmentOr("TERM", "dumb")}
	if size, ok := windowSize(); ok {
		t.Size = size
	}
	return t
}

func windowSize() (exec.Size, bool) {
	columns, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		columns, rows, err = term.GetSize(int(os.Stdin.Fd()))
	}
	return exec.Size{Rows: uint16(rows), Columns: uint16(columns)}, err == nil
}

// whoAsks is what the node notes down. Nobody checks it.
func whoAsks() string {
	name := "?"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	text := name + "@" + host
	return text[:min(len(text), exec.ByMax)]
}
