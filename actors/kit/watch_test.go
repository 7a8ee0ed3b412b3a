package kit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

// watch has an actor watch another.
func watch(watcher, target kit.Ref[line], name string) {
	within(watcher, func(c *kit.Context[line]) { kit.Watch(c, target, func() line { return gone{name} }) })
}

func TestAWatcherHearsOfEachWayToGo(t *testing.T) {
	for name, end := range map[string]func(s *stage, parent, child kit.Ref[line]){
		"stopped": func(s *stage, parent, child kit.Ref[line]) {
			within(parent, func(c *kit.Context[line]) { kit.Stop(c, child) })
		},
		"given up":         func(_ *stage, _, child kit.Ref[line]) { child.Tell(fail{errBoom}) },
		"parent restarted": func(_ *stage, parent, _ kit.Ref[line]) { parent.Tell(fail{errBoom}) },
		"parent stopped":   func(s *stage, parent, _ kit.Ref[line]) { s.stop(parent) },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				w, parent := s.spawn("w", s.kind()), s.spawn("p", newScript().kind())
				var child kit.Ref[line]
				within(parent, func(c *kit.Context[line]) {
					k := newScript().kind()
					k.Budget = kit.Never
					child = kit.Spawn(c, "c", k, c1)
				})
				watch(w, child, "c")
				synctest.Wait()
				s.expect(t, "w up 1")
				end(s, parent, child)
				pass(time.Minute)
				s.expect(t, "w up 1", "w: c is gone")
			})
		})
	}
}

func TestARestartIsNoEndToAWatcher(t *testing.T) {
	play(t, func(s *stage) {
		w, child := s.spawn("w", s.kind()), s.spawn("a", newScript().kind())
		watch(w, child, "a")
		child.Tell(fail{errBoom})
		pass(time.Minute)
		s.expect(t, "w up 1")
	})
}

func TestWhoIsGoneAlreadyIsToldAtOnce(t *testing.T) {
	play(t, func(s *stage) {
		w, child := s.spawn("w", s.kind()), s.spawn("a", newScript().kind())
		s.stop(child)
		watch(w, child, "a")
		watch(w, kit.Ref[line]{}, "nobody")
		synctest.Wait()
		s.expect(t, "w up 1", "w: a is gone", "w: nobody is gone")
	})
}

// libs.md pitfall 18: the library says it twice.
func TestAParentThatWatchesItsChildIsToldOnce(t *testing.T) {
	play(t, func(s *stage) {
		parent := s.spawn("p", s.kind())
		var child kit.Ref[line]
		within(parent, func(c *kit.Context[line]) {
			child = kit.Spawn(c, "c", newScript().kind(), c1)
			kit.Watch(c, child, func() line { return gone{"c"} })
		})
		within(parent, func(c *kit.Context[line]) { kit.Stop(c, child) })
		synctest.Wait()
		s.expect(t, "p up 1", "p: c is gone")
	})
}

func TestAWatchEndsWithTheIncarnationThatAsked(t *testing.T) {
	play(t, func(s *stage) {
		w, child := s.spawn("w", s.kind()), s.spawn("a", newScript().kind())
		watch(w, child, "a")
		w.Tell(fail{errBoom})
		pass(time.Minute)
		s.stop(child)
		s.expect(t, "w up 1", "w down 1", "w up 2")
	})
}

func TestTheEndComesAfterWhatTheWatchedActorSaid(t *testing.T) {
	play(t, func(s *stage) {
		w := s.spawn("w", s.kind())
		child := s.spawn("a", newScript().kind(func(p *player) {
			p.down = func(*kit.Context[line]) { w.Tell(say("farewell")) }
		}))
		watch(w, child, "a")
		s.stop(child)
		s.expect(t, "w up 1", "w: farewell", "w: a is gone")
	})
}
