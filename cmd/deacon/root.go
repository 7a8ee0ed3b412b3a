package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// natsEnv names the servers where --nats doesn't.
const natsEnv = "DEACON_NATS"

const defaultNATS = "nats://127.0.0.1:4222"

// session is one run of the command line: where it prints, and what the
// global flags say.
type session struct {
	out, errs io.Writer
	json      bool
	nats      natsFlags
	began     bool // the command's own code was reached
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	s := &session{out: out, errs: errs}
	root := newRoot(s)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	if cmd, err := root.ExecuteContextC(ctx); err != nil {
		if status, ok := errors.AsType[scriptStatus](err); ok {
			return int(status) // a job's own, of which its output told
		}
		f := asFailure(err, s.began)
		if !s.began && cmd.HasParent() {
			f.remedy = "see " + cmd.CommandPath() + " --help"
		}
		f.print(errs, s.json)
		return f.code
	}
	return exitOK
}

func newRoot(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:   "deacon",
		Short: "Run applications on this machine, or on any node that NATS reaches",
		Long: `deacon turns a Linux machine into a node that runs other people's applications,
each in a container of its own, and is the command line to operate such nodes.

To try it out on this machine, with nothing to install and nothing left behind,
type in one terminal:

    sudo deacon dev

and in another:

    deacon run -- python3 -m http.server '$PORT'
    deacon ps`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          oneOfItsCommands,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			s.began = true
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	toggle(root.PersistentFlags(), &s.json, "json", "", "print JSON, for programs")
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Run a node:"},
		&cobra.Group{ID: groupApps, Title: "Run applications on nodes:"},
		&cobra.Group{ID: groupAside, Title: "Beside that:"})
	root.SetHelpCommandGroupID(groupAside)
	clients := []*cobra.Command{newRun(s), newPs(s), newLogs(s), newStop(s), newEvents(s), newEvacuate(s), newActors(s),
		newExec(s), newNodes(s), newTop(s)}
	for _, client := range clients {
		s.nats.register(client.Flags())
	}
	root.AddCommand(clients...)
	root.AddCommand(newAgent(s), newDev(s), newRootfs(s), newDoctor(s), newFiles(s), newChaos(s), newWarden(s),
		newConfig(s), newWardenConfig(s), newDroplet(s), newVersion(s), newExitCodesTopic())
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	addHelpFlags(root)
	return root
}

// toggle makes a flag that is there or not. (The help of pflag's own ones
// offers "[=true|false]" with each.)
func toggle(flags *pflag.FlagSet, value *bool, name, short, usage string) {
	flags.BoolFuncP(name, short, usage, func(text string) (err error) {
		*value, err = strconv.ParseBool(text)
		return err
	})
}

// The groups that the help lists commands in.
const (
	groupNode  = "node"
	groupApps  = "applications"
	groupAside = "aside"
)

// note tells a person what goes on. It goes to the error output, so that what
// is printed for programs stays clean.
func (s *session) note(format string, args ...any) {
	if !s.json {
		fmt.Fprintf(s.errs, format+"\n", args...)
	}
}

// exampleText indents examples as cobra's help does.
func exampleText(lines ...string) string {
	var text string
	for i, line := range lines {
		if i > 0 {
			text += "\n"
		}
		text += "  " + line
	}
	return text
}

func environmentOr(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
