package actors_test

import (
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// lines are what the node itself has said in an application's output.
func (s *stage) lines(application string) (text []string) {
	for _, line := range told[messaging.LogLine](s) {
		if line.Application == application && line.Stream == "deacon" {
			text = append(text, string(line.Text))
		}
	}
	return text
}

// wire/dea.md f.
func TestTheNodeSaysWhatItDoesInTheApplicationsOutput(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		s.start("deaf", "deaf", "deaf.example")
		pass(2 * time.Minute)
		s.stop("web")
		pass(2 * s.settings.CrashLifetime)
		for application, want := range map[string][]string{
			"web": {
				"Starting app instance (index 0) with guid web",
				"Stopping app instance (index 0) with guid web",
				"Stopped app instance (index 0) with guid web",
			},
			"deaf": {
				"Starting app instance (index 0) with guid deaf",
				"Instance (index 0) failed to start accepting connections",
				"Removing crash for app with id deaf",
			},
		} {
			if got := s.lines(application); !slices.Equal(got, want) {
				t.Errorf("of %s is said %q, want %q", application, got, want)
			}
		}
	})
}
