package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/cmd/deacon/wardentty"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// shellOn starts the shell in a terminal of its own.
func shellOn(t *testing.T, p *wardenPeer, state string, flags ...string) *wardentty.Terminal {
	t.Helper()
	terminal, err := wardentty.Start([]string{"XDG_STATE_HOME=" + state}, "deacon",
		append([]string{"warden", "--socket", p.path}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return terminal
}

// do has a command done and expects what is shown.
func do(t *testing.T, terminal *wardentty.Terminal, command, want string) {
	t.Helper()
	got, err := terminal.Do(wardenPrompt, command)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s showed %q\nwant %q", command, got, want)
	}
}

// leave types keys that end the shell, and expects its exit code.
func leave(t *testing.T, terminal *wardentty.Terminal, keys string, want int) {
	t.Helper()
	if err := terminal.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	if err := terminal.Type(keys); err != nil {
		t.Fatal(err)
	}
	code, err := terminal.Close()
	if code != want {
		t.Errorf("the shell ended with %d (%v), want %d\n%s", code, err, want, terminal.Screen())
	}
}

const (
	ctrlC = "\x03"
	ctrlD = "\x04"
	tab   = "\t"
	up    = "\x1b[A"
)

func TestTheConversationOfTheOldIntroductions(t *testing.T) {
	p := startWarden(t)
	got, err := wardentty.Session("deacon", p.path, "XDG_STATE_HOME="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got != wardentty.Golden {
		t.Errorf("got:\n%s\nwant:\n%s", got, wardentty.Golden)
	}
}

func TestTheConversationInTextCommands(t *testing.T) {
	p := startWarden(t)
	state := "XDG_STATE_HOME=" + t.TempDir()
	got, err := wardentty.TextSession("deacon", p.path, state)
	if err != nil {
		t.Fatal(err)
	}
	if got != wardentty.TextGolden {
		t.Errorf("got:\n%s\nwant:\n%s", got, wardentty.TextGolden)
	}
	p.handles = []string{"h"}
	terminal := shellOn(t, p, t.TempDir()) // without --v1
	do(t, terminal, "limit h disk 2048", "2048\n")
	do(t, terminal, "ping", "")
	do(t, terminal, "fly h", "there is no command \"fly\"\n  see help\n")
	do(t, terminal, "link h", "usage: link HANDLE JOB\n")
	do(t, terminal, "info", "info: --handle is missing\n  see info --help\n")
	do(t, terminal, "info --handle h --help", mustHelp(t, "info"))
	do(t, terminal, "help net", textForms["net"].help())
	leave(t, terminal, ctrlD, 0)
}

// TestEveryCommandExplainsItself shows the help of all commands in a terminal,
// as wardenhelp.golden has it. When that changed: read the difference, and
// rename the file that the test leaves beside it.
func TestEveryCommandExplainsItself(t *testing.T) {
	terminal := shellOn(t, startWarden(t), t.TempDir())
	var all strings.Builder
	commands := []string{"help"}
	for _, c := range wardenCommands() {
		commands = append(commands, c.name+" --help")
	}
	for _, command := range commands {
		shown, err := terminal.Do(wardenPrompt, command)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(wardenPrompt + command + "\n" + shown)
	}
	do(t, terminal, "help limit_cpu", mustHelp(t, "limit_cpu"))
	leave(t, terminal, ctrlD, 0)
	const golden = "testdata/wardenhelp.golden"
	want, err := os.ReadFile(golden)
	if err != nil || all.String() != string(want) {
		os.WriteFile(golden+".new", []byte(all.String()), 0o644)
		t.Errorf("not as in %s; compare it with %s.new (%v)", golden, golden, err)
	}
}

func mustHelp(t *testing.T, name string) string {
	t.Helper()
	c, ok := findCommand(name)
	if !ok {
		t.Fatalf("no command %s", name)
	}
	return c.help()
}

func TestNoCommandAndNoFieldIsWithoutAWord(t *testing.T) {
	used := map[string]bool{}
	for _, c := range wardenCommands() {
		if wardenSentences[c.name] == "" {
			t.Errorf("%s has no sentence", c.name)
		}
		if n := len(firstSentence(wardenSentences[c.name])) + len("limit_bandwidth  "); n > 80 {
			t.Errorf("the first sentence of %s makes a line of %d columns", c.name, n)
		}
		for _, leaf := range flatten(c.fields()) {
			if leafNote(c.name, leaf) == "" {
				t.Errorf("%s --%s has no note", c.name, leaf.name(0))
			}
			way := strings.Join(leaf.path, ".")
			if _, own := fieldNotes[c.name+"."+way]; own {
				way = c.name + "." + way
			}
			used[way] = true
		}
	}
	for way := range fieldNotes {
		if !used[way] {
			t.Errorf("the note on %s is about nothing", way)
		}
	}
}

func TestTabCompletes(t *testing.T) {
	p := startWarden(t)
	p.handles = []string{"1j0shvimvs7", "an odd one"}
	terminal := shellOn(t, p, t.TempDir())
	if err := terminal.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ keys, line string }{
		{"des" + tab, "destroy "},
		{"--" + tab, "destroy --h"},
		{"a" + tab, "destroy --handle "},
		{"1" + tab, "destroy --handle 1j0shvimvs7 "},
		{ctrlC, ""},
		{"destroy --handle '" + tab, "destroy --handle 'an odd one' "},
		{ctrlC, ""},
		{"net_out --proto" + tab + "U" + tab, "net_out --protocol UDP "},
		{"--port " + tab, "net_out --protocol UDP --port "},
		{ctrlC, ""},
		{"create --b" + tab, "create --bind_mounts[0]."},
		{"m" + tab + "R" + tab + "W" + tab, "create --bind_mounts[0].mode RW "},
		{"--bind_mounts[1" + tab + "s" + tab, "create --bind_mounts[0].mode RW --bind_mounts[1].src_path "},
		{ctrlC, ""},
		{"spawn --rlimits.nof" + tab, "spawn --rlimits.nofile "},
		{ctrlC, ""},
		{"net" + tab, "net"}, // net, net_in, net_out
		{" 1" + tab, "net 1j0shvimvs7 "},
		{ctrlC, ""},
		{"help pi" + tab, "help ping "},
		{ctrlC, ""},
	} {
		if err := terminal.Type(step.keys); err != nil {
			t.Fatal(err)
		}
		if err := terminal.AwaitLine(wardenPrompt + step.line); err != nil {
			t.Fatal(err)
		}
	}
	leave(t, terminal, ctrlD, 0)
}

func TestTabTwiceShowsWhatThereIs(t *testing.T) {
	terminal := shellOn(t, startWarden(t), t.TempDir())
	if err := terminal.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	terminal.Type("limit_" + tab + tab)
	screen, err := terminal.Await("list", func(screen string) bool {
		return strings.Contains(screen, "limit_memory") && strings.HasSuffix(screen, "\n"+wardenPrompt+"limit_")
	})
	if err != nil || !strings.Contains(screen, "limit_bandwidth") || strings.Contains(screen, "list") {
		t.Errorf("%v: %q", err, screen)
	}
	terminal.Type(ctrlC)
	leave(t, terminal, ctrlD, 0)
}

func TestTheHistoryIsKept(t *testing.T) {
	p, state := startWarden(t), t.TempDir()
	first := shellOn(t, p, state)
	do(t, first, "echo --message one", "message : one\n")
	do(t, first, "fly", "there is no command \"fly\"\n  see help\n")
	leave(t, first, "exit\r", 0)

	second := shellOn(t, p, state)
	if err := second.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"exit", "fly", "echo --message one"} {
		second.Type(up)
		if err := second.AwaitLine(wardenPrompt + line); err != nil {
			t.Fatal(err)
		}
	}
	second.Type("\r")
	if _, err := second.Await("answer", func(s string) bool {
		return strings.HasSuffix(s, "one\nmessage : one\n"+wardenPrompt)
	}); err != nil {
		t.Error(err)
	}
	leave(t, second, ctrlD, 0)
	kept, err := os.Stat(filepath.Join(state, "deacon", "warden-history"))
	if err != nil || kept.Mode() != 0o600 {
		t.Errorf("%v, %v", kept, err)
	}
}

func TestAHistoryThatCannotBeKeptIsSaidOnce(t *testing.T) {
	p, file := startWarden(t), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	terminal := shellOn(t, p, file)
	do(t, terminal, "ping", "warning: what you type isn't kept for the next time: open "+file+"/deacon/warden-history: not a directory\n")
	do(t, terminal, "ping", "")
	terminal.Type(up)
	if err := terminal.AwaitLine(wardenPrompt + "ping"); err != nil { // it is of this time
		t.Error(err)
	}
	terminal.Type(ctrlC)
	leave(t, terminal, ctrlD, 0)
}

func TestALongHistoryIsShortened(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	h := openHistory()
	for range 2001 {
		if err := h.add("ping"); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"", "\xff", "list"} {
		if err := h.add(line); err != nil {
			t.Fatal(err)
		}
	}
	if h := openHistory(); len(h.lines) != 1000 || h.lines[999] != "list" {
		t.Errorf("%d lines are read", len(h.lines))
	}
	text, err := os.ReadFile(h.path)
	if err != nil || strings.Count(string(text), "\n") != 1000 {
		t.Errorf("%d lines are left, %v", strings.Count(string(text), "\n"), err)
	}
}

func TestCtrlCLeavesACommandAndNotTheShell(t *testing.T) {
	p := startWarden(t)
	p.handles = []string{"h"}
	terminal := shellOn(t, p, t.TempDir())
	if err := terminal.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	terminal.Type("run --handle h --script 'echo started; sleep 60'\r")
	if _, err := terminal.Await("output", func(s string) bool { return strings.HasSuffix(s, "'\nstarted\n") }); err != nil {
		t.Fatal(err)
	}
	terminal.Type(ctrlC)
	if err := terminal.AwaitLine(wardenPrompt); err != nil {
		t.Fatal(err)
	}
	const told = "job 1 runs on; its output, from the beginning: stream --handle h --job_id 1\ninterrupted\n" + wardenPrompt
	if screen := terminal.Screen(); !strings.HasSuffix(screen, told) {
		t.Errorf("it shows %q", screen)
	}
	do(t, terminal, "echo --message on", "message : on\n")
	if p.everAlone() {
		t.Error("the old connection was closed before there was a new one")
	}
	leave(t, terminal, ctrlD, 0)
}

func TestATerminationEndsTheShellAndWhatItDoes(t *testing.T) {
	p := startWarden(t)
	p.handles = []string{"h"}
	for name, typed := range map[string]string{"at the prompt": "list", "in a job": "run h 'echo started; sleep 60'\r"} {
		t.Run(name, func(t *testing.T) {
			terminal := shellOn(t, p, t.TempDir())
			if err := terminal.AwaitLine(wardenPrompt); err != nil {
				t.Fatal(err)
			}
			terminal.Type(typed)
			if _, err := terminal.Await("start", func(s string) bool {
				return strings.HasSuffix(s, "list") || strings.HasSuffix(s, "\nstarted\n")
			}); err != nil {
				t.Fatal(err)
			}
			terminal.Signal(syscall.SIGTERM)
			if code, err := terminal.Close(); code != 0 {
				t.Errorf("it ended with %d, %v\n%s", code, err, terminal.Screen())
			}
		})
	}
}

func TestAServerThatRestartsIsWaitedFor(t *testing.T) {
	p := startWarden(t)
	terminal := shellOn(t, p, t.TempDir())
	do(t, terminal, "echo --message 1", "message : 1\n")
	p.hangUp()
	do(t, terminal, "create", "Reconnecting...\nhandle : 1j0shvimvs1\n")
	p.down()
	if err := terminal.Type("list\r"); err != nil {
		t.Fatal(err)
	}
	if _, err := terminal.Await("try", func(s string) bool { return strings.HasSuffix(s, "list\nReconnecting...\n") }); err != nil {
		t.Fatal(err)
	}
	p.listen()
	if _, err := terminal.Await("answer", func(s string) bool {
		return strings.HasSuffix(s, "list\nReconnecting...\nhandles[0] : 1j0shvimvs1\n"+wardenPrompt)
	}); err != nil {
		t.Fatal(err)
	}
	leave(t, terminal, ctrlD, 0)
	creates := slices.DeleteFunc(p.requests(), func(m proto.Message) bool { _, ok := m.(*protocol.CreateRequest); return !ok })
	if len(creates) != 1 {
		t.Errorf("the server was asked for %d containers", len(creates))
	}
}

func TestTheFirstErrorMayEndTheShell(t *testing.T) {
	terminal := shellOn(t, startWarden(t), t.TempDir(), "--exit_on_error")
	do(t, terminal, "ping", "")
	leave(t, terminal, "info --handle none\r", exitFailed)
	if screen := terminal.Screen(); !strings.HasSuffix(screen, "\ndeacon: unknown handle\n") {
		t.Errorf("it shows %q", screen)
	}
}
