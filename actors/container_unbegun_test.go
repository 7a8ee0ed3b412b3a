package actors_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// What the kernel says of a container over whose making an agent was killed: its
// folder is there, its PID 1 went with the agent. The application never began, so
// nothing has crashed. The sweep of whole agents found it told as a crash.
func TestAStartThatWasCutOffGoesOn(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("app", "serve", "app.example")
		pass(20 * time.Millisecond) // accepted, and not made yet
		s.crash()
		if n := s.kernel.Created(); n != 0 {
			t.Fatalf("%d containers were made already", n)
		}
		var asked atomic.Bool
		s.kernel.Fault = func(call, id string) error {
			if call == "adopt" && asked.CompareAndSwap(false, true) {
				return fmt.Errorf("container %s: %w", id, isolation.ErrUnbegun)
			}
			return nil
		}
		s.begin()
		pass(time.Minute)
		for _, e := range told[messaging.InstanceExited](s) {
			t.Errorf("told %+v", e)
		}
		if !asked.Load() {
			t.Error("the successor didn't ask what there is: the test shows nothing")
		}
		s.expectState("app", messaging.Running)
		s.stop("app")
		pass(time.Minute)
		s.expectRest()
	})
}
