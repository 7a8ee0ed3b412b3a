package actors_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// The making of a container fails while its owner is just about to ask for it
// again. It must not be made a second time: its slot may be another's by then.
func TestAnOrderThatComesTooLateMakesNothing(t *testing.T) {
	for kind, ask := range map[string]func(s *stage){
		"instance nudge": func(s *stage) { s.start("app", "serve", "app.example") },
		"handle handleNudge": func(s *stage) {
			s.connect(1).send(func(a messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: a} })
		},
	} {
		t.Run(kind, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.slow("create", 2500*time.Millisecond, once(errors.New("no"))) // the owner asks again after 2 s
				var hold sync.Once
				s.hook = func(turn kit.Turn) {
					if turn.Kind+" "+turn.Message == kind {
						hold.Do(func() { time.Sleep(time.Second) })
					}
				}
				s.begin()
				ask(s)
				pass(time.Minute)
				if n := s.kernel.Created(); n != 0 {
					t.Errorf("%d containers were made after the making had failed", n)
				}
				s.expectRest()
			})
		})
	}
}

// once fails the first time.
func once(err error) func() error {
	var mu sync.Mutex
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		failed := err
		err = nil
		return failed
	}
}

// sluggish takes its time for the last lines.
type sluggish struct{ model.Output }

func (o sluggish) Follow(ctx context.Context, source actors.OutputSource, done <-chan struct{}) error {
	err := o.Output.Follow(ctx, source, done)
	time.Sleep(4 * time.Minute)
	return err
}

// Who looks after a container falls when all of it is dead and its last lines are
// still being read.
func TestAStoppedInstanceIsOverWhoeverFalls(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("containers", "swept")
		s.begin()
		s.start("app", "serve", "app.example")
		pass(5 * time.Second)
		s.crash()
		s.output = sluggish{}
		s.begin()
		pass(time.Second)
		s.stop("app")
		pass(2 * time.Second)
		s.expectState("app", messaging.Stopped)
		arm()
		pass(20 * time.Minute)
		s.expectRest()
	})
}

// Nobody asks again for a container whose maker fell, and its maker's supervisor too:
// whoever was to make it ends, and gives its slot back.
func TestAnOwnerThatIsGoneIsNotWaitedFor(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("adopt", 3*time.Second, fine) // so that it is asked for again before it is known what there is
		var container, handles sync.Once
		s.hook = func(turn kit.Turn) {
			switch turn.Kind + " " + turn.Message {
			case "container turnCame":
				container.Do(func() { panic("once") })
			case "handles clientAsked(ListContainers)":
				handles.Do(func() { panic("once") })
			}
		}
		s.begin()
		c := s.connect(1)
		c.send(networkOf("10.254.0.41"))
		pass(time.Millisecond)
		c.send(func(a messaging.Ask) messaging.Command { return messaging.ListContainers{Ask: a} })
		pass(time.Minute)
		if n := len(told[messaging.AsksForgotten](s)); n != 1 {
			t.Fatalf("everybody was sent away %d times, want once", n)
		}
		again := s.connect(2).ask(networkOf("10.254.0.41"))
		if _, ok := again.(messaging.ContainerCreated); !ok {
			t.Errorf("the network can't be had any more: %+v", again)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.tree.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
	})
}

// What a former incarnation had ordered is answered to the next, before that has
// ordered anything: it must not take it for an answer of its own, and watch nobody.
func TestAnAnswerToAFormerOrderIsNotCountedOn(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("create", 5*time.Second, fine)
		var mu sync.Mutex
		grants, failed, armed := 0, false, false
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			fail := turn.Kind == "instance" && turn.Message == "nudge" && !failed ||
				turn.Kind == "containers" && turn.Message == "swept" && armed
			if turn.Kind == "instance" && turn.Message == "granted" {
				grants++
			}
			late := turn.Message == "granted" && grants == 2
			failed, armed = failed || fail && turn.Kind == "instance", armed && !fail
			mu.Unlock()
			if late {
				time.Sleep(5 * time.Second) // and the container comes first
			}
			if fail {
				panic("once")
			}
		}
		s.begin()
		s.start("app", "serve", "app.example")
		pass(20 * time.Second)
		s.expectState("app", messaging.Running)
		mu.Lock()
		armed = true
		mu.Unlock()
		pass(20 * time.Second)
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(10 * time.Second)
		s.expectState("app", messaging.Crashed)
	})
}

// Whoever is to stop a container can't ask it first; what it was stopped for is told
// all the same.
func TestTheEndOfWhatCouldNotBeAskedIsTold(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("containers", "swept")
		s.begin()
		s.start("app", "serve", "app.example")
		pass(5 * time.Second)
		until := time.Now().Add(10 * time.Second)
		s.kernel.Fault = func(call, _ string) error {
			if (call == "stop" || call == "adopt") && time.Now().Before(until) {
				return errors.New("no answer")
			}
			return nil
		}
		arm()
		s.kernel.OOMKill(s.held()[0].ID, false)
		pass(time.Minute)
		s.expectState("app", messaging.Crashed)
	})
}

// A machine that can't be asked for a while how a job is doing says nothing of it.
func TestAJobThatCannotBeWaitedForForAWhileRunsOn(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		until := time.Now().Add(10 * time.Second)
		s.kernel.Fault = func(call, _ string) error {
			if call == "wait" && time.Now().Before(until) {
				return errors.New("no descriptor left")
			}
			return nil
		}
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Minute)
		s.expectState("app", messaging.Running)
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Second)
		s.expectState("app", messaging.Crashed)
	})
}

// Its actor falls when the container is just made, and PID 1 dies before the next one
// asks: whoever wants it is told, and nothing is left.
func TestAContainerThatDiesUnheardOfIsAnsweredFor(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("adopt", time.Second, fine)
		arm := s.failOnce("container", "created")
		s.begin()
		arm()
		create := s.connect(1).send(createOf("h"))
		pass(100 * time.Millisecond)
		s.kernel.KillInit(s.held()[0].ID)
		pass(time.Minute)
		expectAnswer(t, "create", s.expectOne("create", create), messaging.Failed{Text: "command exited with failure"})
		if held := s.held(); len(held) > 0 {
			t.Errorf("left are %v", held)
		}
	})
}

// Both who wanted a container and who would know that it is no more fall when its
// making fails. Its slot is on its way to another.
func TestAContainerWithoutASlotIsNotMade(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("create", time.Second, once(errors.New("no")))
		var instance, containers sync.Once
		s.hook = func(turn kit.Turn) {
			switch turn.Kind + " " + turn.Message {
			case "instance told(containerFailed)":
				instance.Do(func() { panic("once") })
			case "containers containerOver":
				containers.Do(func() { panic("once") })
			}
		}
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Minute)
		if n := s.kernel.Created(); n != 0 {
			t.Errorf("%d containers were made in a slot that was given back", n)
		}
		s.expectState("app", messaging.Crashed)
		s.expectRest()
	})
}

// A killed agent's last writes were lost: on record an instance has the slot that a
// client's container was given since.
func TestARecordFromBeforeTakesNobodysSlot(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(30 * time.Millisecond) // its droplet is on the way
		s.expectState("app", messaging.Starting)
		s.crash()
		taken := s.store.All()[0].Placement
		spec := isolation.Spec{ID: "other", Slot: taken.Slot, Epoch: taken.Epoch + 1, Owner: isolation.OwnerWarden}
		if _, err := s.kernel.Create(t.Context(), spec, nil); err != nil {
			t.Fatal(err)
		}
		s.begin()
		pass(5 * time.Second)
		s.expectState("app", messaging.Running)
	})
}
