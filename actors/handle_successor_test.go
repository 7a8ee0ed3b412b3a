package actors_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
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

// The agent was killed between a destroy's answer and the release, and after
// the handle was given again.
func TestOneOfTwoContainersWithOneHandleGoes(t *testing.T) {
	for what, note := range map[string]func(n int) (number int, later time.Duration){
		"by the time":              func(n int) (int, time.Duration) { return 0, time.Duration(n) * time.Second },
		"though the clock was set": func(n int) (int, time.Duration) { return 7 + n, -time.Duration(n) * time.Hour },
		"after one without number": func(n int) (int, time.Duration) { return n, -time.Duration(n) * time.Hour },
	} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				for n, id := range []string{"old", "new"} {
					number, later := note(n)
					spec := isolation.Spec{ID: id, Slot: uint32(n), Epoch: 1, Owner: isolation.OwnerWarden,
						Created: time.Now().Add(later),
						Note:    fmt.Appendf(nil, `{"handle":"aA==","grace":60000000000,"state":"active","number":%d}`, number)}
					if _, err := s.kernel.Create(t.Context(), spec, nil); err != nil {
						t.Fatal(err)
					}
				}
				s.begin()
				pass(time.Second)
				c := s.connect(1)
				if got := c.list(); !slices.Equal(got, []string{"h"}) {
					t.Errorf("listed %q", got)
				}
				pass(time.Minute)
				if held := s.held(); len(held) != 1 || held[0].ID != "new" {
					t.Errorf("left are %v, want the newer one", held)
				}
			})
		})
	}
}
