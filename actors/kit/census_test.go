package kit_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

// One actor is stuck with three messages behind what it handles, another waits for
// its restart, a third was restarted and a fourth was given up.
func TestACensusSeesWhoIsStuckAndWhoFell(t *testing.T) {
	play(t, func(s *stage) {
		release := make(chan struct{})
		stuck := s.spawn("stuck", s.kind())
		stuck.Tell(do(func(*kit.Context[line]) error { <-release; return nil }))
		for range 3 {
			stuck.Tell(say("wait"))
		}
		again := s.spawn("again", s.kind())
		again.Tell(fail{errBoom})
		never := s.kind()
		never.Name, never.Budget = "brittle", kit.Never
		s.spawn("lost", never).Tell(fail{errBoom})
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		falls := s.spawn("falls", s.kind())
		falls.Tell(fail{errBoom})
		falls.Tell(say("behind"))
		synctest.Wait()
		kind := s.kind().Name
		want := []kit.Standing{
			{Path: "root", Kind: kind, Incarnation: 1},
			{Path: "root/again", Kind: kind, Incarnation: 2},
			{Path: "root/falls", Kind: kind, Incarnation: 1, Mailbox: 1, Failed: true},
			{Path: "root/stuck", Kind: kind, Incarnation: 1, Mailbox: 3},
		}
		if got := s.system.Census(); !slices.Equal(got, want) {
			t.Errorf("the census is\n%+v, want\n%+v", got, want)
		}
		tallies := s.system.Tallies()
		if tallies[kind] != (kit.Tally{Restarts: 2}) || tallies["brittle"] != (kit.Tally{GivenUp: 1}) {
			t.Errorf("counted %+v", tallies)
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Second)
	})
}
