package actors_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

func TestAnApplicationStartsServesAndStops(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.expectState("web", messaging.Running)
		s.stop("web")
		pass(time.Second)
		s.expectStory("STARTING", "RUNNING", "register", "STOPPING", "unregister", "STOPPED")
		s.expectRest()
	})
}

func TestAWorkerNeedsNoPort(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("worker", "deaf")
		pass(time.Second)
		s.expectState("worker", messaging.Running)
		s.expectStory("STARTING", "RUNNING")
	})
}

// wire/dea.md a.9, row by row.
func TestEveryEndHasTheWiresWords(t *testing.T) {
	for _, c := range []struct {
		what, command string
		harm          func(s *stage, container string)
		want          []string
	}{
		{"exit 0", "exit 0 after 2s", nil, []string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited 0 app instance exited"}},
		{"exit 7", "exit 7 after 2s", nil, []string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited 7 app instance exited"}},
		{"exit before the port opens", "exit 3", nil, []string{"STARTING", "CRASHED", "exited 3 app instance exited"}},
		{"a port that never opens", "deaf", nil,
			[]string{"STARTING", "CRASHED", "exited -1 failed to accept connections within health check timeout"}},
		{"no start command", "", nil, []string{"STARTING", "CRASHED", "exited -1 missing start command"}},
		{"a signal", "serve", func(s *stage, id string) { s.kernel.Exit(id, isolation.Exit{Code: -1, Signal: 11}) },
			[]string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited 255 app instance exited"}},
		{"out of memory", "serve", func(s *stage, id string) { s.kernel.OOMKill(id, true) },
			[]string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited 255 out of memory"}},
		{"a child out of memory", "serve", func(s *stage, id string) { s.kernel.OOMKill(id, false) },
			[]string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited 255 out of memory"}},
		{"init killed", "serve", func(s *stage, id string) { s.kernel.KillInit(id) },
			[]string{"STARTING", "RUNNING", "register", "CRASHED", "unregister", "exited -1 unknown"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.begin()
				s.start("app", c.command, "app.example")
				pass(time.Second)
				if c.harm != nil {
					c.harm(s, s.held()[0].ID)
				}
				pass(2 * time.Minute)
				s.expectStory(c.want...)
				s.expectState("app", messaging.Crashed)
				s.expectRest()
			})
		})
	}
}

func TestAFailedStartHoldsNothing(t *testing.T) {
	for what, spoil := range map[string]func(s *stage){
		"wrong digest": func(s *stage) { s.droplets.Wrong = map[string]bool{"app": true} },
		"kernel refuses": func(s *stage) {
			s.kernel.Fault = func(call, _ string) error {
				if call == "create" {
					return fmt.Errorf("no room in the table")
				}
				return nil
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				spoil(s)
				s.begin()
				s.start("app", "serve", "app.example")
				pass(time.Minute)
				s.expectStory("STARTING", "CRASHED", "exited -1 failed to start")
				s.expectRest()
			})
		})
	}
}

func TestNoRoomIsSaidAndHoldsNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.memory = 100
		s.begin()
		s.start("first", "serve", "first.example")
		pass(time.Second)
		s.forget()
		s.start("second", "serve", "second.example")
		pass(time.Second)
		s.expectStory("CRASHED", "exited -1 Not enough memory resource available.")
		s.expectState("first", messaging.Running)
		s.stop("first")
		pass(time.Second)
		s.expectRest()
	})
}

// A stop at any moment of a start ends in STOPPED and in nothing else: no late
// answer makes a crash of it (wire/dea.md b.2).
func TestAStopAtAnyMomentOfAStartIsAStop(t *testing.T) {
	for at := range 70 {
		onStage(t, func(t *testing.T, s *stage) {
			s.begin()
			s.start("app", "serve after 5ms", "app.example")
			time.Sleep(time.Duration(at) * time.Millisecond)
			s.stop("app")
			pass(2 * time.Minute)
			for _, e := range told[messaging.InstanceExited](s) {
				t.Errorf("stopped after %d ms: told %+v", at, e)
			}
			s.expectState("app", "")
			s.expectRest()
		})
	}
}

func TestAStubbornApplicationIsKilledAfterTheGrace(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "stubborn", "app.example")
		pass(time.Second)
		s.stop("app")
		pass(9 * time.Second)
		s.expectState("app", messaging.Stopping)
		pass(2 * time.Second)
		s.expectState("app", "")
		s.expectRest()
	})
}

func TestInstancesOfOneDropletShareItsDownload(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		for range 5 {
			s.start("app", "serve", "app.example")
		}
		pass(time.Second)
		if n := s.droplets.Fetches(); n != 1 {
			t.Errorf("%d downloads, want 1", n)
		}
		if n := len(s.kernel.Serving()); n != 5 {
			t.Errorf("%d containers serve, want 5", n)
		}
	})
}

// An agent that dies at any moment of a start, and its successor: the
// application runs once, and everything is given back at its stop.
func TestASuccessorTakesUpAtAnyMomentOfAStart(t *testing.T) {
	for at := range 65 {
		onStage(t, func(t *testing.T, s *stage) {
			s.begin()
			s.start("app", "serve", "app.example")
			pass(time.Duration(at) * time.Millisecond) // at least until it is accepted
			s.crash()
			s.begin()
			pass(time.Minute)
			s.expectState("app", messaging.Running)
			if n := len(s.kernel.Serving()); n != 1 {
				t.Fatalf("killed after %d ms: %d containers serve, want 1", at, n)
			}
			s.stop("app")
			pass(time.Minute)
			s.expectRest()
		})
	}
}

// The record on disk may be older than the container: it is written behind.
func TestARecordThatLagsBehindItsContainerFindsIt(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.crash()
		lagging := s.store.All()[0]
		lagging.State = messaging.Born
		lagging.Placement = actors.Placement{Instance: lagging.Instance, Container: lagging.Placement.Container}
		s.store.Put(lagging)
		s.begin()
		s.forget()
		pass(10 * time.Second)
		s.expectState("app", messaging.Running)
		if n := s.kernel.Created(); n != 1 {
			t.Errorf("%d containers were made, want the first alone", n)
		}
		if offers := told[messaging.Advertised](s); offers[len(offers)-1].MemoryMiB != s.memory-64 {
			t.Errorf("the node offers %+v beside an instance of 64 MiB", offers[len(offers)-1])
		}
		s.stop("app")
		pass(time.Minute)
		s.expectRest()
	})
}

func TestASuccessorHarmsNothingAndToldRoutesAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		was := s.kernel.Serving()
		s.crash()
		s.forget()
		s.begin()
		select {
		case <-s.tree.Ready():
		case <-time.After(time.Second):
			t.Error("not ready after a second")
		}
		synctest.Wait()
		// Once for the container that was found, once maybe for the registrar.
		if got := slices.Compact(s.story()); !slices.Equal(got, []string{"register"}) {
			t.Errorf("told %q, want nothing but the routes", got)
		}
		if got := s.kernel.Serving(); len(got) != 1 || got[0] != was[0] || s.kernel.Created() != 1 {
			t.Errorf("%v serve after the restart, before it were %v", got, was)
		}
		beats := told[messaging.Beat](s)
		if len(beats) == 0 || len(beats[0].Instances) != 1 || beats[0].Instances[0].State != messaging.Running {
			t.Errorf("the first heartbeat is %+v, want the one running instance", beats)
		}
	})
}

func TestAnEndWhileNoAgentLivedIsToldAsItWas(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.crash()
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 7})
		s.forget()
		s.begin()
		pass(time.Second)
		s.expectStory("CRASHED", "unregister", "exited 7 app instance exited")
		s.expectRest()
	})
}

func TestAContainerWithoutAnOwnerIsReclaimed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		spec := isolation.Spec{ID: "orphan", Slot: 3, Epoch: 1, Owner: isolation.OwnerInstance}
		if _, err := s.kernel.Create(t.Context(), spec, &isolation.Job{Number: 1, Argv: []string{"serve"}}); err != nil {
			t.Fatal(err)
		}
		s.begin()
		pass(time.Second)
		s.expectRest()
	})
}

func TestAStepThatIsRefusedIsRepeated(t *testing.T) {
	for _, call := range []string{"stop", "destroy", "release"} {
		onStage(t, func(t *testing.T, s *stage) {
			refused := 0
			s.kernel.Fault = func(got, _ string) error {
				if got == call && refused < 4 {
					refused++
					return fmt.Errorf("%s is refused", call)
				}
				return nil
			}
			s.begin()
			s.start("app", "serve", "app.example")
			pass(time.Second)
			s.stop("app")
			pass(time.Minute)
			if refused != 4 {
				t.Errorf("%s was refused %d times, want 4", call, refused)
			}
			s.expectState("app", "")
			s.expectRest()
		})
	}
}

func TestAShutdownStopsEverythingAndSaysGoodbyeFirst(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		for i := range 5 {
			s.start(fmt.Sprint("app", i), "serve", "app.example")
		}
		pass(time.Second)
		s.start("late", "serve", "late.example") // in the middle of its start
		s.start("crash", "", "crash.example")
		time.Sleep(10 * time.Millisecond)
		if err := s.tree.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := s.held(); len(left) > 0 || len(s.store.All()) > 0 {
			t.Errorf("left after a shutdown: %v, %v", left, s.store.All())
		}
		goodbye := told[messaging.NodeStopped](s)
		if len(goodbye) != 1 || goodbye[0].ApplicationCount["app0"] != 1 {
			t.Errorf("told %+v, want one goodbye with the applications", goodbye)
		}
	})
}

func TestPeriodicFactsComeInTheirTime(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.forget()
		pass(time.Minute)
		if n := len(told[messaging.Beat](s)); n != 6 {
			t.Errorf("%d heartbeats in a minute, want 6", n)
		}
		if n := len(told[messaging.Advertised](s)); n != 12 {
			t.Errorf("%d advertisements in a minute, want 12", n)
		}
		if n := len(told[messaging.RouteRegistered](s)); n != 3 {
			t.Errorf("%d registrations in a minute, want 3", n)
		}
	})
}

func TestManyChangesAtOnceAreFewHeartbeats(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.memory = 1 << 20
		s.begin()
		for i := range 50 {
			s.start(fmt.Sprint("app", i), "serve", "app.example")
		}
		pass(5 * time.Second)
		beats := told[messaging.Beat](s)
		if len(beats) > 12 {
			t.Errorf("%d heartbeats for 50 starts", len(beats))
		}
		for _, row := range beats[len(beats)-1].Instances {
			if row.State != messaging.Running {
				t.Errorf("the last heartbeat has %+v", row)
			}
		}
		if n := len(beats[len(beats)-1].Instances); n != 50 {
			t.Errorf("the last heartbeat has %d instances, want 50", n)
		}
	})
}

func TestFindAnswersOncePerSelectedInstance(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		s.start("other", "serve", "other.example")
		pass(time.Second)
		s.tree.Deliver(messaging.FindInstances{
			Filter: messaging.Filter{Application: "app", States: []string{"RUNNING"}}, IncludeStats: true, ReplyTo: "inbox",
		})
		s.tree.Deliver(messaging.FindInstances{
			Filter: messaging.Filter{Application: "app", States: []string{"CRASHED"}}, ReplyTo: "inbox",
		})
		pass(time.Second)
		found := told[messaging.InstanceFound](s)
		if len(found) != 1 || found[0].Stats == nil || found[0].Stats.MemQuota != 64<<20 || found[0].ReplyTo != "inbox" {
			t.Errorf("found %+v, want app's one instance with stats", found)
		}
	})
}

// The emptiest of several nodes answers first; one without room not at all.
func TestWhoLooksForRoomHearsOfItInGoodTime(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		ask := func(memory, disk int64) time.Duration {
			s.forget()
			s.tree.Deliver(messaging.DiscoverNodes{Application: "app", MemoryMiB: memory, DiskMiB: disk, ReplyTo: "inbox"})
			for waited := time.Duration(0); waited < time.Second; waited += time.Millisecond {
				for _, answer := range told[messaging.NodeDiscovered](s) {
					if answer.ReplyTo != "inbox" || answer.Node.ID != "node-1" {
						t.Errorf("answered %+v", answer)
					}
					return waited
				}
				pass(time.Millisecond)
			}
			return -1
		}
		check := func(what string, got, want time.Duration) {
			t.Helper()
			if got < want || got > want+2*time.Millisecond {
				t.Errorf("%s: answered after %s, want %s", what, got, want)
			}
		}
		check("an empty node", ask(1024, 4096), 0)
		check("too much memory", ask(1025, 1), -1)
		check("too much disk", ask(1, 4097), -1)
		for range 8 { // half of the node
			s.start("app", "serve", "app.example")
		}
		pass(5 * time.Second)
		check("eight instances of its own, half full", ask(512, 1), 130*time.Millisecond)
		check("more than is left", ask(513, 1), -1)
		s.stop("app")
		pass(time.Minute)
		check("empty again", ask(1024, 4096), 0)
	})
}

func TestAnOperatorIsToldWhatIsPromisedAndUsed(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		s.start("other", "serve", "other.example")
		pass(5 * time.Second)
		s.forget()
		s.tree.Deliver(messaging.DescribeNodes{ReplyTo: "inbox"})
		s.tree.Deliver(messaging.LocateNodes{})
		pass(time.Second)
		answers := told[messaging.NodeDescribed](s)
		if len(answers) != 1 {
			t.Fatalf("answered %+v", answers)
		}
		usage, err := s.kernel.Usage(t.Context(), s.held()[0].ID)
		if err != nil || usage.MemoryBytes == 0 {
			t.Fatalf("used %+v, %v", usage, err)
		}
		a := answers[0]
		if a.Capacity != 1024 || a.Promised != 128 || a.Used != 2*usage.MemoryBytes>>20 || a.ReplyTo != "inbox" {
			t.Errorf("answered %+v, with %d bytes used by each", a, usage.MemoryBytes)
		}
		if offers := told[messaging.Advertised](s); len(offers) == 0 || offers[0].MemoryMiB != 1024-128 {
			t.Errorf("who asks who is there is told %+v", offers)
		}
	})
}

func TestOnlyTheNewestCrashOfAnApplicationIsRemembered(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		for range 3 {
			s.start("app", "exit 1", "app.example")
			pass(time.Second)
		}
		pass(time.Minute)
		if n := len(s.store.All()); n != 3 {
			t.Errorf("%d crashes are remembered, want all of which nobody heard", n)
		}
		for _, e := range told[messaging.InstanceExited](s) {
			s.tree.ExitTold(e.Instance)
		}
		pass(time.Minute)
		if n := len(s.store.All()); n != 1 {
			t.Errorf("%d crashes are remembered, want 1", n)
		}
		pass(s.settings.CrashLifetime)
		if n := len(s.store.All()); n != 0 {
			t.Errorf("%d crashes are remembered after their lifetime, want none", n)
		}
	})
}
