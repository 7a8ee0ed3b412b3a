package actors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// enter asks to enter an application's only instance.
func (s *stage) enter(application string) (actors.Record, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	for _, r := range s.store.All() {
		if r.Start.Application == application {
			return s.tree.Enter(ctx, r.Named())
		}
	}
	s.t.Fatalf("%s has no instance", application)
	return actors.Record{}, nil
}

func (s *stage) refused(application string, state messaging.State) {
	s.t.Helper()
	_, err := s.enter(application)
	if refused, ok := errors.AsType[*actors.NotRunningError](err); !ok || refused.State != state {
		s.t.Errorf("%s that is %s is entered with %v", application, state, err)
	}
}

func TestAnInstanceIsEnteredWhileItHasAContainer(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.droplets.Takes = 5 * time.Second
		s.start("web", "serve after 3s", "web.example")
		pass(time.Second)
		s.refused("web", messaging.Starting) // its droplet is being fetched
		pass(5 * time.Second)
		s.expectState("web", messaging.Starting) // it has begun, and its port is not open yet
		if r, err := s.enter("web"); err != nil || r.Placement.Container == "" || r.Start.Application != "web" {
			t.Errorf("a starting one: %+v, %v", r, err)
		}
		pass(5 * time.Second)
		s.expectState("web", messaging.Running)
		if _, err := s.enter("web"); err != nil {
			t.Error("a running one:", err)
		}
		// A successor lets in where it adopted.
		s.crash()
		s.begin()
		pass(time.Second)
		if _, err := s.enter("web"); err != nil {
			t.Error("an adopted one:", err)
		}
		// One that is to be replaced serves on, and so may be looked at.
		s.evacuate(time.Minute)
		pass(time.Second)
		if _, err := s.enter("web"); err != nil {
			t.Error("an evacuating one:", err)
		}
	})
}

func TestNobodyEntersAnInstanceThatEnds(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "stubborn", "web.example")
		s.start("short", "exit 3 after 1s")
		pass(3 * time.Second)
		s.refused("short", messaging.Crashed)
		s.stop("web")
		pass(time.Second)
		s.refused("web", messaging.Stopping)
		if _, err := s.tree.Enter(t.Context(), "nobody"); !errors.Is(err, actors.ErrNoInstance) {
			t.Errorf("an instance that isn't there: %v", err)
		}
	})
}

// Who asks a tree that is gone, or that can't answer, is told so.
func TestWhoAsksToEnterIsAlwaysAnswered(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		tree := s.tree
		s.crash()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tree.Enter(ctx, "i1"); err == nil {
			t.Error("a tree that is gone lets in")
		}
	})
}
