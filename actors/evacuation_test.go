package actors_test

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// evacuate tells the node to hand over what it runs.
func (s *stage) evacuate(within time.Duration) {
	s.tree.Deliver(messaging.EvacuateNode{Within: within, ReplyTo: "_INBOX.operator"})
}

func (s *stage) evacuated() bool {
	select {
	case <-s.tree.Evacuated():
		return true
	default:
		return false
	}
}

func (s *stage) lastBeat() map[string]messaging.State {
	beats := told[messaging.Beat](s)
	rows := map[string]messaging.State{}
	if len(beats) > 0 {
		for _, i := range beats[len(beats)-1].Instances {
			rows[i.Application] = i.State
		}
	}
	return rows
}

// wire/dea.md b.7.
func TestAnEvacuatedNodeServesUntilItIsReplaced(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		s.start("slow", "serve after 3s", "slow.example")
		pass(time.Second)
		s.forget()
		s.evacuate(time.Minute)
		pass(100 * time.Millisecond)
		if left := told[messaging.NodeStopped](s); len(left) != 1 || left[0].ApplicationCount["web"] != 1 {
			t.Errorf("goodbye: %+v", left)
		}
		if answers := told[messaging.NodeEvacuating](s); len(answers) != 1 || answers[0].Instances != 2 {
			t.Errorf("answers: %+v", answers)
		}
		for _, e := range told[messaging.InstanceExited](s) {
			if e.Reason != "DEA_EVACUATION" || e.ExitStatus != -1 || e.Description != "" || !e.CrashedAt.IsZero() {
				t.Errorf("told %+v", e)
			}
		}
		if rows := s.lastBeat(); rows["web"] != messaging.Evacuating || rows["slow"] != messaging.Evacuating {
			t.Errorf("the heartbeat has %v", rows)
		}
		s.start("late", "serve", "late.example")
		s.tree.Deliver(messaging.LocateNodes{})
		s.tree.Deliver(messaging.DiscoverNodes{Application: "late", MemoryMiB: 1, DiskMiB: 1, ReplyTo: "_INBOX.a"})
		s.evacuate(time.Hour) // the first time counts
		s.forget()
		pass(20 * time.Second)
		if n := len(told[messaging.Advertised](s)) + len(told[messaging.NodeDiscovered](s)); n > 0 {
			t.Errorf("%d offers were made", n)
		}
		if n := len(told[messaging.Beat](s)); n < 4 {
			t.Errorf("%d heartbeats in 20 s, want one every 5 s at least", n)
		}
		if s.state("late") != "" {
			t.Error("a start was taken")
		}
		s.expectStory("register", "register", "register") // slow came up; each is announced in time
		s.stop("web")
		pass(6 * time.Second)
		if s.evacuated() {
			t.Fatal("it is over, and slow runs")
		}
		s.stop("slow")
		pass(6 * time.Second)
		if !s.evacuated() {
			t.Error("nothing is left, and it isn't over")
		}
	})
}

func TestAnEvacuationEndsWhenItsTimeIsOver(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.evacuate(30 * time.Second)
		pass(29 * time.Second)
		if s.evacuated() {
			t.Error("it is over too early")
		}
		pass(6 * time.Second)
		if !s.evacuated() {
			t.Error("it isn't over")
		}
		s.expectState("web", messaging.Running)
	})
}

// A DEA didn't notice, and waited for it until the end (wire/dea.md b.7).
func TestAnEndWhileEvacuatingIsNoticed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "exit 7 after 5s", "web.example")
		pass(time.Second)
		s.evacuate(time.Hour)
		pass(10 * time.Second)
		if rows := s.lastBeat(); rows["web"] != messaging.Crashed || !s.evacuated() {
			t.Errorf("the heartbeat has %v, and it is over: %v", rows, s.evacuated())
		}
		exits := told[messaging.InstanceExited](s)
		if last := exits[len(exits)-1]; last.Reason != "CRASHED" || last.ExitStatus != 7 {
			t.Errorf("told %+v", last)
		}
	})
}

func TestASuccessorGoesOnEvacuating(t *testing.T) {
	for what, message := range map[string]string{"before anybody heard": "evacuationKept", "after": ""} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.begin()
				s.start("web", "serve", "web.example")
				pass(time.Second)
				if message != "" {
					s.failOnce("instances", message)()
				}
				s.evacuate(30 * time.Second)
				pass(10 * time.Second)
				s.crash()
				s.forget()
				s.begin()
				pass(10 * time.Second)
				if rows := s.lastBeat(); rows["web"] != messaging.Evacuating {
					t.Errorf("the heartbeat has %v", rows)
				}
				if len(told[messaging.NodeStopped](s)) != 1 || len(told[messaging.Advertised](s)) > 0 {
					t.Error("it is open for more")
				}
				if len(told[messaging.InstanceExited](s)) > 0 {
					t.Error("it is told twice that it is to be replaced")
				}
				pass(20 * time.Second)
				if !s.evacuated() {
					t.Error("its time is over, and it isn't")
				}
			})
		})
	}
}

// Of a machine that was restarted nobody knows whether it is to be left still.
func TestARebootEndsAnEvacuation(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.evacuate(time.Hour)
		pass(time.Second)
		s.crash()
		s.kernel.Reboot()
		s.boot = "boot-2"
		actors.Boot{ID: s.boot, At: time.Now(), NewContainerID: func() string { return s.id("c") }}.StartOver(s.store)
		s.begin()
		pass(10 * time.Second)
		if rows := s.lastBeat(); rows["web"] != messaging.Running || s.evacuated() {
			t.Errorf("the heartbeat has %v", rows)
		}
	})
}

func TestFiltersKnowWhatIsEvacuated(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.evacuate(time.Hour)
		pass(time.Second)
		s.forget()
		find := func(states ...string) int {
			s.forget()
			s.tree.Deliver(messaging.FindInstances{ReplyTo: "_INBOX.a",
				Filter: messaging.Filter{Application: "web", States: states}})
			pass(time.Second)
			return len(told[messaging.InstanceFound](s))
		}
		if running, leaving := find("RUNNING"), find("EVACUATING"); running != 0 || leaving != 1 {
			t.Errorf("found %d RUNNING and %d EVACUATING", running, leaving)
		}
	})
}

// SIGUSR1: what is told is done, and nothing is offered.
func TestAHiddenNodeOffersNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		pass(time.Second)
		s.forget()
		s.tree.Hide()
		s.tree.Hide()
		pass(20 * time.Second)
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.expectState("web", messaging.Running)
		if n := len(told[messaging.Advertised](s)); n > 0 {
			t.Errorf("%d offers were made", n)
		}
		if n := len(told[messaging.NodeStopped](s)); n != 1 {
			t.Errorf("goodbye was said %d times", n)
		}
		if rows := s.lastBeat(); rows["web"] != messaging.Running {
			t.Errorf("the heartbeat has %v", rows)
		}
	})
}
