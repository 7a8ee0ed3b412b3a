package kit_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

func pipeNothing(context.Context) (int, error) { return 0, nil }

// pipe has the actor run work and say what came of it.
func (s *stage) pipe(r kit.Ref[line], work func(context.Context) (int, error)) (cancel func()) {
	within(r, func(c *kit.Context[line]) {
		cancel = kit.Pipe(c, "sum", work, func(n int, err error) line {
			return do(func(*kit.Context[line]) error { s.write("result %d %v", n, err); return nil })
		})
	})
	return cancel
}

func TestAResultComesBackAsAMessage(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.pipe(child, func(context.Context) (int, error) { time.Sleep(time.Second); return 7, errBoom })
		child.Tell(say("meanwhile"))
		pass(2 * time.Second)
		s.expect(t, "a up 1", "a: meanwhile", "result 7 boom")
	})
}

// libs.md pitfall 19: it would end the agent.
func TestAPanicInWorkIsAResult(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		for _, work := range []func(context.Context) (int, error){
			func(context.Context) (int, error) { panic(errBoom) },
			func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
		} {
			var got error
			within(child, func(c *kit.Context[line]) {
				kit.Pipe(c, "sum", work, func(_ int, err error) line { got = err; return say("told") })
			})
			synctest.Wait()
			p, ok := errors.AsType[*kit.PanicError](got)
			if !ok || p.Message != "sum" || p.Path != "root/a" || !strings.Contains(string(p.Stack), "work_test.go") {
				t.Errorf("result %#v", got)
			}
		}
		s.expect(t, "a up 1", "a: told", "a: told")
	})
}

func TestThenRunsOnTheMailboxAndMayFailTheActor(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(c *kit.Context[line]) {
			kit.Pipe(c, "sum", pipeNothing, func(int, error) line { panic("boom") })
		})
		pass(time.Second)
		s.expect(t, "a up 1", "a down 1", "a up 2")
	})
}

func TestCancelledWorkPostsNothing(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		var cause error
		cancel := s.pipe(child, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, cause
		})
		cancel()
		cancel()
		synctest.Wait()
		s.expect(t, "a up 1")
		if cause != kit.ErrIncarnationEnded {
			t.Errorf("cancelled because of %v", cause)
		}
	})
}

// The result is in the mailbox already when the actor thinks better of it.
func TestCancelWithdrawsAResultThatWasPosted(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(c *kit.Context[line]) {
			cancel := kit.Pipe(c, "sum", pipeNothing, func(int, error) line { return say("result") })
			stop := c.After(time.Second, say("late"))
			pass(2 * time.Second)
			cancel()
			stop()
		})
		synctest.Wait()
		s.expect(t, "a up 1")
	})
}

// libs.md pitfall 11: the library would hand it to whoever lives then.
func TestAResultIsDroppedAfterARestart(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		// The first result is queued behind the failure, the second comes long after.
		within(child, func(c *kit.Context[line]) {
			child.Tell(fail{errBoom})
			kit.Pipe(c, "sum", pipeNothing, func(int, error) line { return say("stale") })
			synctest.Wait()
			kit.Pipe(c, "deaf", func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil },
				func(int, error) line { return say("stale") })
		})
		pass(2 * time.Minute)
		s.expect(t, "a up 1", "a down 1", "a up 2")
	})
}

func TestWorkIsCancelledWithItsIncarnation(t *testing.T) {
	for name, end := range map[string]func(s *stage, child kit.Ref[line]){
		"failure": func(_ *stage, child kit.Ref[line]) { child.Tell(fail{errBoom}) },
		"stop":    func(s *stage, child kit.Ref[line]) { s.stop(child) },
		"parent":  func(s *stage, _ kit.Ref[line]) { s.root.Tell(fail{errBoom}); pass(time.Second) },
		"system":  func(s *stage, _ kit.Ref[line]) { s.system.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				child := s.spawn("a", s.kind())
				var cause error
				s.pipe(child, func(ctx context.Context) (int, error) {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return 0, cause
				})
				end(s, child)
				synctest.Wait()
				if cause != kit.ErrIncarnationEnded {
					t.Errorf("cancelled because of %v", cause)
				}
				s.system.Close() // what became of the actor is another test's
			})
		})
	}
}

func TestTheSuccessorWaitsForOldWork(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.pipe(child, func(context.Context) (int, error) {
			time.Sleep(3 * time.Second)
			s.write("work ends")
			return 0, nil
		})
		child.Tell(fail{errBoom})
		pass(2 * time.Second)
		s.expect(t, "a up 1")
		pass(2 * time.Second)
		s.expect(t, "a up 1", "work ends", "a down 1", "a up 2")
	})
}

func TestTheSuccessorDoesNotWaitForEver(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.pipe(child, func(context.Context) (int, error) {
			time.Sleep(time.Minute)
			s.write("work ends")
			return 0, nil
		})
		child.Tell(fail{errBoom})
		pass(4900 * time.Millisecond)
		s.expect(t, "a up 1")
		pass(200 * time.Millisecond)
		s.expect(t, "a up 1", "a down 1", "a up 2")
		pass(time.Minute)
		s.expect(t, "a up 1", "a down 1", "a up 2", "work ends")
	})
}

func TestAStopDoesNotWaitForWork(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.pipe(child, func(context.Context) (int, error) { time.Sleep(time.Minute); return 0, nil })
		child.Tell(fail{errBoom})
		pass(time.Second) // the pause is over, the work isn't
		s.stop(child)
		s.expect(t, "a up 1", "a down 1")
		pass(2 * time.Minute)
		s.expect(t, "a up 1", "a down 1")
	})
}

// libs.md pitfall 9: the library's receive timeout races.
func TestAfterComesOnceAndInTime(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(c *kit.Context[line]) {
			c.After(2*time.Second, say("two"))
			c.After(time.Second, say("one"))
			cancel := c.After(time.Second, say("never"))
			cancel()
			cancel()
		})
		pass(1500 * time.Millisecond)
		s.expect(t, "a up 1", "a: one")
		pass(time.Minute)
		s.expect(t, "a up 1", "a: one", "a: two")
	})
}

func TestAfterDiesWithItsIncarnation(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(c *kit.Context[line]) { c.After(time.Second, say("stale")) })
		child.Tell(fail{errBoom})
		pass(time.Minute)
		s.expect(t, "a up 1", "a down 1", "a up 2")
	})
}

func ask(ctx context.Context, r kit.Ref[line]) (int, error) {
	return kit.Ask(ctx, r, func(reply kit.Reply[int]) line { return question{reply} })
}

func TestAskReturnsTheAnswer(t *testing.T) {
	play(t, func(s *stage) {
		for want := range 3 {
			if got, err := ask(s.Context(), s.root); got != want+1 || err != nil {
				t.Errorf("got %d, %v, want %d", got, err, want+1)
			}
		}
	})
}

func TestAskEndsWithItsContext(t *testing.T) {
	play(t, func(s *stage) {
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := kit.Ask(ctx, s.root, func(kit.Reply[int]) line { return say("never mind") })
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

func TestAskOfNobodyIsAnsweredAtOnce(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		s.stop(child)
		for _, r := range []kit.Ref[line]{{}, child} {
			if _, err := ask(s.Context(), r); !errors.Is(err, kit.ErrNoActor) {
				t.Errorf("%q: got %v", r.Path(), err)
			}
		}
	})
}

// libs.md pitfall 6: what is queued when an actor stops would only time out.
func TestAskHearsOfAnActorThatGoesBeforeItAnswers(t *testing.T) {
	for name, end := range map[string]func(s *stage, child kit.Ref[line]){
		"stop":   func(s *stage, child kit.Ref[line]) { s.stop(child) },
		"system": func(s *stage, _ kit.Ref[line]) { s.system.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(s *stage) {
				child := s.spawn("a", s.kind())
				answer := make(chan error, 1)
				go func() {
					_, err := kit.Ask(s.Context(), child, func(kit.Reply[int]) line { return say("hm") })
					answer <- err
				}()
				synctest.Wait()
				end(s, child)
				if err := <-answer; !errors.Is(err, kit.ErrNoActor) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestAnAnswerGivenAtTheEndCounts(t *testing.T) {
	play(t, func(s *stage) {
		var late kit.Reply[int]
		child := s.spawn("a", s.kind(func(p *player) { p.down = func(*kit.Context[line]) { late.Send(7) } }))
		got := make(chan int, 1)
		go func() {
			n, _ := kit.Ask(s.Context(), child, func(reply kit.Reply[int]) line { late = reply; return say("later") })
			got <- n
		}()
		synctest.Wait()
		s.stop(child)
		if n := <-got; n != 7 {
			t.Errorf("got %d", n)
		}
		// When answer and deadline are both there, the answer wins.
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		for range 100 {
			n, err := kit.Ask(ctx, s.root, func(reply kit.Reply[int]) line { reply.Send(7); return say("done") })
			if n != 7 || err != nil {
				t.Fatalf("got %d, %v", n, err)
			}
		}
	})
}

// libs.md pitfall 8: a second answer replaced the first in 499 of 500.
func TestTheFirstAnswerWins(t *testing.T) {
	kit.Reply[int]{}.Send(1) // nobody wants to know
	reply, answer := kit.NewReply[int]()
	reply.Send(1)
	reply.Send(2)
	if got := <-answer; got != 1 {
		t.Errorf("got %d", got)
	}
	reply.Send(3)
	select {
	case got := <-answer:
		t.Errorf("answered again: %d", got)
	default:
	}
}

func TestWorkThatIsToldToEndIsStillHeardOf(t *testing.T) {
	play(t, func(s *stage) {
		child := s.spawn("a", s.kind())
		within(child, func(c *kit.Context[line]) {
			end := kit.PipeUntil(c, "wait", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			}, func(_ int, err error) line { return say(err.Error()) })
			end(errBoom)
		})
		pass(time.Second)
		s.expect(t, "a up 1", "a: boom")
	})
}
