package e2e

import (
	"os/exec"
	"regexp"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// deacon runs the command line and returns what it printed.
func (s *stage) deacon(args ...string) string {
	s.t.Helper()
	command := exec.Command(rig.Binary(s.t, "deacon"), args...)
	command.Env = append(command.Environ(), "DEACON_NATS="+s.nats.URL)
	out, err := command.CombinedOutput()
	if err != nil {
		s.t.Errorf("deacon %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s *stage) expectText(text, pattern string) {
	s.t.Helper()
	if !regexp.MustCompile("(?m)" + pattern).MatchString(text) {
		s.t.Errorf("there is no %s in\n%s", pattern, text)
	}
}

func TestWhatIsUsedIsSeenFromAnywhere(t *testing.T) {
	s := newStage(t, "resources {\n memory = \"2GiB\"\n disk = \"4GiB\"\n}")
	s.running("web", nil)
	// Half a core's worth of turning, as far as this machine has one to give.
	s.running("busy", map[string]any{"start_command": "(while :; do :; done) & exec ./app"})
	s.expectText(s.deacon("nodes"), `^`+s.id+` +default +RUNNING +2 +128M of 2.0G +256M of 4.0G +\d+s +127.0.0.1 +0.1.0$`)
	top := s.deacon("top", "--count", "2", "--every", "1s")
	s.expectText(top, `^busy +0 +RUNNING +([1-9]|\d{2,})\.\d% +\d.*M of 64M +\S+ of 128M +[1-9]`)
	s.expectText(top, `^web +0 +RUNNING +\d+\.\d% `)
}
