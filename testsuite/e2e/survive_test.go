package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// successor runs another agent on the node's state and waits for its greeting.
func (s *stage) successor() {
	s.t.Helper()
	s.ctl.Forget()
	s.node.Start()
	was := s.id
	s.meet()
	if s.id != was {
		s.t.Errorf("the node's id was %s and is now %s", was, s.id)
	}
}

func TestDetachingHarmsNothingAndSaysNoGoodbye(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	app.ask("/say", "text", "before")
	pid := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat") // when PID 1 was started
	s.ctl.Forget()
	s.node.Detach()
	if body := app.ask("/"); body != "hello from 0\n" {
		t.Errorf("without an agent it answers %q", body)
	}
	app.ask("/say", "text", "while nobody listened")
	s.ctl.ExpectNone("dea.shutdown", 100*time.Millisecond)
	s.ctl.ExpectNone("router.unregister", 10*time.Millisecond)
	s.successor()
	s.ctl.Expect("router.register", soon, rig.With("app", "web"), rig.With("port", app.port))
	s.ctl.Expect("deacon.v1.logs.web.0", soon, rig.With("text", "while nobody listened"))
	s.ctl.ExpectNone("droplet.exited", 50*time.Millisecond)
	if now := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != pid {
		t.Errorf("PID 1 was started at %s, and is now one of %s", pid, now)
	}
	s.stop("web")
}

func TestAKilledAgentLosesNothing(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	dies := s.running("dies", nil)
	s.node.Kill()
	if body := app.ask("/"); body != "hello from 0\n" {
		t.Errorf("without an agent it answers %q", body)
	}
	dies.try("/exit", "code", "7")
	s.successor()
	expectEnd(t, s.crashed("dies", soon), 7, "app instance exited")
	s.ctl.Expect("router.register", soon, rig.With("app", "web"))
	app.ask("/")
	s.stop("web")
}

// Killed in the middle of starts: what was asked for runs in the end, once.
func TestAnAgentKilledInTheMiddleOfStartsGoesOnWithThem(t *testing.T) {
	s := newStage(t, "")
	const many = 8
	for i := range many {
		s.start("many", s.serve, map[string]any{"index": i, "limits": map[string]any{"mem": 32, "disk": 32, "fds": 256}})
	}
	for range many { // whoever is told of was accepted, and must not be lost
		s.ctl.Expect("deacon.v1.instance", soon, rig.With("to", "STARTING"))
	}
	s.node.Kill()
	s.successor()
	running := map[string]bool{}
	for len(running) < many {
		seen := s.ctl.Expect("router.register", late, rig.With("app", "many"))
		running[string(seen.Raw)] = true
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "many"})
	for range many {
		s.gone("many")
	}
}

func TestNATSMayBeAwayForHalfAMinute(t *testing.T) {
	s := newStage(t, "")
	app, dies := s.running("web", nil), s.running("dies", nil)
	s.ctl.Forget()
	s.nats.Stop()
	dies.try("/exit", "code", "7")
	until := time.Now().Add(30 * time.Second)
	for time.Now().Before(until) {
		app.ask("/")
		time.Sleep(time.Second) // being away for half a minute is the thing under test
	}
	s.nats.Return(s.ctl)
	expectEnd(t, s.crashed("dies", late), 7, "app instance exited")
	beat := s.ctl.Expect("dea.heartbeat", late)
	stale := 0
	for {
		seen, ok := s.ctl.Next("dea.heartbeat", 500*time.Millisecond)
		if !ok {
			break
		}
		if seen.At.Sub(beat.At) < 2*time.Second {
			stale++
		}
	}
	if stale > 2 {
		t.Errorf("%d heartbeats came at once: the ones of the past half minute", stale)
	}
	s.stop("web")
}

func TestASecondAgentOnTheSameStateIsRefused(t *testing.T) {
	s := newStage(t, "")
	out, err := exec.Command(rig.Binary(t, "deacon"), "agent", "-c", s.node.Config()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another agent") {
		t.Errorf("a second agent: %v\n%s", err, out)
	}
	if body := s.running("web", nil).ask("/"); body != "hello from 0\n" {
		t.Errorf("the first one's application answers %q", body)
	}
}

func TestShuttingDownStopsEverythingAfterTheGoodbye(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "")
			app := s.running("web", nil)
			s.node.Signal(signal)
			goodbye := s.ctl.Expect("dea.shutdown", soon, rig.With("id", s.id))
			unregistered := s.ctl.Expect("router.unregister", soon, rig.With("app", "web"))
			if unregistered.At.Before(goodbye.At) {
				t.Error("the route went before the goodbye")
			}
			if code := s.node.WaitEnd(late); code != 0 {
				t.Errorf("the agent ended with %d:\n%s", code, s.node.Log())
			}
			app.refuses()
		})
	}
}

// Killed in the middle of a stop: whatever the successor finds, nobody is told
// of a crash, and in the end nothing is left.
func TestAnAgentKilledInTheMiddleOfAStopMakesNoCrashOfIt(t *testing.T) {
	s := newStage(t, "")
	for _, app := range []string{"one", "two", "three"} {
		s.running(app, nil)
		s.ctl.Publish("dea.stop", map[string]any{"droplet": app})
		s.ctl.Expect("router.unregister", soon, rig.With("app", app))
		s.node.Kill()
		s.ctl.ExpectNone("droplet.exited", 10*time.Millisecond)
		s.successor()
		s.ctl.ExpectNone("droplet.exited", 500*time.Millisecond)
		s.ctl.Publish("dea.stop", map[string]any{"droplet": app}) // the health manager's repeat
		s.ctl.Publish("healthmanager.start", map[string]any{})
		s.ctl.Expect("dea.heartbeat", soon, rig.With("droplets", []any{}))
	}
}

// The end of an application is told once the server has it, whatever lies
// between: NATS away, the agent killed, another one started.
func TestAnEndThatNobodyCouldHearIsToldByTheSuccessor(t *testing.T) {
	s := newStage(t, "")
	dies := s.running("dies", nil)
	s.nats.Stop()
	dies.try("/exit", "code", "7")
	s.node.WaitLog("state=CRASHED", soon)
	s.node.Kill()
	s.nats.Return(s.ctl)
	s.node.Start()
	expectEnd(t, s.crashed("dies", late), 7, "app instance exited")
	s.ctl.Expect("dea.heartbeat", soon, has("droplets", "CRASHED"))
	s.node.Detach()
	s.successor()
	s.ctl.ExpectNone("droplet.exited", 500*time.Millisecond)
}

// inits are the node's deacon-inits by mode: "pid1" or "launcher". They are in
// its groups, but for the launcher on cgroup v2, which is where its agent is.
func (s *stage) inits(mode string) (pids []int) {
	s.t.Helper()
	group := "/deacon-" + rig.TracesOf(s.t, filepath.Join(s.node.State, "s")).Tag
	child := fmt.Sprintf("\nPPid:\t%d\n", s.node.PID())
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, _ := os.ReadFile(file)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		ours := strings.Contains(string(groups), group) || strings.Contains(string(status), child)
		if ours && strings.Contains(string(line), "\x00"+mode+"\x00") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestInitsAndTheLauncherMayBeKilled(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	for range 3 {
		app := s.running("web", nil)
		for _, mode := range []string{"pid1", "launcher"} {
			pids := s.inits(mode)
			if len(pids) == 0 {
				t.Fatalf("no %s is there", mode)
			}
			for _, pid := range pids {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		expectEnd(t, s.crashed("web", soon), -1, "unknown")
		app.refuses()
		s.atRest(offer)
	}
	s.running("web", nil).ask("/")
}
