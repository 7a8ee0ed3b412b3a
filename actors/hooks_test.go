package actors_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// jobsOf are the numbers of the jobs that the machine's only container ever had,
// and of those that run.
func (s *stage) jobsOf() (had, running []uint32) {
	s.t.Helper()
	specs := s.held()
	if len(specs) != 1 {
		s.t.Fatalf("the machine holds %d containers, want one", len(specs))
	}
	r, _ := s.kernel.Look(specs[0].ID)
	return numbers(r), r.Running
}

// numbers are those of all jobs of a container.
func numbers(r model.Resident) (had []uint32) {
	had = slices.Clone(r.Running)
	for number := range r.Jobs {
		if !slices.Contains(had, number) {
			had = append(had, number)
		}
	}
	slices.Sort(had)
	return had
}

func (s *stage) expectJobs(had, running []uint32) {
	s.t.Helper()
	gotHad, gotRunning := s.jobsOf()
	if !slices.Equal(gotHad, had) || !slices.Equal(gotRunning, running) {
		s.t.Fatalf("it has jobs %v, of which %v run; want %v and %v", gotHad, gotRunning, had, running)
	}
}

// aSecondEach are hooks that take their time, and well-behaved.
func aSecondEach() map[actors.Moment]string {
	hooks := map[actors.Moment]string{}
	for _, m := range actors.Moments {
		hooks[m] = "exit 0 after 1s"
	}
	return hooks
}

// Job 1 is the application, 2 to 5 are the hooks in the order of a life.
func TestHooksRunAtTheirMoments(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.hooks = aSecondEach()
		s.begin()
		s.start("web", "serve", "web.example")
		pass(500 * time.Millisecond)
		s.expectState("web", messaging.Starting)
		s.expectJobs([]uint32{2}, []uint32{2})
		pass(time.Second)
		s.expectState("web", messaging.Running)
		s.expectJobs([]uint32{1, 2, 3}, []uint32{1, 3})
		pass(2 * time.Second)
		s.expectJobs([]uint32{1, 2, 3}, []uint32{1})
		s.stop("web")
		pass(500 * time.Millisecond)
		s.expectState("web", messaging.Stopping)
		s.expectJobs([]uint32{1, 2, 3, 4}, []uint32{1, 4}) // it serves while it says goodbye
		pass(time.Second)
		s.expectJobs([]uint32{2, 3, 4, 5}, []uint32{5}) // and is gone before the last one
		pass(time.Second)
		s.expectStory("STARTING", "RUNNING", "register", "STOPPING", "unregister", "STOPPED")
		s.expectRest()
	})
}

func TestAHookBeforeTheStartForbidsIt(t *testing.T) {
	for what, hook := range map[string]string{"fails": "exit 3", "hangs": "deaf"} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.hooks = map[actors.Moment]string{actors.BeforeStart: hook, actors.BeforeStop: "exit 0", actors.AfterStop: "exit 0"}
				var had []uint32
				s.kernel.Destroyed = func(r model.Resident) { had = numbers(r) }
				s.begin()
				s.start("web", "serve", "web.example")
				pass(s.settings.HookMax + 2*time.Second)
				s.expectStory("STARTING", "CRASHED", "exited -1 failed to start")
				s.expectRest()
				if !slices.Equal(had, []uint32{2}) {
					t.Errorf("jobs %v ran, want nothing but the hook", had)
				}
			})
		})
	}
}

// Whatever else fails is logged, and nothing hangs on it.
func TestNoOtherHookForbidsAnything(t *testing.T) {
	for what, hook := range map[string]string{"fails": "exit 3", "hangs": "deaf", "is killed late": "stubborn"} {
		t.Run(what, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.hooks = map[actors.Moment]string{actors.AfterStart: hook, actors.BeforeStop: hook, actors.AfterStop: hook}
				s.begin()
				s.start("web", "serve", "web.example")
				pass(s.settings.HookMax + time.Second)
				s.expectState("web", messaging.Running)
				s.stop("web")
				pass(2*s.settings.HookMax + s.settings.StopGrace)
				s.expectStory("STARTING", "RUNNING", "register", "STOPPING", "unregister", "STOPPED")
				s.expectRest()
			})
		})
	}
}

// A stop doesn't wait for what comes before the start, and what never began has
// nothing to be stopped with.
func TestAStopEndsAHookBeforeTheStart(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.hooks = map[actors.Moment]string{actors.BeforeStart: "deaf", actors.BeforeStop: "deaf"}
		s.begin()
		s.start("web", "serve", "web.example")
		pass(time.Second)
		s.stop("web")
		pass(time.Second)
		s.expectStory("STARTING", "STOPPING", "STOPPED")
		s.expectRest()
	})
}

// An agent is killed at every moment of a life with hooks: each runs all the
// same, once, and the instance comes to its end.
func TestHooksSurviveTheAgent(t *testing.T) {
	for killed := 5 * time.Millisecond; killed < 5*time.Second; killed += 65 * time.Millisecond {
		t.Run(fmt.Sprint(killed), func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.hooks = aSecondEach()
				var had []uint32
				s.kernel.Destroyed = func(r model.Resident) {
					if r.Lives {
						had = numbers(r)
					}
				}
				s.begin()
				s.start("web", "serve", "web.example")
				stopped := false
				for at := time.Duration(0); at < 20*time.Second; at += 5 * time.Millisecond {
					if at == killed {
						s.crash()
						s.kernel.Orphan()
						s.begin()
					}
					if !stopped && at >= 3*time.Second && s.state("web") == messaging.Running {
						s.stop("web")
						stopped = true
					}
					pass(5 * time.Millisecond)
				}
				s.expectState("web", "")
				if !slices.Equal(had, []uint32{2, 3, 4, 5}) {
					t.Errorf("besides the application jobs %v ran, want every hook; told: %s", had, s.story())
				}
				s.expectRest()
			})
		})
	}
}

// An actor falls at any message: the same holds.
func TestHooksSurviveTheirActors(t *testing.T) {
	for _, at := range []struct{ kind, message string }{
		{"container", "hookOver"}, {"container", "applicationBegan"}, {"container", "created"}, {"container", "ordered"},
		{"container", "stopEnded"}, {"instance", "nudge"}, {"container", ""}, {"instance", ""},
	} {
		t.Run(at.kind+"/"+at.message, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.hooks = aSecondEach()
				var had []uint32
				s.kernel.Destroyed = func(r model.Resident) { had = numbers(r) }
				arm := s.failOnce(at.kind, at.message)
				s.begin()
				arm()
				s.start("web", "serve", "web.example")
				pass(20 * time.Second)
				s.expectState("web", messaging.Running)
				arm()
				s.stop("web")
				pass(30 * time.Second)
				s.expectState("web", "")
				if !slices.Equal(had, []uint32{2, 3, 4, 5}) {
					t.Errorf("besides the application jobs %v ran, want every hook", had)
				}
				s.expectRest()
			})
		})
	}
}
