package actors_test

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

func TestWhoAskedIsToldOfWhatIsCarriedOut(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		asker := messaging.Asker{Subject: "dea.stop", By: "ann@desk"}
		from := func(c messaging.Command) {
			s.tree.Deliver(messaging.From{Command: c, Asker: asker})
			pass(time.Second)
		}
		from(messaging.StopInstances{Filter: messaging.Filter{Application: "web"}})
		if said := told[messaging.Asked](s); len(said) != 0 {
			t.Errorf("a stop of nothing that is here is told: %+v", said)
		}
		from(messaging.StartInstance{
			Application: "web", Name: "web", Version: "v1", StartCommand: "serve", Index: 3,
			Droplet: messaging.Droplet{URI: "http://blobs.example/web", SHA1: "web"},
			Limits:  messaging.ApplicationLimits{MemoryMiB: 64, DiskMiB: 64, Files: 256},
		})
		s.expectState("web", messaging.Running) // and it is carried out
		from(messaging.StopInstances{Filter: messaging.Filter{Application: "web"}})
		from(messaging.EvacuateNode{ReplyTo: "inbox"})
		said := told[messaging.Asked](s)
		if len(said) != 3 {
			t.Fatalf("told: %+v", said)
		}
		for n, want := range []messaging.Asked{
			{Application: "web", Index: 3, Instances: 1}, {Application: "web", Index: 3, Instances: 1}, {Index: -1},
		} {
			want.NodeID, want.Asker, want.At = "node-1", asker, said[n].At
			if said[n] != want || said[n].At.IsZero() {
				t.Errorf("told %+v, want %+v", said[n], want)
			}
		}
	})
}
