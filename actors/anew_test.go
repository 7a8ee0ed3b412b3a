package actors_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// failNext has the next message to an actor of a kind fail, whatever it is.
func (s *stage) failNext() (fail func(kind string)) {
	var mu sync.Mutex
	next := ""
	s.hook = func(turn kit.Turn) {
		mu.Lock()
		defer mu.Unlock()
		if turn.Kind == next && turn.Message != "Up" && turn.Message != "Down" {
			next = ""
			panic("once")
		}
	}
	return func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		next = kind
	}
}

// A container's actor that is restarted has only the order that it was made with:
// whose facts those are, and which jobs there are, it is told again.
func TestARestartedContainerTellsItsNewestOwner(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		fail := s.failNext()
		s.begin()
		s.connect(1).create("h")
		fail("handles")
		c := s.connect(2)
		pass(10 * time.Second)
		c = s.connect(3)
		if _, ok := c.spawn("h", "serve").(messaging.JobSpawned); !ok {
			t.Fatal("no job was spawned")
		}
		link := s.connect(4).send(linkOf("h", 1))
		pass(time.Second)
		fail("container")
		s.kernel.KillInit(s.held()[0].ID)
		pass(10 * time.Second)
		if got, ok := s.expectOne("link", link).(messaging.JobLinked); !ok || got.Status != 255 {
			t.Errorf("linked %+v", got)
		}
	})
}

// A container that can't be asked at first is stopped all the same, and so are its
// jobs.
func TestAContainerThatCantBeAskedIsStoppedWithItsJobs(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.spawn("h", "serve")
		s.crash()
		asked := 0
		s.kernel.Fault = func(call, _ string) error {
			if call == "adopt" {
				if asked++; asked == 2 { // the handle was told, the container isn't
					return errors.New("no answer")
				}
			}
			return nil
		}
		s.begin()
		c = s.connect(2)
		link := c.send(linkOf("h", 1))
		expectAnswer(t, "stop", c.end("h"), messaging.Done{})
		pass(time.Second)
		if got, ok := s.expectOne("link", link).(messaging.JobLinked); !ok || got.Status != 255 {
			t.Errorf("linked %+v", got)
		}
	})
}

// The order to take a half-made container away is lost, and with it the actor that
// made it: only its place in the network is left.
func TestAPlaceWithoutAContainerIsGivenBack(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var mu sync.Mutex
		placed, orders := false, 0
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			defer mu.Unlock()
			if turn.Kind == "handle" && turn.Message == "handleTold(containerPlaced)" && !placed {
				placed = true
				panic("once")
			}
			if turn.Kind == "containers" && turn.Message == "containerOrder" {
				if orders++; orders == 2 {
					panic("once")
				}
			}
		}
		s.slow("create", time.Second, fine)
		s.begin()
		c := s.connect(1)
		expectAnswer(t, "create", c.ask(createOf("h")), messaging.Failed{Text: "the node lost track of the request: ask again"})
		pass(time.Minute)
		done := make(chan error, 1)
		go func() { done <- s.tree.Shutdown(t.Context()) }()
		pass(time.Minute)
		select {
		case err := <-done:
			if err != nil {
				t.Error("shutdown:", err)
			}
		default:
			t.Errorf("the shutdown has not ended after a minute; left are %v", s.held())
		}
	})
}

func TestAnApplicationsEndIsToldToItsNewestInstance(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		fail := s.failNext()
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		fail("instances")
		s.tree.Deliver(messaging.RouterStarted{})
		pass(10 * time.Second)
		s.expectState("app", messaging.Running)
		fail("container")
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(10 * time.Second)
		s.expectState("app", messaging.Crashed)
	})
}
