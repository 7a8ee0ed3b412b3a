package actors_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// turns leak when a waiting container is stopped.
func TestAStopWhileWaitingGivesItsTurnBack(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.settings.Starts = 1
		s.begin()
		for n := range 6 {
			s.start(fmt.Sprintf("app%d", n), "serve", "app.example")
		}
		pass(51 * time.Millisecond) // droplets are there; one create under way, five wait
		for n := range 6 {
			s.stop(fmt.Sprintf("app%d", n))
		}
		pass(time.Minute)
		s.forget()
		s.start("later", "serve", "later.example")
		pass(5 * time.Minute)
		s.expectState("later", messaging.Running)
	})
}

// a crash whose release takes longer than a nudge.
func TestNothingIsPromisedAgainBeforeItIsReleased(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		refuse := true
		var mu sync.Mutex
		s.kernel.Fault = func(call, id string) error {
			mu.Lock()
			defer mu.Unlock()
			if call == "release" && refuse {
				return fmt.Errorf("busy")
			}
			return nil
		}
		s.begin()
		s.start("app", "exit 7 after 2s", "app.example")
		pass(4 * time.Second)
		s.expectState("app", messaging.Crashed)
		s.forget()
		pass(10 * time.Second)
		o := told[messaging.Advertised](s)
		last := o[len(o)-1]
		t.Logf("held %d containers, offers disk %d of 4096", len(s.held()), last.DiskMiB)
		if len(s.held()) > 0 && last.DiskMiB == 4096 {
			t.Error("everything was given back while the container still holds its slot")
		}
	})
}

// containers fails once while an instance runs; a stop follows at once.
func TestAStopFindsAContainerWhoseActorIsGone(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("containers", "")
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.expectState("web", messaging.Running)
		arm()
		s.start("other", "serve", "other.example")
		pass(200 * time.Millisecond)
		s.stop("web")
		pass(time.Second)
		if s.state("web") == "" && len(s.kernel.Serving()) > 0 {
			t.Error("web is said to be STOPPED, and its container serves")
		}
		pass(time.Minute)
	})
}

// containers fails while an instance is STARTING with a living container.
func TestAStartGoesOnWithAContainerWhoseActorIsGone(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("containers", "")
		s.begin()
		s.start("slow", "serve after 20s", "web.example")
		pass(time.Second)
		arm()
		s.start("other", "serve", "other.example")
		pass(time.Minute)
		s.expectState("slow", messaging.Running)
	})
}

// agent killed after the container was made and before the record was written.
func TestARecordThatLagsKeepsItsHealthTimeout(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve after 5s", "app.example")
		pass(time.Second)
		s.crash()
		for _, r := range s.store.All() {
			// what the disk still had: written behind
			r.State = messaging.Born
			r.Placement.Slot, r.Placement.Epoch, r.Placement.Port, r.Placement.Started = 0, 0, 0, time.Time{}
			s.store.Put(r)
		}
		s.begin()
		pass(time.Minute)
		s.expectState("app", messaging.Running)
	})
}

// an application that ends as the shutdown begins.
func TestACrashAsTheShutdownBeginsDoesNotHoldItUp(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		hold := make(chan struct{})
		armed := false
		var mu sync.Mutex
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			a := armed && turn.Kind == "instance" && turn.Message == "describe"
			if a {
				armed = false
			}
			mu.Unlock()
			if a {
				<-hold
			}
		}
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		mu.Lock()
		armed = true
		mu.Unlock()
		s.tree.Deliver(messaging.FindInstances{Filter: messaging.Filter{Application: "app"}, ReplyTo: "x"})
		pass(time.Millisecond)
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- s.tree.Shutdown(t.Context()) }()
		pass(time.Millisecond)
		close(hold)
		pass(time.Minute)
		select {
		case err := <-done:
			if err != nil {
				t.Error("shutdown:", err)
			}
		default:
			t.Error("shutdown has not ended after a minute:", s.story(), s.state("app"), s.held())
		}
	})
}

// the instances' supervisor fails once after the shutdown began.
func TestAShutdownIsNotForgottenByARestart(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("instances", "stopAll")
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		arm()
		done := make(chan error, 1)
		go func() { done <- s.tree.Shutdown(t.Context()) }()
		pass(5 * time.Minute)
		select {
		case err := <-done:
			if err != nil {
				t.Error("shutdown:", err)
			}
		default:
			t.Error("shutdown has not ended after five minutes:", s.story(), s.state("app"))
		}
	})
}

// a crash told to nobody, because the agent died before the bus had it.
func TestASuccessorTellsACrashThatNobodyHeardOf(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "exit 7 after 2s", "app.example")
		pass(4 * time.Second)
		s.expectState("app", messaging.Crashed)
		s.crash()
		s.forget() // whatever was told waited in the outbox
		s.begin()
		pass(time.Minute)
		if len(told[messaging.InstanceExited](s)) == 0 {
			t.Error("the successor tells nobody how it ended:", s.story())
		}
	})
}

func TestAnOrderedStopNeverBecomesACrash(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		disk := s.store.All()[0] // what the writer has on disk until its next round
		s.stop("app")
		pass(500 * time.Microsecond)
		s.crash()
		s.store.Put(disk)
		s.forget()
		s.begin()
		pass(time.Minute)
		if len(told[messaging.InstanceExited](s)) > 0 {
			t.Error("an ordered stop is told as a crash")
		}
	})
}

func TestGivingUpAnActorKeepsHowItsInstanceEnded(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		armed := false
		var mu sync.Mutex
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			defer mu.Unlock()
			if armed && turn.Kind == "instance" {
				panic("always")
			}
		}
		s.begin()
		s.start("app", "exit 7 after 2s", "app.example")
		pass(5 * time.Second)
		mu.Lock()
		armed = true
		mu.Unlock()
		s.tree.Deliver(messaging.RouterStarted{})
		pass(2 * time.Minute)
		for _, r := range s.store.All() {
			if r.ExitStatus != 7 {
				t.Error("the exit status was overwritten")
			}
		}
	})
}

// told before "speak": the first incarnation fails on it
func TestWhatIsToldBeforeSpeakingIsNotLost(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.failOnce("instance", "speak")()
		s.memory = 10 // no room
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Minute)
		if len(told[messaging.InstanceExited](s)) == 0 {
			t.Error("droplet.exited was never told")
		}
	})
}

// the stop is lost with the incarnation that was to handle it
func TestAStopIsNotLostWithItsIncarnation(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.failOnce("instance", "stop")()
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.stop("app")
		pass(5 * time.Minute)
		if s.state("app") == messaging.Running {
			t.Error("the stop is lost")
		}
	})
}

// That a container can't be asked says nothing of the application in it.
func TestAContainerThatCantBeAskedIsAskedAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.crash()
		refused := 0
		s.kernel.Fault = func(call, _ string) error {
			if call == "adopt" && refused < 5 {
				refused++
				return fmt.Errorf("too many open files")
			}
			return nil
		}
		s.forget()
		s.begin()
		pass(time.Minute)
		if refused != 5 {
			t.Errorf("it was asked %d times in vain, want 5", refused)
		}
		s.expectState("app", messaging.Running)
		s.stop("app")
		pass(time.Minute)
		s.expectRest()
	})
}
