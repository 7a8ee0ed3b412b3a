package actors_test

import (
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// A start that is refused is remembered as a crash and holds nothing: in the DEA one
// absurd request took the disk away until that was forgotten (wire/dea.md b.8).
// Disk is looked at before memory.
func TestARefusedStartTakesNoDisk(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.tree.Deliver(messaging.StartInstance{
			Application: "absurd", Version: "v1", StartCommand: "serve",
			Limits: messaging.ApplicationLimits{MemoryMiB: 1 << 30, DiskMiB: 1 << 30},
		})
		pass(time.Second)
		s.expectStory("CRASHED", "exited -1 Not enough disk resource available.")
		s.expectState("absurd", messaging.Crashed)
		s.expectRest() // while it is still there
		s.expectState("absurd", messaging.Crashed)
	})
}

// A node answers for the runtimes that it has, and offers their names.
func TestOnlyANodeWithTheRuntimeIsDiscovered(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.runtimes = []string{"java", "ruby19"}
		s.begin()
		for _, runtime := range []string{"", "ruby19", "node"} {
			s.tree.Deliver(messaging.DiscoverNodes{Application: "a", MemoryMiB: 1, DiskMiB: 1, Runtime: runtime, ReplyTo: "to " + runtime})
		}
		pass(6 * time.Second)
		var answered []string
		for _, answer := range told[messaging.NodeDiscovered](s) {
			answered = append(answered, answer.ReplyTo)
		}
		slices.Sort(answered) // they come at the same moment
		if !slices.Equal(answered, []string{"to ", "to ruby19"}) {
			t.Errorf("it answered %q", answered)
		}
		if offer := told[messaging.Advertised](s)[0]; len(offer.Runtimes) != 2 {
			t.Errorf("it offers %+v", offer)
		}
	})
}
