package actors_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// A client that is impatient asks again as another one. What it began before goes
// on for nobody, and must not pile up.
func TestReadersThatComeAndGoDontPileUp(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.spawn("h", "exit 3 after 1h")
		before := runtime.NumGoroutine()
		for n := range messaging.Client(100) {
			linker, streamer := s.connect(1000+n), s.connect(2000+n)
			linker.send(linkOf("h", 1))
			streamer.send(streamOf("h", 1))
			pass(time.Second)
			linker.leave()
			streamer.leave()
		}
		if more := runtime.NumGoroutine() - before; more > 20 {
			t.Errorf("%d goroutines read for clients that have gone", more)
		}
		stays := s.connect(2)
		link := stays.send(linkOf("h", 1))
		pass(time.Hour)
		if got, ok := s.expectOne("link", link).(messaging.JobLinked); !ok || got.Status != 3 {
			t.Errorf("linked %+v", got)
		}
		expectAnswer(t, "destroy", c.destroy("h"), messaging.Done{})
	})
}

// A linker that leaves consumes the job all the same (wire/warden.md c).
func TestALinkerThatLeavesConsumesTheJob(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.spawn("h", "exit 3 after 1m")
		for n := range messaging.Client(3) {
			gone := s.connect(10 + n)
			gone.send(linkOf("h", 1))
			pass(time.Second)
			gone.leave()
		}
		pass(2 * time.Minute)
		expectAnswer(t, "link", c.link("h", 1), messaging.Failed{Text: noJob})
	})
}

// A container that can't be asked keeps no more requests than it can serve.
func TestRequestsToAMuteContainerAreBounded(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.connect(1).create("h")
		s.crash()
		s.kernel.Fault = func(call, _ string) error {
			if call == "adopt" {
				return errors.New("no answer")
			}
			return nil
		}
		s.begin()
		for n := range messaging.Client(1200) {
			c := s.connect(1000 + n)
			c.send(spawnOf("h", fmt.Sprintf("serve %d", n)))
			s.tree.Deliver(messaging.ClientGone{Client: c.number})
		}
		pass(time.Minute)
		c := s.connect(2)
		expectAnswer(t, "spawn", c.spawn("h", "serve"), messaging.Failed{Text: "the container can't be asked"})
		s.kernel.Fault = nil
		pass(time.Minute)
		if a, ok := c.spawn("h", "serve").(messaging.JobSpawned); !ok {
			t.Errorf("answered %+v", a)
		}
	})
}
