package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/cmd/deacon/wardentty"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// beside is `deacon exec` as a process of its own.
func (s *stage) beside(args ...string) *exec.Cmd {
	command := exec.Command(rig.Binary(s.t, "deacon"), append([]string{"exec"}, args...)...)
	command.Env = append(command.Environ(), "DEACON_NATS="+s.nats.URL)
	return command
}

// said runs a command in an instance and returns what it wrote and its status.
func (s *stage) said(input string, args ...string) (stdout, stderr string, status int) {
	s.t.Helper()
	command := s.beside(args...)
	var out, errs bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &errs
	if err := command.Run(); err != nil && command.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

// inside says whether the instance's container has a process whose command line
// has text, as the application sees it.
func (i *instance) inside(text string) bool {
	i.s.t.Helper()
	return strings.Contains(i.ask("/run", "sh", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), text)
}

// without waits until the container has no such process any more.
func (i *instance) without(text string, limit time.Duration) {
	i.s.t.Helper()
	for deadline := time.Now().Add(limit); i.inside(text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.s.t.Fatalf("%q still runs after %s:\n%s", text, limit, i.ask("/run", "sh", "ps ax -o pid,sid,args"))
		}
	}
}

func (i *instance) with(text string) {
	i.s.t.Helper()
	for deadline := time.Now().Add(soon); !i.inside(text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.s.t.Fatalf("%q doesn't run", text)
		}
	}
}

func TestACommandRunsBesideTheApplication(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", map[string]any{"env": []string{"COLOUR=green"}})
	environment := app.ask("/env")
	for _, c := range []struct {
		input, script  string
		stdout, stderr string
		status         int
	}{
		{script: `echo out; echo err >&2; exit 7`, stdout: "out\n", stderr: "err\n", status: 7},
		{script: `exit 255`, status: 255},
		{script: `kill -TERM $$`, status: 128 + 15},
		{script: `kill -KILL $$`, status: 128 + 9},
		{input: "some input", script: `cat; echo; echo over`, stdout: "some input\nover\n"},
		{script: `cat /dev/stdin; echo again >/dev/stdout`, stdout: "again\n"},
		{script: `id -u; id -g; pwd; echo $HOME; echo $COLOUR; ulimit -n; umask`,
			stdout: "2000\n2000\n/home/vcap/app\n/home/vcap/app\ngreen\n512\n0077\n"},
		{script: `test -t 0 || echo none`, stdout: "none\n"},
		{script: `nosuchprogram`, stderr: "nosuchprogram: ", status: 127},
	} {
		stdout, stderr, status := s.said(c.input, "web", "--", "sh", "-c", c.script)
		if stdout != c.stdout || !strings.Contains(stderr, c.stderr) || status != c.status {
			t.Errorf("%s: %q, %q, status %d; want %q, %q, %d", c.script, stdout, stderr, status, c.stdout, c.stderr, c.status)
		}
	}
	if _, stderr, status := s.said("", "web/0", "--", "nosuchprogram"); status != 127 || !strings.Contains(stderr, "not found") {
		t.Errorf("a program that isn't there: %q, status %d", stderr, status)
	}
	// The same namespaces, limits and variables as the application's.
	got, _, _ := s.said("", "web", "--", "env")
	for line := range strings.Lines(environment) {
		name, _, _ := strings.Cut(line, "=")
		if name != "" && !strings.Contains("SHLVL _ OLDPWD PWD", name) && !strings.Contains(got, strings.TrimSpace(line)) {
			t.Errorf("the command lacks the application's %s", line)
		}
	}
	const views = `readlink /proc/self/ns/net /proc/self/ns/pid /proc/self/ns/mnt /proc/self/ns/user; cat /proc/self/cgroup`
	if got, _, _ := s.said("", "web", "--", "sh", "-c", views); got != app.ask("/run", "sh", views) {
		t.Errorf("the command is in\n%s\nthe application in\n%s", got, app.ask("/run", "sh", views))
	}
}

// Ten MiB go in and come out as they were, through a command that reads slowly at
// first.
func TestACommandsBytesComeUnharmed(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	data := make([]byte, 10<<20)
	dice := rand.New(rand.NewPCG(7, 7))
	for i := range data {
		data[i] = byte(dice.Uint32())
	}
	began := time.Now()
	stdout, stderr, status := s.said(string(data), "web", "--", "sh", "-c", "sleep 0.5; cat; exit 3")
	if status != 3 || stderr != "" || sha256.Sum256([]byte(stdout)) != sha256.Sum256(data) {
		t.Errorf("%d bytes came back of %d, or others; status %d, %q", len(stdout), len(data), status, stderr)
	}
	t.Logf("10 MiB there and back in %s", time.Since(began))
	// And what nobody reads ends with who wrote it.
	if _, stderr, status := s.said(string(data), "web", "--", "true"); status != 0 {
		t.Errorf("a command that reads nothing: status %d, %q", status, stderr)
	}
}

func TestACommandHasATerminal(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	shell, err := wardentty.Start([]string{"DEACON_NATS=" + s.nats.URL}, rig.Binary(t, "deacon"), "exec", "web", "--", "bash", "--norc")
	if err != nil {
		t.Fatal(err)
	}
	press := func(keys, want string) {
		t.Helper()
		if err := shell.Type(keys); err != nil {
			t.Fatal(err)
		}
		if _, err := shell.Await(want, func(screen string) bool { return strings.Contains(screen, want) }); err != nil {
			t.Fatal(err)
		}
	}
	press("PS1='rea''dy> '\r", "ready> ")
	press("stty size; tty; echo $TERM; test -t 2 && echo is'a'tty\r", "1000 400\n/dev/pts/0\nxterm\nisatty")
	press("trap 'echo the window is '$(echo anew) WINCH; echo tr''apped\r", "trapped")
	if err := shell.Resize(40, 90); err != nil {
		t.Fatal(err)
	}
	press("\r", "the window is anew")
	press("stty size\r", "40 90")
	typed := func(keys string) {
		t.Helper()
		if err := shell.Type(keys); err != nil {
			t.Fatal(err)
		}
	}
	typed("sleep 1000\r")
	app.with("sleep 1000")
	typed("\x03") // Ctrl-C is a key, and ends what is in front
	press("echo stat''us $?\r", "status 130")
	typed("sleep 1001\r")
	app.with("sleep 1001")
	press("\x1a", "Stopped") // and so is Ctrl-Z
	press("kill -9 %1; wait; echo aw''ake\r", "awake")
	if err := shell.Type("exit 42\r"); err != nil {
		t.Fatal(err)
	}
	if code, err := shell.Close(); code != 42 {
		t.Errorf("it ended with %d, %v:\n%s", code, err, shell.Screen())
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	for name, sig := range map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1,
	} {
		command := s.beside("web", "-n", "--", "bash", "-c",
			fmt.Sprintf("trap 'echo got %s; exit 9' %s; echo up; sleep 999%d & wait", name, name, sig))
		out, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("up\n"))); err != nil {
			t.Fatal(err)
		}
		command.Process.Signal(sig)
		rest, _ := io.ReadAll(out)
		command.Wait()
		if want := "got " + name + "\n"; string(rest) != want || command.ProcessState.ExitCode() != 9 {
			t.Errorf("SIG%s: %q, status %d; want %q and 9", name, rest, command.ProcessState.ExitCode(), want)
		}
		// And who was left behind is gone with the session.
		app.without(fmt.Sprintf("sleep 999%d", sig), soon)
	}
}

// hardToEnd is a command that ignores to be hung up, in two
// process groups.
const hardToEnd = `trap '' HUP TERM; set -m; sleep 7771 & sleep 7772`

// The rig's controller hears every subject, so that no server tells the node at
// once that nobody listens any more: its own patience does.
func TestAClientThatIsKilledTakesItsCommandWithIt(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	for _, flag := range []string{"-t", "-T"} {
		command := s.beside("web", "-n", flag, "--", "bash", "-c", hardToEnd)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		app.with("sleep 7771")
		app.with("sleep 7772")
		began := time.Now()
		command.Process.Kill()
		command.Wait()
		app.without("sleep 777", late)
		t.Logf("%s: all of it gone %s after its client", flag, time.Since(began).Round(time.Millisecond))
	}
	if body := app.ask("/"); body != "hello from 0\n" {
		t.Errorf("the application answers %q", body)
	}
}

func TestAnAgentThatIsKilledTakesCommandsWithItAndNothingElse(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	for _, flag := range []string{"-t", "-T"} {
		command := s.beside("web", "-n", flag, "--", "bash", "-c", hardToEnd)
		var errs bytes.Buffer
		command.Stderr = &errs
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		app.with("sleep 7771")
		app.with("sleep 7772")
		s.node.Kill()
		app.without("sleep 777", soon)
		command.Wait()
		if command.ProcessState.ExitCode() != 3 || !strings.Contains(errs.String(), "agent is gone") {
			t.Errorf("%s: the client ended with %d: %q", flag, command.ProcessState.ExitCode(), errs.String())
		}
		if body := app.ask("/"); body != "hello from 0\n" {
			t.Errorf("the application answers %q", body)
		}
		s.node.Start()
		if out, errs, status := s.said("", "web", "--", "echo", "again"); out != "again\n" {
			t.Errorf("after the agent's return: %q, %q, %d", out, errs, status)
		}
	}
}

// A node that detaches says so to who is connected.
func TestADetachingNodeEndsSessions(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	command := s.beside("web", "-n", "--", "sleep", "7773")
	var errs bytes.Buffer
	command.Stderr = &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	app.with("sleep 7773")
	s.node.Detach()
	command.Wait()
	if command.ProcessState.ExitCode() != 1 || !strings.Contains(errs.String(), "the node's agent ends") {
		t.Errorf("the client ended with %d: %q", command.ProcessState.ExitCode(), errs.String())
	}
	app.without("sleep 7773", soon)
	s.node.Start()
}

func TestManySessionsAreBoundedAndEndWithTheirInstance(t *testing.T) {
	s := newStage(t, "instance { sessions_max = 20 }")
	app := s.running("web", map[string]any{"limits": map[string]any{"mem": 256, "disk": 128, "fds": 512}})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			out, errs, status := s.said(fmt.Sprint(i), "web", "--", "sh", "-c", "cat; sleep 2; exit 5")
			if out != fmt.Sprint(i) || status != 5 {
				t.Errorf("session %d: %q, %q, status %d", i, out, errs, status)
			}
		})
	}
	all.Wait()
	var waiting []*exec.Cmd
	for range 20 {
		command := s.beside("web", "-n", "--", "sh", "-c", "echo $$; exec sleep 7774")
		out, _ := command.StdoutPipe()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, command)
	}
	if _, errs, status := s.said("", "web", "--", "true"); status != 1 || !strings.Contains(errs, "20 sessions run on this node") {
		t.Errorf("one too many: status %d, %q", status, errs)
	}
	app.with("sleep 7774")
	s.stop("web")
	for _, command := range waiting {
		command.Wait()
		if code := command.ProcessState.ExitCode(); code != 128+15 && code != 1 {
			t.Errorf("a session of a stopped instance ended with %d", code)
		}
	}
	if _, errs, status := s.said("", "web", "--", "true"); status != 4 {
		t.Errorf("a stopped instance: status %d, %q", status, errs)
	}
}

func TestNobodyEntersWhatDoesNotRun(t *testing.T) {
	s := newStage(t, "")
	s.start("crashing", s.serve, map[string]any{"start_command": "exit 3"})
	s.crashed("crashing", soon)
	if _, errs, status := s.said("", "crashing", "--", "true"); status != 4 || !strings.Contains(errs, "the instance is CRASHED") {
		t.Errorf("a crashed one: status %d, %q", status, errs)
	}
	// One that is stopping has no time for visitors.
	app := s.running("slow", map[string]any{"start_command": "trap '' TERM; ./app & while true; do wait; done"})
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "slow"})
	s.ctl.Expect("deacon.v1.instance", soon, rig.With("application", "slow"), rig.With("to", "STOPPING"))
	if _, errs, status := s.said("", "slow", "--", "true"); status != 4 || !strings.Contains(errs, "the instance is STOPPING") {
		t.Errorf("a stopping one: status %d, %q", status, errs)
	}
	_ = app
	s.gone("slow")
}

// Whatever comes to the subjects of sessions, the node stands, and says what was
// wrong to who can be answered.
func TestHostileRequestsForSessions(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	subject := "deacon.v1." + s.id + ".exec"
	instance := s.instanceOf("web")
	for _, c := range []struct{ body, code string }{
		{"", "malformed"}, {"[]", "malformed"}, {"{", "malformed"}, {`{"instance":7}`, "malformed"},
		{`{"instance":"x","command":["true"],"output":"_INBOX.x"}`, "unknown"},
		{fmt.Sprintf(`{"instance":%q,"command":[],"output":"_INBOX.x"}`, instance), "malformed"},
		{fmt.Sprintf(`{"instance":%q,"command":["a\u0000b"],"output":"_INBOX.x"}`, instance), "malformed"},
		// A client that may only ask makes no node say what others act upon.
		{fmt.Sprintf(`{"instance":%q,"command":["true"],"output":"dea.stop"}`, instance), "malformed"},
		{fmt.Sprintf(`{"instance":%q,"command":["true"],"output":"a.*"}`, instance), "malformed"},
		{fmt.Sprintf(`{"instance":%q,"command":["%s"],"output":"_INBOX.x"}`, instance, strings.Repeat("x", 200<<10)), "malformed"},
	} {
		m, err := s.ctl.Conn.Request(subject, []byte(c.body), soon)
		if err != nil || m.Header.Get("Nats-Service-Error-Code") != c.code {
			t.Errorf("%.80s is answered with %v %v, want %s", c.body, m, err, c.code)
		}
	}
	// In a session that stands: a number too many, two things at once, more than the
	// window, a signal that there isn't.
	for name, frames := range map[string][]string{
		"a gap":      {`{"number":2}`},
		"two things": {`{"number":1,"end":true,"hang_up":true}`},
		"a signal":   {`{"number":1,"signal":"NOTHING"}`},
		"no frame":   {`nonsense`},
		"a flood":    flood(),
	} {
		inbox := nats.NewInbox()
		frame := make(chan *nats.Msg, 1024)
		sub, err := s.ctl.Conn.ChanSubscribe(inbox, frame)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"instance":%q,"command":["sleep","7775"],"output":%q}`, instance, inbox)
		m, err := s.ctl.Conn.Request(subject, []byte(body), soon)
		var opened struct{ Session, Input string }
		if err != nil || json.Unmarshal(m.Data, &opened) != nil || opened.Input == "" {
			t.Fatalf("%s: %v %v", name, m, err)
		}
		for _, f := range frames {
			s.ctl.Conn.Publish(opened.Input, []byte(f))
		}
		s.ctl.Conn.Flush()
		s.node.WaitLog("session="+opened.Session+" reason=", soon)
		sub.Unsubscribe()
	}
	app.without("sleep 7775", soon)
}

// flood is more than the window lets through.
func flood() (frames []string) {
	data := strings.Repeat("A", 32<<10/3*4)
	for n := 1; n <= 12; n++ {
		frames = append(frames, fmt.Sprintf(`{"number":%d,"stdin":%q}`, n, data))
	}
	return frames
}

// instanceOf is the id of an application's only instance.
func (s *stage) instanceOf(app string) string {
	s.t.Helper()
	m, err := s.ctl.Conn.Request("deacon.v1.ps", []byte("{}"), soon)
	if err != nil {
		s.t.Fatal(err)
	}
	var list struct {
		Instances []struct{ Application, Instance string }
	}
	if err := json.Unmarshal(m.Data, &list); err != nil {
		s.t.Fatal(err)
	}
	for _, row := range list.Instances {
		if row.Application == app {
			return row.Instance
		}
	}
	s.t.Fatalf("%s has no instance", app)
	return ""
}
