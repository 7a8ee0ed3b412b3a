package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

func plannerWith(h Hooks) *Planner {
	p := newTestPlanner()
	p.config.Hooks = h
	return p
}

func hookOf(t *testing.T, p *Planner, m actors.Moment, start messaging.StartInstance) isolation.Job {
	t.Helper()
	job, err := p.Hook(m, placed(), start)
	if err != nil || job == nil {
		t.Fatalf("the hook is %v, %v", job, err)
	}
	return *job
}

// What the application finds, but for what its own start adds: the folder is
// home, and nothing of the droplet's .profile.d.
func TestAHookFindsTheApplicationsEnvironment(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "app/.profile.d/1.sh", "export PROFILE=1\n", 0o644)
	start := asked(messaging.Variable{Name: "MINE", Value: "at $PORT"}, messaging.Variable{Name: "a.b", Value: "$x"})
	hook := hookOf(t, plannerWith(Hooks{Scripts: map[actors.Moment]string{
		actors.BeforeStop: "# a comment\nexport UMASK=$(umask)\nexec env -0",
	}}), actors.BeforeStop, start)
	got, want := s.environment(t, hook), s.environment(t, jobFor(t, start))
	for _, name := range []string{"_", "PROFILE", "OLDPWD", "SHLVL"} {
		delete(got, name)
		delete(want, name)
	}
	want["PWD"], want["UMASK"] = s.dir, "0077"
	if diff := cmp.Diff(want, got); diff != "" || got["MINE"] != "at 20007" {
		t.Error("(-the application +the hook):\n", diff)
	}
	application := jobFor(t, start)
	if hook.User.UID != application.User.UID || hook.User.GID != application.User.GID ||
		hook.Files != application.Files || hook.Procs != application.Procs || hook.Umask != application.Umask {
		t.Errorf("the hook is run as %+v", hook)
	}
}

func TestWhereNoHookIsConfiguredNoneIsPlanned(t *testing.T) {
	for _, m := range actors.Moments {
		if job, err := newTestPlanner().Hook(m, placed(), asked()); job != nil || err != nil {
			t.Errorf("%s: %v, %v", m, job, err)
		}
	}
}

func TestTheOperatorHasTheLastWordBeforeTheCommand(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "app/.profile.d/1.sh", "export PORT=1 ORDER=profile\n", 0o644)
	p := plannerWith(Hooks{PostSetup: "export ORDER=$ORDER-last PORT=2 SEEN=$GEM_PATH$PWD"})
	start := asked(messaging.Variable{Name: "ORDER", Value: "user"}, messaging.Variable{Name: "GEM_PATH", Value: "x"})
	for _, d := range []actors.Droplet{scripted, {Layer: "/d"}} { // also where nothing else needs the script
		_, job, err := p.Plan(placed(), start, d)
		if err != nil {
			t.Fatal(err)
		}
		got := s.environment(t, job)
		if got["ORDER"] != "profile-last" || got["PORT"] != "2" || got["SEEN"] != s.dir {
			t.Errorf("ORDER is %q, PORT %q, SEEN %q", got["ORDER"], got["PORT"], got["SEEN"])
		}
	}
}

func TestAHookThatCannotBeReadIsNamed(t *testing.T) {
	program := write(t, "deacon-init", "", 0o755)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/nowhere/hook": "hooks.after_start: there is no file /nowhere/hook on this machine",
		t.TempDir():     "is no file",
		pipe:            "is no file", // and nobody waits for who writes to it
		"/dev/zero":     "is no file",
		write(t, "big", strings.Repeat("#", hookMax+1), 0o644): "has more than 65536 bytes",
		write(t, "zero", "echo \x00", 0o644):                   "has a zero byte",
	} {
		c := DefaultConfig()
		c.Node.State, c.Node.Init = t.TempDir(), program
		c.Hooks.Paths = map[actors.Moment]string{actors.AfterStart: path}
		if _, _, err := c.Resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want one with %q", path, err, want)
		}
	}
}

// What the file becomes later is nobody's.
func TestAHookIsReadOnce(t *testing.T) {
	path := write(t, "hook", strings.Repeat("#", hookMax), 0o644) // the longest
	c := DefaultConfig()
	c.Node.State, c.Node.Init = t.TempDir(), write(t, "deacon-init", "", 0o755)
	c.Hooks.Paths = map[actors.Moment]string{actors.BeforeStart: path}
	got, _, err := c.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if len(got.Hooks.Scripts) != 1 || len(got.Hooks.Scripts[actors.BeforeStart]) != hookMax {
		t.Errorf("the scripts are %v", got.Hooks.Scripts)
	}
}
