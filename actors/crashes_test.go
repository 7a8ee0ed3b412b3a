package actors_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// crashes keeps nothing and writes down what it is asked for.
type crashes struct {
	s     *stage
	keep  func(ctx context.Context) error
	kept  []string // instances
	found []string // what was there at that moment
	gone  []string // what the next sweep says
}

func (k *crashes) Keep(ctx context.Context, instance, container string) error {
	time.Sleep(time.Microsecond) // what was told before is heard by then
	k.s.mu.Lock()
	k.kept = append(k.kept, instance)
	for _, e := range k.s.events {
		if e, is := e.(messaging.InstanceExited); is && e.Instance == instance {
			k.found = append(k.found, "told")
		}
	}
	k.s.mu.Unlock()
	for _, spec := range k.s.held() {
		if spec.ID == container {
			k.found = append(k.found, "there")
		}
	}
	if k.keep != nil {
		return k.keep(ctx)
	}
	return nil
}

func (k *crashes) Sweep(context.Context) ([]string, error) {
	gone := k.gone
	k.gone = nil
	return gone, nil
}

// onCrashStage has an application that runs.
func onCrashStage(t *testing.T, act func(t *testing.T, s *stage, k *crashes)) {
	t.Helper()
	onStage(t, func(t *testing.T, s *stage) {
		k := &crashes{s: s}
		s.crashes = k
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		s.expectState("app", messaging.Running)
		act(t, s, k)
	})
}

func TestACrashsLogsAreKeptBeforeItsContainerGoes(t *testing.T) {
	onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
		instance := s.store.All()[0].Instance
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Second)
		if !slices.Equal(k.kept, []string{instance}) || !slices.Equal(k.found, []string{"told", "there"}) {
			t.Errorf("kept were %q, and there was %q", k.kept, k.found)
		}
		s.expectRest()
	})
}

// Whatever becomes of the copy, the crash is told at once and the container goes.
func TestLogsThatCantBeKeptHoldUpNothing(t *testing.T) {
	for name, keep := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return errors.New("the disk is full") },
		"hangs":   func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
				k.keep = keep
				s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
				pass(time.Millisecond)
				if n := len(told[messaging.InstanceExited](s)); n != 1 {
					t.Errorf("the crash was told %d times", n)
				}
				pass(11 * time.Second)
				if len(k.kept) != 1 {
					t.Errorf("kept were %q", k.kept)
				}
				s.expectRest()
			})
		})
	}
}

func TestWhatWasStoppedIsNotKept(t *testing.T) {
	onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
		s.stop("app")
		pass(time.Minute)
		if len(k.kept) != 0 {
			t.Errorf("kept were %q", k.kept)
		}
		s.expectRest()
	})
}

// An agent that is killed over the copy has a successor that makes it.
func TestASuccessorKeepsWhatWasNot(t *testing.T) {
	onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
		k.keep = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Millisecond)
		s.crash()
		k.kept, k.found, k.keep = nil, nil, nil
		s.begin()
		pass(time.Second)
		if len(k.kept) == 0 || !slices.Contains(k.found, "there") {
			t.Errorf("kept were %q, and there was %q", k.kept, k.found)
		}
		pass(time.Minute)
		s.expectRest()
	})
}

func TestAShutdownKeepsNothing(t *testing.T) {
	onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
		k.keep = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		go func() { done <- s.tree.Shutdown(ctx) }()
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		if err := <-done; err != nil || time.Since(began) > 15*time.Second {
			t.Errorf("it took %s: %v", time.Since(began), err)
		}
	})
}

func TestACrashThatLostItsLogsIsForgotten(t *testing.T) {
	onCrashStage(t, func(t *testing.T, s *stage, k *crashes) {
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Second)
		instance := s.store.All()[0].Instance
		k.gone = []string{instance}
		pass(15 * time.Second)
		s.expectState("app", messaging.Crashed) // nobody has heard of it yet
		s.tree.ExitTold(instance)
		k.gone = []string{instance}
		pass(15 * time.Second)
		s.expectState("app", "")
	})
}

// served is a directory server's place.
func served() *actors.Directory {
	return &actors.Directory{
		Route: messaging.Route{
			URIs: []string{"0f.example"}, Host: netip.MustParseAddr("192.0.2.1"), Port: 5678, ComponentTag: "directory-server-0",
		},
		Link: func(instance, path string) string { return "http://0f.example/" + instance + path },
	}
}

// filesRoutes are the routes of the directory server that were told of.
func filesRoutes(s *stage) (registered, unregistered int) {
	for _, e := range told[messaging.RouteRegistered](s) {
		if e.Route.Application == "" {
			registered++
		}
	}
	for _, e := range told[messaging.RouteUnregistered](s) {
		if e.Route.Application == "" {
			unregistered++
		}
	}
	return registered, unregistered
}

func TestTheDirectorysRouteIsToldLikeAnInstances(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.files = served()
		s.begin()
		pass(time.Second)
		if n, _ := filesRoutes(s); n != 1 {
			t.Errorf("at the start it is registered %d times", n)
		}
		s.forget()
		pass(3 * s.settings.RouterRegister)
		if n, _ := filesRoutes(s); n != 3 {
			t.Errorf("in three intervals it is registered %d times", n)
		}
		s.forget()
		s.tree.Deliver(messaging.RouterStarted{})
		pass(time.Millisecond)
		if n, _ := filesRoutes(s); n != 1 {
			t.Errorf("a router that comes up is told %d times", n)
		}
		s.crash() // nothing has changed for anybody
		s.forget()
		s.begin()
		pass(time.Second)
		s.forget()
		if err := s.tree.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		pass(3 * s.settings.RouterRegister)
		if on, off := filesRoutes(s); on != 0 || off != 1 {
			t.Errorf("from the shutdown on it is registered %d times and unregistered %d", on, off)
		}
	})
}

func TestALinkIsGivenWhereAPathIsAskedFor(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.files = served()
		s.begin()
		s.start("app", "serve", "app.example")
		pass(time.Second)
		ask := func(find messaging.FindInstances) messaging.InstanceFound {
			t.Helper()
			s.forget()
			find.Filter, find.ReplyTo = messaging.Filter{Application: "app"}, "inbox"
			s.tree.Deliver(find)
			pass(time.Second)
			found := told[messaging.InstanceFound](s)
			if len(found) != 1 {
				t.Fatalf("%d answers", len(found))
			}
			return found[0]
		}
		link := "http://0f.example/" + s.store.All()[0].Instance
		for _, stats := range []bool{false, true} {
			if got := ask(messaging.FindInstances{IncludeStats: stats}).FileURI; got != "" {
				t.Errorf("without a path comes %q", got)
			}
			if got := ask(messaging.FindInstances{IncludeStats: stats, IncludePath: true}).FileURI; got != link {
				t.Errorf("with an empty path comes %q", got)
			}
			find := messaging.FindInstances{IncludeStats: stats, IncludePath: true, Path: "/logs"}
			if got := ask(find).FileURI; got != link+"/logs" {
				t.Errorf("with a path comes %q", got)
			}
		}
		s.kernel.Exit(s.held()[0].ID, isolation.Exit{Code: 3})
		pass(time.Second)
		if got := ask(messaging.FindInstances{IncludePath: true}); got.FileURI != link || got.State != messaging.Crashed {
			t.Errorf("of a crashed one comes %+v", got)
		}
	})
}
