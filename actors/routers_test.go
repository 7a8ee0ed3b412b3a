package actors_test

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// registers counts how often routes are told in a while.
func (s *stage) registers(while time.Duration) int {
	s.forget()
	pass(while)
	return len(told[messaging.RouteRegistered](s))
}

// A router that prunes early asks for more; none gets less than the node is set to.
func TestARoutersIntervalIsKeptTo(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		if n := len(told[messaging.RoutersGreeted](s)); n != 1 {
			t.Errorf("routers were greeted %d times", n)
		}
		s.start("web", "serve", "web.example")
		pass(time.Second)
		if n := s.registers(time.Minute); n != 3 {
			t.Errorf("routes are told %d times a minute, want 3", n)
		}
		s.tree.Deliver(messaging.RouterStarted{Interval: 5 * time.Second})
		pass(time.Second)
		if n := s.registers(time.Minute); n != 12 {
			t.Errorf("routes are told %d times a minute, want 12", n)
		}
		s.tree.Deliver(messaging.RouterStarted{})
		s.tree.Deliver(messaging.RouterStarted{Interval: 5 * time.Second})
		pass(time.Second)
		if n := s.registers(time.Minute); n != 12 {
			t.Errorf("routes are told %d times a minute, want 12 yet", n)
		}
		s.tree.Deliver(messaging.RouterStarted{Interval: time.Hour})
		pass(time.Second)
		if n := s.registers(time.Minute); n != 3 {
			t.Errorf("routes are told %d times a minute, want 3 again", n)
		}
	})
}

func TestWhatInstancesUseIsToldOfAllThatRun(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		s.start("slow", "serve after 1m", "slow.example")
		s.start("dead", "exit 3", "dead.example")
		pass(2 * time.Second)
		s.tree.Deliver(messaging.DescribeInstances{ReplyTo: "_INBOX.a"})
		pass(time.Second)
		names := map[string]int{}
		for _, e := range told[messaging.InstanceDescribed](s) {
			names[e.Stats.Name]++
			if e.ReplyTo != "_INBOX.a" || e.Stats.MemQuota != 64<<20 || e.Stats.Port == 0 || e.Stats.FilesQuota != 256 {
				t.Errorf("told %+v", e)
			}
		}
		if names["web"] != 1 || names["slow"] != 1 || names["dead"] != 0 {
			t.Errorf("told of %v", names)
		}
	})
}
