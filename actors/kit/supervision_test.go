package kit_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors/kit"
)

func TestAFailureIsFollowedByAFreshIncarnation(t *testing.T) {
	for name, failing := range map[string]line{
		"error": fail{errBoom},
		"panic": do(func(*kit.Context[line]) error { panic("boom") }),
		"nil":   do(func(*kit.Context[line]) error { panic(nil) }),
		// libs.md pitfall 15: the library's mailbox would be wedged for ever.
		"goexit": do(func(*kit.Context[line]) error { runtime.Goexit(); return nil }),
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				child := s.spawn("a", s.kind())
				child.Tell(say("before"))
				child.Tell(failing)
				child.Tell(say("after"))
				synctest.Wait()
				s.expect(t, "a up 1", "a: before")
				pass(time.Second)
				s.expect(t, "a up 1", "a: before", "a down 1", "a up 2", "a: after")
			})
		})
	}
}

func TestUpMayFailToo(t *testing.T) {
	play(t, func(s *stage) {
		s.spawn("a", s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error {
				if c.Incarnation() < 3 {
					return errBoom
				}
				return nil
			}
		}))
		pass(time.Second)
		s.expect(t, "a up 1", "a down 1", "a up 2", "a down 2", "a up 3")
	})
}

// libs.md pitfall 3: the library's pauses grow linearly and never end.
func TestPausesDoubleUntilTheBudgetIsSpent(t *testing.T) {
	play(t, func(s *stage) {
		var ups []time.Time
		k := s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error { ups = append(ups, c.Now()); return errBoom }
		})
		k.Budget = kit.Budget{Restarts: 4, Window: time.Hour, PauseMin: time.Second, PauseMax: 5 * time.Second}
		began := time.Now()
		s.spawn("a", k)
		pass(time.Minute)
		if len(ups) != 5 {
			t.Fatalf("came up %d times, want 5", len(ups))
		}
		for i, want := range []time.Duration{1, 2, 4, 5} {
			pause := ups[i+1].Sub(ups[i])
			want *= time.Second
			if pause < want*3/4 || pause > min(want*5/4, 5*time.Second) {
				t.Errorf("pause %d lasted %v, want %v give or take a quarter", i+1, pause, want)
			}
		}
		if !ups[0].Equal(began) {
			t.Errorf("the first start waited %v", ups[0].Sub(began))
		}
	})
}

func TestGivingUpIsAMessageOnceTheChildHasStopped(t *testing.T) {
	play(t, func(s *stage) {
		k := s.kind()
		k.Budget.Restarts = 1
		child := s.spawn("a", k)
		child.Tell(say("first"))
		child.Tell(fail{errBoom})
		child.Tell(fail{errBoom})
		child.Tell(say("too late"))
		pass(time.Second)
		s.expect(t, "a up 1", "a: first", "a down 1", "a up 2", "a down 2",
			"gave up a: player root/a: fail: boom")
		again := s.spawn("a", k)
		if again == child || again.Path() != child.Path() {
			t.Error("the name wasn't free, or the same actor came back")
		}
	})
}

func TestGivingUpTellsWhatHappened(t *testing.T) {
	play(t, func(s *stage) {
		var reason error
		within(s.root, func(c *kit.Context[line]) {
			k := s.kind()
			k.Budget = kit.Never
			kit.Spawn(c, "a", k, func(_ string, r error) line { reason = r; return say("") }).
				Tell(do(func(*kit.Context[line]) error { panic(errBoom) }))
		})
		synctest.Wait()
		failure, ok := errors.AsType[*kit.Failure](reason)
		if !ok || failure.Kind != "player" || failure.Path != "root/a" || failure.Message != "do" ||
			failure.Incarnation != 1 || !strings.Contains(string(failure.Stack), "supervision_test.go") {
			t.Errorf("reason %#v", reason)
		}
		if p, ok := errors.AsType[*kit.PanicError](reason); !ok || p.Value != errBoom || !errors.Is(reason, errBoom) {
			t.Errorf("reason %v doesn't lead to the panic", reason)
		}
	})
}

func TestAPermanentFailureGivesUpAtOnce(t *testing.T) {
	play(t, func(s *stage) {
		s.spawn("a", s.kind()).Tell(fail{fmt.Errorf("no such file: %w", kit.ErrPermanent)})
		synctest.Wait()
		s.expect(t, "a up 1", "a down 1", "gave up a: player root/a: fail: no such file: permanent failure")
	})
}

// libs.md pitfall 17: the library's guardian ends the process.
func TestARootThatIsGivenUpIsReportedOnce(t *testing.T) {
	play(t, func(s *stage) {
		k := s.kind()
		k.Budget.Restarts = 1
		var reasons []error
		other := kit.Root(s.system, "other", k, func(reason error) { reasons = append(reasons, reason) })
		other.Tell(fail{errBoom})
		other.Tell(fail{errBoom})
		pass(time.Second)
		if len(reasons) != 1 || !errors.Is(reasons[0], errBoom) {
			t.Errorf("given up with %v", reasons)
		}
		s.expect(t, "other up 1", "other down 1", "other up 2", "other down 2")
		kit.Root(s.system, "other", k, nil) // the name is free
	})
}

// libs.md pitfalls 1 and 2: in the library either undoes the stop, or leaves a
// parent that can never stop.
func TestNothingThatDownDoesUndoesAStop(t *testing.T) {
	for name, break_ := range breaks {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				child := s.spawn("a", s.kind(func(p *player) { p.down = break_ }))
				s.stop(child)
				s.expect(t, "a up 1", "a down 1")
				pass(time.Minute)
				s.expect(t, "a up 1", "a down 1")
			})
		})
	}
}

func TestNothingThatDownDoesUndoesARestart(t *testing.T) {
	for name, break_ := range breaks {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				s.spawn("a", s.kind(func(p *player) { p.down = break_ })).Tell(fail{errBoom})
				pass(time.Minute)
				s.expect(t, "a up 1", "a down 1", "a up 2")
			})
		})
	}
}

var breaks = map[string]func(*kit.Context[line]){
	"panic":  func(*kit.Context[line]) { panic("boom") },
	"goexit": func(*kit.Context[line]) { runtime.Goexit() },
	"spawn":  func(c *kit.Context[line]) { kit.Spawn(c, "late", newScript().kind(), c1) },
	"pipe": func(c *kit.Context[line]) {
		c.After(0, say("late"))
		kit.Watch(c, kit.Ref[line]{}, func() line { return say("late") })
		kit.Pipe(c, "late", pipeNothing, func(int, error) line { return say("late") })()
	},
}

func c1(name string, reason error) line { return lost{name, reason} }

// libs.md pitfall 4 and ADR 0002: the pause outlives nobody, and whoever has
// the name next isn't meant.
func TestARestartOnItsWayRevivesNothing(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		child.Tell(fail{errBoom})
		synctest.Wait()
		s.stop(child)
		s.expect(t, "a up 1", "a down 1")
		s.spawn("a", s.kind())
		pass(time.Minute)
		s.expect(t, "a up 1", "a down 1", "a up 1")
	})
}

// ADR 0002: the stop is in the mailbox, the restart right behind it, and below
// the actor is one that takes its time to go. The library alone revives it.
func TestARestartBehindAStopRevivesNothing(t *testing.T) {
	s := newScript()
	d, clock := kit.NewSeeded(1), kit.NewManualClock(epoch)
	system := kit.NewSystem(kit.Options{Dispatcher: d, Clock: clock})
	root := kit.Root(system, "root", newScript().kind(), nil)
	var child kit.Ref[line]
	root.Tell(do(func(c *kit.Context[line]) error {
		child = kit.Spawn(c, "a", s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error { kit.Spawn(c, "b", s.kind(), c1); return nil }
		}), c1)
		child.Tell(fail{errBoom})
		return nil
	}))
	d.RunUntilIdle(100)
	root.Tell(do(func(c *kit.Context[line]) error { kit.Stop(c, child); return nil }))
	if d.RunUntilIdle(1); !clock.Next() { // the pause ends
		t.Fatal("no restart is on its way")
	}
	for d.RunUntilIdle(100) > 0 || clock.Next() {
	}
	s.expect(t, "a up 1", "b up 1", "b down 1", "a down 1")
	if got := system.Living(); !slices.Equal(got, []string{"root"}) {
		t.Errorf("living %q", got)
	}
	system.Close()
}

func TestAParentsRestartStopsItsChildrenAndFreesTheirNames(t *testing.T) {
	play(t, func(s *stage) {
		parent := s.spawn("a", s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error { kit.Spawn(c, "b", s.kind(), c1); return nil }
		}))
		parent.Tell(fail{errBoom})
		pass(time.Second)
		s.expect(t, "a up 1", "b up 1", "b down 1", "a down 1", "a up 2", "b up 1")
	})
}

// A child that fails while its parent waits for its own restart goes with the
// parent and costs nothing.
func TestAChildThatFailsBelowAFailedParentIsStoppedWithIt(t *testing.T) {
	play(t, func(s *stage) {
		var child kit.Ref[line]
		parent := s.spawn("a", s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error {
				k := s.kind()
				k.Budget = kit.Never
				child = kit.Spawn(c, "b", k, func(string, error) line { return say("gave up b") })
				return nil
			}
		}))
		synctest.Wait()
		parent.Tell(fail{errBoom})
		synctest.Wait()
		child.Tell(fail{errBoom})
		synctest.Wait()
		s.expect(t, "a up 1", "b up 1")
		pass(time.Second)
		s.expect(t, "a up 1", "b up 1", "b down 1", "a down 1", "a up 2", "b up 1")
	})
}

// libs.md pitfall 5: a system message would overtake it in 200 of 200.
func TestTheEndNeverOvertakesTheLastWord(t *testing.T) {
	for range 200 {
		play(t, func(s *stage) {
			k := newScript().kind()
			k.Budget = kit.Never
			within(s.root, func(c *kit.Context[line]) {
				parent := c.Self()
				child := kit.Spawn(c, "a", k, func(string, error) line {
					return do(func(*kit.Context[line]) error { s.write("end"); return nil })
				})
				child.Tell(do(func(*kit.Context[line]) error {
					parent.Tell(do(func(*kit.Context[line]) error { s.write("last word"); return nil }))
					return errBoom
				}))
			})
			synctest.Wait()
			s.expect(t, "last word", "end")
		})
	}
}

func TestStopOvertakesWhatIsQueued(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(*kit.Context[line]) {
			for range 5 {
				child.Tell(say("queued"))
			}
			within(s.root, func(c *kit.Context[line]) { kit.Stop(c, child) })
		})
		synctest.Wait()
		child.Tell(say("after"))
		synctest.Wait()
		s.expect(t, "a up 1", "a down 1")
	})
}

// libs.md pitfall 7: the library hands on user messages until the last child is gone.
func TestNothingIsHandledOnceAStopHasBegun(t *testing.T) {
	play(t, func(s *stage) {
		hold := make(chan struct{})
		parent := s.spawn("a", s.kind(func(p *player) {
			p.up = func(c *kit.Context[line]) error {
				kit.Spawn(c, "b", s.kind(), c1).Tell(do(func(*kit.Context[line]) error { <-hold; return nil }))
				return nil
			}
		}))
		synctest.Wait()
		s.stop(parent)
		parent.Tell(say("too late"))
		synctest.Wait()
		close(hold)
		synctest.Wait()
		s.expect(t, "a up 1", "b up 1", "b down 1", "a down 1")
	})
}

func TestAStoppedChildIsNotReportedAsGivenUp(t *testing.T) {
	var out bytes.Buffer
	log := hclog.New(&hclog.LoggerOptions{Output: &out})
	playWith(t, kit.Options{Log: log}, func(s *stage) {
		k := s.kind()
		k.Budget = kit.Never
		within(s.root, func(c *kit.Context[line]) {
			child := kit.Spawn(c, "a", k, func(string, error) line { return do(s.shout) })
			child.Tell(fail{errBoom})
			synctest.Wait() // it has failed; the verdict waits for this mailbox
			kit.Stop(c, child)
		})
		synctest.Wait()
		s.expect(t, "a up 1", "a down 1")
	})
	if said := out.String(); strings.Contains(said, "gave up") || !strings.Contains(said, "failed while stopping") {
		t.Errorf("logged %s", said)
	}
}

// The news is in the parent's mailbox already.
func TestAStopWithdrawsTheNewsOfGivingUp(t *testing.T) {
	play(t, func(s *stage) {
		k := s.kind()
		k.Budget = kit.Never
		stopped := make(chan struct{})
		within(s.root, func(c *kit.Context[line]) {
			child := kit.Spawn(c, "a", k, func(string, error) line { return do(s.shout) })
			child.Tell(fail{errBoom})
			synctest.Wait()
			c.Self().Tell(do(func(c *kit.Context[line]) error {
				synctest.Wait() // given up, stopped, and the news posted
				kit.Stop(c, child)
				close(stopped)
				return nil
			}))
		})
		<-stopped
		synctest.Wait()
		s.expect(t, "a up 1", "a down 1")
	})
}

func (s *script) shout(c *kit.Context[line]) error {
	s.write("shout")
	return nil
}

func TestOnlyAParentMayStop(t *testing.T) {
	play(t, func(s *stage) {
		a, b := s.spawn("a", s.kind()), s.spawn("b", s.kind())
		a.Tell(do(func(c *kit.Context[line]) error { kit.Stop(c, b); return nil }))
		pass(time.Second)
		s.expect(t, "a up 1", "b up 1", "a down 1", "a up 2")
	})
}

// libs.md pitfall 22, and what the library would take for its own.
func TestALibrarysMessageIsJustAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := kit.NewSystem(kit.Options{})
		var got []string
		r := kit.Root(system, "any", kit.Kind[any]{Name: "any", New: func() kit.Actor[any] { return &anything{&got} }}, nil)
		for _, m := range []any{nil, &actor.PoisonPill{}, &actor.Stop{}, &actor.Restart{}, batch{}, 7} {
			r.Tell(m)
		}
		synctest.Wait()
		if want := "[<nil> *actor.PoisonPill *actor.Stop *actor.Restart kit_test.batch int]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
		system.Stop(t.Context())
	})
}

type batch struct{}

func (batch) GetMessages() []any { return []any{1, 2} }

type anything struct{ got *[]string }

func (a *anything) Up(*kit.Context[any]) error { return nil }
func (a *anything) Down(*kit.Context[any])     {}
func (a *anything) Receive(_ *kit.Context[any], m any) error {
	*a.got = append(*a.got, fmt.Sprintf("%T", m))
	return nil
}

// The hook makes any actor fail at any turn, and breaks no stop.
func TestTheHookFailsAnActorAtEachTurn(t *testing.T) {
	for _, at := range []string{"Up", "say", "question", "Down"} {
		t.Run(at, func(t *testing.T) {
			armed := true
			var turns []kit.Turn
			hook := func(turn kit.Turn) {
				if turn.Path != "root/a" {
					return
				}
				turns = append(turns, turn)
				if armed && turn.Message == at {
					armed = false
					panic("hooked")
				}
			}
			playWith(t, kit.Options{Hook: hook}, func(s *stage) {
				child := s.spawn("a", s.kind())
				child.Tell(say("one"))
				child.Tell(question{})
				child.Tell(say("two"))
				pass(time.Second)
				s.stop(child)
				if armed {
					t.Fatal("the turn never came")
				}
				want := map[string][]string{
					"Up":       {"a down 1", "a up 2", "a: one", "a: two", "a down 2"},
					"say":      {"a up 1", "a down 1", "a up 2", "a: two", "a down 2"},
					"question": {"a up 1", "a: one", "a down 1", "a up 2", "a: two", "a down 2"},
					"Down":     {"a up 1", "a: one", "a: two", "a down 1"},
				}
				s.expect(t, want[at]...)
				if turns[0] != (kit.Turn{Kind: "player", Path: "root/a", Message: "Up"}) {
					t.Errorf("first turn %+v", turns[0])
				}
			})
		})
	}
}
