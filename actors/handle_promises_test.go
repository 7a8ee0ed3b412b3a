package actors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

func createOf(name string) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: a, Handle: &name} }
}

func networkOf(network string) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: a, Network: network} }
}

func spawnOf(handle, script string) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command {
		return messaging.SpawnJob{Ask: a, Handle: handle, Script: messaging.Script{Text: script}}
	}
}

func streamOf(handle string, job uint32) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.StreamJob{Ask: a, Handle: handle, Job: job} }
}

func stopOf(handle string) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.StopContainer{Ask: a, Handle: handle} }
}

func destroyOf(handle string) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.DestroyContainer{Ask: a, Handle: handle} }
}

// expectOne wants a request to be answered once, and returns the answer.
func (s *stage) expectOne(what string, ask messaging.Ask) messaging.Answer {
	s.t.Helper()
	found := s.answers(ask)
	if len(found) != 1 {
		s.t.Fatalf("%s: %d answers, want one: %+v", what, len(found), found)
	}
	return found[0]
}

// slow has one call to the kernel take its time, and fail where err says so.
func (s *stage) slow(slow string, takes time.Duration, err func() error) {
	s.kernel.Fault = func(call, _ string) error {
		if call != slow {
			return nil
		}
		time.Sleep(takes)
		return err()
	}
}

func fine() error { return nil }

// A client comes back at the very moment that the successor takes its container up.
func TestTheFirstRequestToASuccessorIsServed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.connect(1).create("h")
		s.crash()
		s.begin()
		expectAnswer(t, "spawn", s.connect(2).spawn("h", "serve"), messaging.JobSpawned{Job: 1})
	})
}

// Many creates may wait longer for their turn than the janitor takes between two audits.
func TestACreateThatWaitsKeepsItsPromise(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("create", time.Minute, fine)
		s.begin()
		c := s.connect(1)
		first := c.send(networkOf("10.254.0.41"))
		pass(40 * time.Second)
		expectAnswer(t, "the same network", s.connect(2).ask(networkOf("10.254.0.41")),
			messaging.Failed{Text: "Could not acquire network: 10.254.0.40"})
		pass(time.Minute)
		if _, ok := s.expectOne("create", first).(messaging.ContainerCreated); !ok {
			t.Errorf("answered %+v", s.answers(first))
		}
	})
}

func TestASlotRestsForAsLongAsItIsConfigured(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.settings.ReleaseDelay = 2 * time.Minute
		s.begin()
		c := s.connect(1)
		made := c.ask(networkOf("10.254.0.41")).(messaging.ContainerCreated)
		c.destroy(made.Handle)
		pass(time.Minute)
		expectAnswer(t, "too early", c.ask(networkOf("10.254.0.41")),
			messaging.Failed{Text: "Could not acquire network: 10.254.0.40"})
		pass(2 * time.Minute)
		s.expectRest()
	})
}

// In one container the kernel takes a number once; that of a job which was
// linked and forgotten stays used.
func TestASuccessorUsesNoJobsNumberAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.spawn("h", "exit 0 after 1s")
		c.link("h", 1)
		pass(time.Second)
		s.crash()
		s.begin()
		expectAnswer(t, "spawn", s.connect(2).spawn("h", "serve"), messaging.JobSpawned{Job: 2})
	})
}

// What an actor was asked and lost with its incarnation is asked again.
func TestNothingIsUnansweredThatGotLostOnTheWay(t *testing.T) {
	for _, m := range []moment{
		{"ledger", "reserve"}, {"ledger", "reservePort"}, {"containers", "containerOrder"}, {"container", "turnCame"},
		{"container", "created"}, {"container", "startJob"}, {"container", "jobStarted"}, {"handle", "roomFound"},
		{"handle", "designed"}, {"handle", "spawned"}, {"handle", "portReserved"}, {"handle", "gathered"},
	} {
		t.Run(m.kind+" "+m.message, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				var once sync.Once
				failed := false
				s.hook = func(turn kit.Turn) {
					if turn.Kind == m.kind && turn.Message == m.message {
						once.Do(func() { failed = true; panic("once") })
					}
				}
				s.begin()
				c := s.connect(1)
				lost := messaging.Failed{Text: "the node lost track of the request: ask again"}
				try := func(make func(messaging.Ask) messaging.Command) messaging.Answer {
					if a := c.ask(make); a != messaging.Answer(lost) {
						return a
					}
					return c.ask(make)
				}
				expectAnswer(t, "create", try(createOf("h")), messaging.ContainerCreated{Handle: "h"})
				if a, ok := try(spawnOf("h", "exit 0 after 1s")).(messaging.JobSpawned); !ok {
					t.Errorf("spawn: %+v", a)
				}
				mapPort := func(a messaging.Ask) messaging.Command { return messaging.MapPort{Ask: a, Handle: "h"} }
				if a, ok := try(mapPort).(messaging.PortMapped); !ok {
					t.Errorf("net_in: %+v", a)
				}
				c.ask(linkOf("h", 1))
				if n := len(s.held()); n != 1 {
					t.Errorf("%d containers were made for one create", n)
				}
				expectAnswer(t, "destroy", try(destroyOf("h")), messaging.Done{})
				pass(time.Minute)
				s.expectRest()
				if !failed {
					t.Error("there was no such moment")
				}
			})
		})
	}
}

func TestAContainerWhoseInitDiesIsStopped(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		s.kernel.KillInit(s.held()[0].ID)
		pass(time.Second)
		info := c.inspect("h").(messaging.ContainerInspected).Info
		if info.State != "stopped" || len(info.Events) != 1 {
			t.Errorf("inspected %+v", info)
		}
	})
}

// A job that starts while its container is stopped must not outlive the stop.
func TestAStopEndsTheJobThatIsJustStarting(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("spawn", 3*time.Second, fine)
		s.begin()
		c, other := s.connect(1), s.connect(2)
		c.create("h")
		spawn := c.send(spawnOf("h", "serve"))
		pass(time.Second)
		stop := other.send(stopOf("h"))
		pass(30 * time.Second)
		expectAnswer(t, "stop", s.expectOne("stop", stop), messaging.Done{})
		s.expectOne("spawn", spawn)
		if serving := s.kernel.Serving(); len(serving) > 0 {
			t.Errorf("%v run jobs although they were stopped", serving)
		}
		s.slow("spawn", time.Second, func() error { return errors.New("no") })
		other.create("i")
		spawn = c.send(spawnOf("i", "serve"))
		pass(time.Millisecond)
		stop = other.send(stopOf("i"))
		pass(30 * time.Second)
		expectAnswer(t, "stop", s.expectOne("stop", stop), messaging.Done{})
		s.expectOne("spawn", spawn)
	})
}

func TestAContainerThatCantBeStoppedIsDestroyed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.kernel.Fault = func(call, _ string) error {
			if call == "stop" {
				return fmt.Errorf("stop: %w", context.DeadlineExceeded)
			}
			return nil
		}
		s.begin()
		c, waiting := s.connect(1), s.connect(2)
		c.create("h")
		c.spawn("h", "serve")
		link := waiting.send(linkOf("h", 1))
		expectAnswer(t, "destroy", c.destroy("h"), messaging.Done{})
		s.expectOne("link", link)
		pass(time.Minute)
		s.expectRest()
	})
}

func TestAStreamThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c, idle := s.connect(1), s.connect(neverReads)
		c.create("h")
		c.spawn("h", "serve")
		stream := idle.send(streamOf("h", 1))
		pass(time.Second)
		expectAnswer(t, "destroy", c.destroy("h"), messaging.Done{})
		s.expectOne("stream", stream)
		c.create("h")
		c.spawn("h", "serve")
		idle.send(streamOf("h", 2))
		pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.tree.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
	})
}

// While creates wait for their turn, handles forgets who asked for them.
func TestNoContainerIsLostWithHandles(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.settings.Starts = 1
		arm := s.failOnce("handles", "")
		s.slow("create", 5*time.Second, fine)
		s.begin()
		c := s.connect(1)
		for n := range 4 {
			c.send(createOf(fmt.Sprint("h", n)))
		}
		pass(7 * time.Second)
		arm()
		s.connect(2)
		pass(time.Minute)
		if n := len(told[messaging.AsksForgotten](s)); n != 1 {
			t.Errorf("everybody was sent away %d times, want once", n)
		}
		if listed, held := s.connect(3).list(), s.held(); len(listed) != len(held) {
			t.Errorf("listed %q, and there are %d", listed, len(held))
		}
	})
}

// The root begins anew when a part of it is given up; its clients have to as well.
func TestClientsAreSentAwayWhenTheNodeBeginsAnew(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("node", "arrived(StopContainer)")
		s.begin()
		c := s.connect(1)
		c.create("h")
		arm()
		c.send(stopOf("h"))
		pass(time.Minute)
		if n := len(told[messaging.AsksForgotten](s)); n != 1 {
			t.Errorf("everybody was sent away %d times, want once", n)
		}
	})
}

// What a client was told holds for a successor, wherever the agent was killed.
func TestWhatWasAnsweredIsNotForgotten(t *testing.T) {
	for name, act := range map[string]struct {
		ask  func(messaging.Ask) messaging.Command
		then func(t *testing.T, c *client)
	}{
		"stop": {stopOf("h"), func(t *testing.T, c *client) {
			if info := c.inspect("h").(messaging.ContainerInspected).Info; info.State != "stopped" {
				t.Errorf("it was stopped, and is %q", info.State)
			}
		}},
		"background stop": {func(a messaging.Ask) messaging.Command {
			return messaging.StopContainer{Ask: a, Handle: "h", Background: true}
		}, func(t *testing.T, c *client) {
			if info := c.inspect("h").(messaging.ContainerInspected).Info; info.State != "stopped" {
				t.Errorf("it was stopped, and is %q", info.State)
			}
		}},
		"link": {linkOf("h", 1), func(t *testing.T, c *client) {
			if info := c.inspect("h").(messaging.ContainerInspected).Info; len(info.Events) != 1 {
				t.Errorf("the event is forgotten: %+v", info)
			}
		}},
		"destroy": {destroyOf("h"), func(t *testing.T, c *client) {
			pass(30 * time.Second)
			if listed := c.list(); len(listed) > 0 {
				t.Errorf("it was destroyed, and %q are listed", listed)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.begin()
				c := s.connect(1)
				c.create("h")
				c.spawn("h", "serve "+fmt.Sprintf("%0200d", 1))
				pass(time.Second)
				killed := &atomic.Bool{}
				s.slow("note", 20*time.Millisecond, func() error {
					if killed.Load() {
						return errors.New("killed")
					}
					return nil
				})
				ask := c.send(act.ask)
				for len(s.answers(ask)) == 0 {
					pass(time.Millisecond)
				}
				killed.Store(true)
				s.crash()
				pass(time.Second)
				s.kernel.Fault = nil
				s.begin()
				act.then(t, s.connect(2))
			})
		})
	}
}

// To link a job that is only being started is to guess its number.
func TestAGuessedJobHarmsNobody(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("spawn", time.Second, func() error { return errors.New("no") })
		s.begin()
		c, other := s.connect(1), s.connect(2)
		c.create("h")
		spawn := c.send(spawnOf("h", "serve"))
		pass(time.Millisecond)
		expectAnswer(t, "link", other.ask(linkOf("h", 1)), messaging.Failed{Text: noJob})
		pass(time.Minute)
		expectAnswer(t, "spawn", s.expectOne("spawn", spawn), messaging.Failed{Text: "command exited with failure"})
	})
}

// One that can't be asked says nothing of the others.
func TestAMuteContainerHoldsNobodyUp(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("mute")
		mute := s.held()[0].ID
		c.create("h")
		s.crash()
		s.kernel.Fault = func(call, id string) error {
			if call == "adopt" && id == mute {
				return errors.New("no answer")
			}
			return nil
		}
		s.begin()
		c = s.connect(2)
		expectAnswer(t, "spawn", c.spawn("h", "serve"), messaging.JobSpawned{Job: 1})
		ask := s.connect(3).send(spawnOf("mute", "serve"))
		pass(time.Minute)
		s.kernel.Fault = nil
		pass(time.Minute)
		expectAnswer(t, "spawn, late", s.expectOne("spawn", ask), messaging.JobSpawned{Job: 2})
	})
}

// A client that is told to ask again must not get what it asked for twice.
func TestWhatIsSaidToBeLostIsNotDone(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		hold, armed := make(chan struct{}), atomic.Bool{}
		s.hook = func(turn kit.Turn) {
			if turn.Kind == "handle" && turn.Message == "clientWants" && armed.CompareAndSwap(true, false) {
				<-hold
				panic("once")
			}
		}
		s.begin()
		a, b := s.connect(1), s.connect(2)
		a.create("h")
		armed.Store(true)
		asks := []messaging.Ask{a.send(spawnOf("h", "serve")), b.send(spawnOf("h", "serve"))}
		pass(time.Millisecond)
		close(hold)
		pass(time.Minute)
		said := 0
		for _, ask := range asks {
			if _, ok := s.expectOne("spawn", ask).(messaging.JobSpawned); ok {
				said++
			}
		}
		if info := a.inspect("h").(messaging.ContainerInspected).Info; len(info.Jobs) != said {
			t.Errorf("%d jobs run, %d were said to", len(info.Jobs), said)
		}
	})
}

// A container whose actor was given up is looked after by the next one.
func TestGivingUpAContainersActorLeavesNoJobInAStoppedContainer(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.budget = kit.Budget{Restarts: 2, Window: time.Minute, PauseMin: time.Millisecond, PauseMax: time.Millisecond}
		var mu sync.Mutex
		fails := 0
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			defer mu.Unlock()
			if fails > 0 && turn.Kind == "container" && turn.Message != "Down" {
				fails--
				panic("some times")
			}
		}
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.spawn("h", "serve")
		mu.Lock()
		fails = 3
		mu.Unlock()
		c.send(spawnOf("h", "serve"))
		pass(time.Minute)
		info := c.inspect("h").(messaging.ContainerInspected).Info
		if serving := s.kernel.Serving(); info.State == "stopped" && len(serving) > 0 {
			t.Errorf("it is stopped, and %v run jobs", serving)
		}
		if _, ok := c.link("h", 1).(messaging.JobLinked); !ok {
			t.Error("its job can't be linked")
		}
	})
}

func TestAPortThatCouldNotBeMappedIsGivenBack(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.slow("map", 0, func() error { return errors.New("taken") })
		s.begin()
		c := s.connect(1)
		c.create("h")
		mapPort := func(a messaging.Ask) messaging.Command { return messaging.MapPort{Ask: a, Handle: "h"} }
		for range 150 { // more than there are
			expectAnswer(t, "net_in", c.ask(mapPort), messaging.Failed{Text: "command exited with failure"})
		}
		s.kernel.Fault = nil
		if got, ok := c.ask(mapPort).(messaging.PortMapped); !ok {
			t.Errorf("answered %+v", got)
		}
	})
}
