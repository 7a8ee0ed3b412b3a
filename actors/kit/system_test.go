package kit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/actors/kit"
)

// complaint returns what f panics with.
func complaint(f func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return
}

func TestANameThatIsInUseIsRefused(t *testing.T) {
	play(t, func(s *stage) {
		s.spawn("a", s.kind())
		within(s.root, func(c *kit.Context[line]) {
			for name, want := range map[string]string{
				"a":   "kit: spawn root/a: a living child has that name",
				"":    `kit: spawn "root/": a name must not be empty nor hold / or #`,
				"a/b": `kit: spawn "root/a/b": a name must not be empty nor hold / or #`,
				"a#b": `kit: spawn "root/a#b": a name must not be empty nor hold / or #`,
			} {
				if got := complaint(func() { kit.Spawn(c, name, s.kind(), c1) }); got != want {
					t.Errorf("%q: %s", name, got)
				}
			}
			want := `kit: spawn root/x: kind "" needs a name and New`
			if got := complaint(func() { kit.Spawn(c, "x", kit.Kind[line]{}, c1) }); got != want {
				t.Error(got)
			}
		})
		if got := complaint(func() { kit.Root(s.system, "root", s.kind(), nil) }); !strings.Contains(got, "living root") {
			t.Error(got)
		}
		synctest.Wait()
		s.expect(t, "a up 1")
	})
}

// The child stays on its way down for as long as the test likes.
func TestANameIsFreeAsSoonAsItsHolderIsTold(t *testing.T) {
	play(t, func(s *stage) {
		hold := make(chan struct{})
		first := s.spawn("a", s.kind(func(p *player) { p.down = func(*kit.Context[line]) { <-hold } }))
		s.stop(first)
		second := s.spawn("a", s.kind())
		second.Tell(say("here"))
		synctest.Wait()
		s.expect(t, "a up 1", "a down 1", "a up 1", "a: here")
		close(hold)
		synctest.Wait()
		if first == second || first.Path() != "root/a" || second.Path() != "root/a" {
			t.Errorf("refs %v and %v", first, second)
		}
	})
}

func TestTheZeroRefLeadsNowhere(t *testing.T) {
	var r kit.Ref[line]
	r.Tell(say("hello"))
	if !r.IsZero() || r.Path() != "" || r != (kit.Ref[line]{}) {
		t.Error("the zero Ref isn't")
	}
	play(t, func(s *stage) {
		if s.root.IsZero() {
			t.Error("a root is zero")
		}
		within(s.root, func(c *kit.Context[line]) {
			if c.Self() != s.root {
				t.Error("an actor isn't itself")
			}
			kit.Stop(c, r)
		})
	})
}

// libs.md pitfall 14: a bounded mailbox spins its sender, itself even for ever.
func TestTellNeverBlocks(t *testing.T) {
	play(t, func(s *stage) {
		const many = 100_000
		within(s.root, func(c *kit.Context[line]) {
			for range many {
				c.Self().Tell(question{})
			}
		})
		if got, err := ask(s.Context(), s.root); got != many+1 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
	})
}

func TestAStopGoesFromTheLeavesUpAndTheNewestRootFirst(t *testing.T) {
	play(t, func(s *stage) {
		nest := func(name string) func(*player) {
			return func(p *player) {
				p.up = func(c *kit.Context[line]) error { kit.Spawn(c, name, s.kind(), c1); return nil }
			}
		}
		kit.Root(s.system, "one", s.kind(nest("a")), nil)
		synctest.Wait()
		kit.Root(s.system, "two", s.kind(nest("b")), nil)
		synctest.Wait()
		if got, want := s.system.Living(), []string{"one", "one/a", "root", "two", "two/b"}; !slices.Equal(got, want) {
			t.Errorf("living %q", got)
		}
		if err := s.system.Stop(s.Context()); err != nil {
			t.Error(err)
		}
		s.expect(t, "one up 1", "a up 1", "two up 1", "b up 1", "b down 1", "two down 1", "a down 1", "one down 1")
		if got := complaint(func() { kit.Root(s.system, "three", s.kind(), nil) }); !strings.Contains(got, "has stopped") {
			t.Error(got)
		}
	})
}

func TestAStopThatTakesTooLongNamesWhatIsLeft(t *testing.T) {
	for want, burden := range map[string]func(s *stage){
		"1 pieces of work": func(s *stage) {
			s.pipe(s.root, func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil })
		},
		"still there: root": func(s *stage) {
			s.root.Tell(do(func(*kit.Context[line]) error { time.Sleep(time.Minute); return nil }))
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{T: t, script: newScript(), system: kit.NewSystem(kit.Options{})}
				s.root = kit.Root(s.system, "root", s.kind(), nil)
				burden(s)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := s.system.Stop(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v", err)
				}
				pass(time.Hour)
			})
		})
	}
}

func TestACloseCutsAStopShort(t *testing.T) {
	play(t, func(s *stage) {
		s.root.Tell(do(func(*kit.Context[line]) error { time.Sleep(time.Minute); return nil }))
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- s.system.Stop(s.Context()) }()
		synctest.Wait()
		began := time.Now()
		s.system.Close()
		if err := <-stopped; err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		pass(time.Hour)
	})
}

func TestNoRootComesOnceAStopHasBegun(t *testing.T) {
	play(t, func(s *stage) {
		var got string
		kit.Root(s.system, "one", s.kind(func(p *player) {
			p.down = func(*kit.Context[line]) {
				got = complaint(func() { kit.Root(s.system, "two", s.kind(), nil) })
			}
		}), nil)
		synctest.Wait()
		s.system.Stop(s.Context())
		if got != "kit: root two: the system has stopped" {
			t.Error(got)
		}
	})
}

func TestAStopWaitsForWork(t *testing.T) {
	play(t, func(s *stage) {
		s.pipe(s.root, func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil })
		began := time.Now()
		if err := s.system.Stop(s.Context()); err != nil || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

func TestAClosedSystemHandlesNothing(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		failed := s.spawn("b", s.kind())
		within(child, func(c *kit.Context[line]) {
			c.After(time.Second, say("late"))
			child.Tell(say("queued"))
			failed.Tell(fail{errBoom})
			within(s.root, func(c *kit.Context[line]) { kit.Stop(c, child) })
			synctest.Wait() // b waits for its restart, a's stop for the end of this
			s.system.Close()
			s.system.Close()
			c.After(time.Second, say("late"))
			kit.Pipe(c, "late", pipeNothing, func(int, error) line { return say("late") })
		})
		child.Tell(say("after"))
		pass(time.Minute)
		s.expect(t, "a up 1", "b up 1")
		s.system = kit.NewSystem(kit.Options{}) // for the end of the play
	})
}

// libs.md pitfall 20: the library's dead letters start a goroutine that lives
// for a second. Its own are the hardest to avoid: here a stop that the parent
// sends to a child whose end it hasn't heard of yet.
func TestWhatIsLostStartsNothing(t *testing.T) {
	s := kit.NewSystem(kit.Options{})
	root := kit.Root(s, "root", newScript().kind(), nil)
	var parent kit.Ref[line]
	within(root, func(c *kit.Context[line]) { parent = kit.Spawn(c, "p", newScript().kind(), c1) })
	within(parent, func(c *kit.Context[line]) {
		child := kit.Spawn(c, "a", newScript().kind(), c1)
		within(root, func(c *kit.Context[line]) { kit.Stop(c, parent) })
		kit.Stop(c, child)
		kit.Ask(t.Context(), child, func(kit.Reply[int]) line { return say("lost") }) // until it is gone
	})
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	root.Tell(say("lost"))
	goleak.VerifyNone(t)
}

func TestWhatIsLostIsLoggedForDebugging(t *testing.T) {
	var out bytes.Buffer
	playWith(t, kit.Options{Log: hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Debug})}, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.stop(child)
		child.Tell(say("lost"))
	})
	if want := "root/a: message dropped: the actor is gone: message=say"; !strings.Contains(out.String(), want) {
		t.Errorf("logged %q", out.String())
	}
}

func TestFailuresAreLoggedOnceWithTheDecision(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Name: "deacon", Output: hclog.NewLeveledWriter(&out, nil), Level: hclog.Warn})
	playWith(t, kit.Options{Log: log}, func(s *stage) {
		k := s.kind()
		k.Budget.Restarts = 1
		child := s.spawn("a", k)
		child.Tell(fail{errBoom})
		child.Tell(fail{errBoom})
		pass(time.Second)
	})
	lines := slices.Collect(strings.Lines(out.String()))
	if len(lines) != 2 {
		t.Fatalf("logged %d lines:\n%s", len(lines), out.String())
	}
	for i, want := range []string{
		"[WARN]  deacon.root/a: restarting: handling=fail error=boom in=",
		"[ERROR] deacon.root/a: gave up: handling=fail error=boom failures=2",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: %s, want %s", i, lines[i], want)
		}
	}
	if !strings.Contains(lines[0], "restart=1 of=1") {
		t.Error(lines[0])
	}
}
