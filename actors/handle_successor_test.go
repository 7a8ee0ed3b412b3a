package actors_test

import (
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// An agent that was killed after it had answered a destroy, and before the slot
// was released, leaves a container that no client may see again.
func TestASuccessorListsNothingThatWasDestroyed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.create("i")
		destroy := c.send(destroyOf("h"))
		for len(s.answers(destroy)) == 0 {
			pass(100 * time.Microsecond)
		}
		s.crash()
		if held := s.held(); len(held) != 2 {
			t.Fatalf("the machine holds %v: nothing is left to be seen", held)
		}
		s.slow("destroy", time.Second, fine)
		s.begin()
		c = s.connect(2)
		if listed := c.list(); len(listed) != 1 || listed[0] != "i" {
			t.Errorf("listed %q, want what was not destroyed", listed)
		}
		expectAnswer(t, "info", c.inspect("h"), messaging.Failed{Text: "unknown handle"})
		c.create("h")
		pass(time.Minute)
		if held := s.held(); len(held) != 2 {
			t.Errorf("the machine holds %v, want the new one and the other", held)
		}
		if listed := c.list(); len(listed) != 2 {
			t.Errorf("listed %q in the end", listed)
		}
	})
}

// Who wrote too much was told of, and lives on: for no client it is there, whatever
// agent that asks.
func TestASuccessorListsNoJobThatWroteTooMuch(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		handle := c.create("h")
		c.spawn(handle, "serve "+strings.Repeat("x", 200))
		if got, ok := c.link(handle, 1).(messaging.JobLinked); !ok || got.Status != 255 {
			t.Fatalf("linked %+v", got)
		}
		s.crash()
		s.begin()
		c = s.connect(2)
		if got := c.inspect(handle).(messaging.ContainerInspected).Info; got.Jobs != nil || got.State != "active" {
			t.Errorf("inspected %+v", got)
		}
		expectAnswer(t, "again", c.link(handle, 1), messaging.Failed{Text: "no such job"})
	})
}

// An agent that is killed between the end of a job and the moment in which the
// client has its answer loses neither: the job is there for who asks again.
func TestAJobIsThereUntilTheClientHasItsEnd(t *testing.T) {
	for script, status := range map[string]uint32{"exit 3": 3, "serve " + strings.Repeat("x", 200): 255} {
		onStage(t, func(t *testing.T, s *stage) {
			s.slowDoor = true
			s.begin()
			c := s.connect(1)
			handle := c.create("h")
			c.spawn(handle, script)
			link := c.send(linkOf(handle, 1))
			pass(time.Minute)
			s.expectOne("link", link)
			expectAnswer(t, "by another", s.connect(2).link(handle, 1), messaging.Failed{Text: "no such job"})
			s.crash()
			s.slowDoor = false
			s.begin()
			c = s.connect(3)
			if got, ok := c.link(handle, 1).(messaging.JobLinked); !ok || got.Status != status {
				t.Errorf("%.10s: linked again %+v", script, got)
			}
			expectAnswer(t, "once it has it", c.link(handle, 1), messaging.Failed{Text: "no such job"})
			expectAnswer(t, "destroy", c.destroy(handle), messaging.Done{})
		})
	}
}

// A client that goes before its answer was written has taken the job along all
// the same (wire/warden.md c).
func TestWhoLeavesBeforeItsAnswerTakesTheJobAlong(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slowDoor = true
		s.begin()
		c := s.connect(1)
		handle := c.create("h")
		c.spawn(handle, "exit 3")
		c.send(linkOf(handle, 1))
		pass(time.Minute)
		c.leave()
		pass(time.Minute)
		s.crash()
		s.begin()
		expectAnswer(t, "link", s.connect(2).link(handle, 1), messaging.Failed{Text: "no such job"})
	})
}
