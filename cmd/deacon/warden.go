package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/deacon-agent/deacon/messaging/warden/client"
)

// wardenEnv names the socket where --socket doesn't.
const wardenEnv = "DEACON_WARDEN"

const defaultWarden = "/tmp/warden.sock"

// wardenOptions are the flags of `deacon warden`. Their names, and the
// underscore in one, are those of Warden's own shell.
type wardenOptions struct {
	socket      string
	trace       bool
	exitOnError bool
	v1          bool
}

func newWarden(s *session) *cobra.Command {
	var o wardenOptions
	cmd := &cobra.Command{
		Use:   "warden [flags] [-- COMMAND [ARGUMENT...]]",
		Short: "Make and use containers by Warden's socket, as Warden's own shell does",
		Long: `Talk to a node, or to an original Warden, by Warden's socket. With a command it
does that and ends; without, it reads commands from the terminal, with history
and completion, or from a file, one a line.

    warden> create
    handle : 1j0shvimvsv
    warden> run --handle 1j0shvimvsv --script "uname -r"
    6.1.0
    warden> destroy --handle 1j0shvimvsv

The command help lists the commands, and each explains itself with --help. What
is nested is written --rlimits.nofile 64, elements of lists
--bind_mounts[0].src_path /tmp, from 0 on. Words are quoted as in a shell, and
what was typed is kept in $XDG_STATE_HOME/deacon/warden-history
(~/.local/state/deacon).

The text commands of Warden's first version, such as "run 1j0shvimvsv ls" or
"limit 1j0shvimvsv mem 1000000", work too: net, copy and limit are only there,
and of the others it is one if the word behind the command doesn't begin with
--. With --v1 all are taken for text commands.

run and stream show a job's output as it comes, on the standard output and the
standard error output, and end with the job's status: so does deacon after one
command. Otherwise it ends as exit-codes tells: 1 the server refused, 2 the
command is wrong, 3 there is no server, or it went away. A server that restarts
is waited for, and what wasn't sent, or can do no harm, is asked again.

A container lasts as long as somebody has a connection that knows it, and its
grace time more: "deacon warden -- create" makes one that is gone after that.

With --json each answer is one line: an object with the fields of the answer,
without those that it hasn't; what is no UTF-8 comes as NAME_base64. The output
of run and stream is an object a chunk, "name" and "data", and at last
"exit_status"; errors are on the standard error output. A text command's is what
its clients got.`,
		Example: exampleText(
			"deacon warden",
			"deacon warden -- list",
			`deacon warden -- run --handle 1j0shvimvsv --script 'exit 3'`,
			"deacon --json warden -- info --handle 1j0shvimvsv",
			"deacon warden --exit_on_error < commands"),
		GroupID: groupApps,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := &wardenShell{session: s, wardenOptions: o}
			defer w.close()
			if len(args) > 0 {
				return w.perform(cmd.Context(), args)
			}
			return w.converse(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the command is the command's
	flags.StringVar(&o.socket, "socket", environmentOr(wardenEnv, defaultWarden),
		"path of Warden's socket, or tcp://HOST:PORT; $"+wardenEnv)
	toggle(flags, &o.trace, "trace", "", "write each command to the standard error output, behind a +")
	toggle(flags, &o.exitOnError, "exit_on_error", "", "end at the first command that fails")
	toggle(flags, &o.v1, "v1", "", "take every command for a text command of Warden's first version")
	return cmd
}

// wardenShell is one session with Warden's socket.
type wardenShell struct {
	*session
	wardenOptions
	client   *client.Client // nil: not connected yet
	atPrompt bool           // somebody can type the next command, and is told so
}

func (w *wardenShell) close() {
	if w.client != nil {
		w.client.Close()
	}
}

// converse reads commands and does them until there are no more.
func (w *wardenShell) converse(ctx context.Context) error {
	if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		return w.converseOnTerminal(ctx)
	}
	lines := newFileLines(os.Stdin)
	for {
		line, err := lines.next()
		if err != nil {
			return ignoreEOF(err)
		}
		if endsSession(strings.TrimSpace(line)) {
			return nil
		}
		if err := w.performLine(ctx, line); err != nil {
			if w.exitOnError || ctx.Err() != nil {
				return err
			}
			w.complain(err)
		}
	}
}

func endsSession(line string) bool { return line == "exit" || line == "quit" }

// performLine does what a line says; empty lines and # comments say nothing.
func (w *wardenShell) performLine(ctx context.Context, line string) error {
	if strings.HasPrefix(strings.TrimSpace(line), "#") {
		return nil
	}
	words, err := splitWords(line)
	if err != nil {
		return fail(exitUsage, "", "%w", err)
	}
	if len(words) == 0 {
		return nil
	}
	return w.perform(ctx, words)
}

// complain shows why a command failed, where the session goes on.
func (w *wardenShell) complain(err error) {
	if status, ok := err.(scriptStatus); ok {
		w.note("%s", status)
		return
	}
	f := asFailure(err, true)
	if w.json {
		f.print(w.errs, true)
		return
	}
	fmt.Fprintln(w.errs, plain(f.Error()))
	if f.remedy != "" {
		fmt.Fprintf(w.errs, "  %s\n", f.remedy)
	}
}
