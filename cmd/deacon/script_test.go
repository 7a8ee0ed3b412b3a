package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/cmd/deacon/devnats"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"deacon": main})
}

// The scripts run the real command line as a process of its own. "nats" gives
// a script a NATS server, "node NAME" a node beside it that speaks the wire
// and runs nothing (node_test.go). What needs root stands behind [root].
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// A machine with a node on the usual port must not be reached.
			e.Setenv(natsEnv, "nats://127.0.0.1:1")
			e.Setenv("TMPDIR", e.Getenv("WORK"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"nats": startNATS, "node": startNode, "code": expectCode, "awaited": awaitState,
			"written": awaitText,
		},
	})
}

func startNATS(ts *testscript.TestScript, _ bool, _ []string) {
	server, err := devnats.Start(devnats.PortAny)
	ts.Check(err)
	ts.Defer(server.Stop)
	ts.Setenv(natsEnv, server.URL())
}

// expectCode runs a command and checks its exit code: code 4 deacon stop x.
func expectCode(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: code NUMBER command...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%v ended with %d, want %s", args[1:], got, args[0])
	}
}

// awaitState waits until an application is in a state: awaited hello RUNNING.
func awaitState(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if ts.Exec("deacon", "ps", args[0]) == nil && strings.Contains(ts.ReadFile("stdout"), args[1]) {
			return
		}
	}
	ts.Fatalf("%s is not %s", args[0], args[1])
}

// awaitText waits until a background command has written a text: written FILE TEXT.
func awaitText(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("%s has no %q", args[0], args[1])
}

func TestEveryCommandHasAHelpTextAndAnExample(t *testing.T) {
	root := newRoot(&session{out: io.Discard, errs: io.Discard})
	for _, cmd := range commandsBelow(root) {
		if cmd.Name() == "help" || cmd.Name() == "completion" || cmd.Parent().Name() == "completion" {
			continue // cobra's own
		}
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s has no help text", cmd.CommandPath())
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	}
}

func commandsBelow(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, child := range cmd.Commands() {
		all = append(append(all, child), commandsBelow(child)...)
	}
	return all
}
