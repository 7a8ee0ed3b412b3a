package actors_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
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

// Who looks after a container falls when all of it is dead and its last lines are
// still being read.
func TestAStoppedInstanceIsOverWhoeverFalls(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		arm := s.failOnce("containers", "swept")
		s.begin()
		s.start("app", "serve", "app.example")
		pass(5 * time.Second)
		s.kernel.Fault = func(call, _ string) error {
			if call == "wait" { // its job's end is not told, and so its output doesn't end
				time.Sleep(4 * time.Minute)
			}
			return nil
		}
		s.crash()
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
