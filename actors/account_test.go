package actors_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

func TestTheAccountIsTheBooks(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		s.start("worker", "deaf")
		pass(time.Second)
		want := actors.Account{
			MemoryMiB: messaging.Share{Capacity: 1024, Promised: 128}, DiskMiB: messaging.Share{Capacity: 4096, Promised: 128},
			Slots: messaging.Share{Capacity: 16384, Promised: 2}, Ports: messaging.Share{Capacity: 100, Promised: 2},
		}
		if got, err := s.tree.Account(t.Context()); err != nil || got != want {
			t.Errorf("the account is %+v, %v; want %+v", got, err, want)
		}
	})
}

// Whoever watches the node waits no longer than it likes for a ledger that is stuck.
func TestAStuckLedgerHoldsUpNobodyWhoWatches(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		release := make(chan struct{})
		s.hook = func(turn kit.Turn) {
			if turn.Kind == "ledger" && turn.Message == "reserve" {
				<-release
			}
		}
		s.begin()
		s.start("web", "serve", "web.example")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := s.tree.Account(ctx); err == nil {
			t.Errorf("a ledger that is stuck accounts for %+v", got)
		}
		stuck := 0
		for _, a := range s.tree.Actors() {
			if a.Kind == "ledger" {
				stuck = a.Mailbox
			}
		}
		if stuck == 0 {
			t.Errorf("nobody is seen to wait: %+v", s.tree.Actors())
		}
		close(release)
		pass(time.Second)
		s.expectState("web", messaging.Running)
	})
}

// wire/dea.md a.11: said once at boot, and to whoever asks, with the time since.
func TestMonitorsAreToldOfAComponent(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.component = &messaging.Component{
			Type: "DEA", Index: 3, UUID: "node-1", Address: netip.MustParseAddrPort("192.0.2.1:34501"),
			User: "monitor", Password: "secret",
		}
		want := *s.component
		want.Started = time.Now()
		s.begin()
		announced := told[messaging.ComponentAnnounced](s)
		if len(announced) != 1 || announced[0].Component != want {
			t.Errorf("announced %+v, want %+v", announced, want)
		}
		pass(time.Hour)
		s.tree.Deliver(messaging.DiscoverComponents{ReplyTo: "inbox"})
		pass(time.Millisecond)
		answers := told[messaging.ComponentDiscovered](s)
		if len(answers) != 1 || answers[0] != (messaging.ComponentDiscovered{
			ReplyTo: "inbox", Component: want, Uptime: time.Hour,
		}) {
			t.Errorf("answered %+v", answers)
		}
		if got := len(told[messaging.ComponentAnnounced](s)); got != 1 {
			t.Errorf("announced %d times", got)
		}
	})
}

func TestANodeThatCantBeWatchedSaysNothingOfIt(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.tree.Deliver(messaging.DiscoverComponents{ReplyTo: "inbox"})
		pass(time.Second)
		if a, d := told[messaging.ComponentAnnounced](s), told[messaging.ComponentDiscovered](s); len(a)+len(d) > 0 {
			t.Errorf("told %+v %+v", a, d)
		}
	})
}
