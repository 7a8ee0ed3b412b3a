package actors_test

import (
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// A droplet with a state file runs once the file says so: with uris or without,
// whatever its port does, and not after five minutes (wire/dea.md b.2).
func TestAStateFileIsAskedInsteadOfThePort(t *testing.T) {
	for _, c := range []struct {
		command string
		uris    []string
		want    []string
	}{
		{"serve after 4m", nil, []string{"STARTING", "RUNNING"}},
		{"serve after 4m", []string{"web.example"}, []string{"STARTING", "RUNNING", "register"}},
		{"deaf", nil, []string{"STARTING", "CRASHED", "exited -1 failed to accept connections within health check timeout"}},
		{"exit 3 after 1m", nil, []string{"STARTING", "RUNNING", "CRASHED", "exited 3 app instance exited"}},
	} {
		onStage(t, func(t *testing.T, s *stage) {
			s.droplets.StateFile = "app/state"
			s.begin()
			s.start("web", c.command, c.uris...)
			if c.command == "serve after 4m" {
				pass(3*time.Minute + 59*time.Second)
				s.expectState("web", messaging.Starting)
				pass(2 * time.Second)
				s.expectState("web", messaging.Running)
			}
			pass(6 * time.Minute)
			if got := slices.Compact(s.story()); !slices.Equal(got, c.want) { // routes are told again and again
				t.Errorf("%s: told %q, want %q", c.command, got, c.want)
			}
		})
	}
}

// Who waits for a debugger is waited for.
func TestASuspendedApplicationIsWaitedFor(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.droplets.StateFile = "app/state"
		s.begin()
		s.tree.Deliver(messaging.StartInstance{
			Application: "web", Version: "v1", StartCommand: "serve after 30h", Limits: messaging.ApplicationLimits{MemoryMiB: 1, DiskMiB: 1},
			First: &messaging.FirstEra{Runtime: "ruby19", Debug: "suspend"},
		})
		pass(29 * time.Hour)
		s.expectState("web", messaging.Starting)
		pass(2 * time.Hour)
		s.expectState("web", messaging.Running)
	})
}
