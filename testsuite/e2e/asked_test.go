package e2e

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// Who follows the events reads what happened, why, and who asked for it.
func TestEventsTellWhoAsked(t *testing.T) {
	s := newStage(t, "")
	command := exec.Command(rig.Binary(t, "deacon"), "events", "-f")
	command.Env = append(command.Environ(), "DEACON_NATS="+s.nats.URL)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1024)
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	defer command.Wait()
	defer command.Process.Kill()
	expect := func(want string) {
		t.Helper()
		for deadline := time.After(soon); ; {
			select {
			case line := <-lines:
				if strings.Contains(line, want) {
					return
				}
			case <-deadline:
				t.Fatalf("nobody said %q", want)
			}
		}
	}
	time.Sleep(time.Second) // until it listens: nothing tells when
	s.running("web", nil)
	expect(s.id + " was asked to start web/0; NATS doesn't say by whom")
	expect("web/0 on " + s.id + " runs")
	if out, _, _ := s.said("", "web", "--", "echo", "in"); out != "in\n" {
		t.Errorf("exec says %q", out)
	}
	expect(s.id + " was asked to run a command in web/0, by [")
	s.deacon("stop", "web")
	expect(s.id + " was asked to stop web/0, by [")
	expect("web/0 on " + s.id + " is stopped")
}
