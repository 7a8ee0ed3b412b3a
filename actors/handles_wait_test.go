package actors_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// unlisted is a machine whose containers can't be listed until heal is called.
// The first answer is the agent's own, before there is a tree.
func (s *stage) unlisted() (heal func()) {
	var calls atomic.Int64
	s.kernel.Fault = func(call, _ string) error {
		if call == "containers" && calls.Add(1) > 1 {
			return errors.New("no answer")
		}
		return nil
	}
	return func() { s.kernel.Fault = nil }
}

// Who comes while the kernel can't be listed waits; a thousand do, and whoever
// comes then is told why not.
func TestRequestsToANodeThatCantBeListedAreBounded(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		heal := s.unlisted()
		s.begin()
		stays := s.connect(1)
		created := stays.send(createOf("h"))
		for n := range messaging.Client(1200) {
			c := s.connect(1000 + n)
			c.send(spawnOf("nobody's", "serve"))
			c.leave()
		}
		c := s.connect(2)
		expectAnswer(t, "spawn", c.spawn("h", "serve"),
			messaging.Failed{Text: "the containers of the node can't be listed"})
		heal()
		pass(time.Minute)
		expectAnswer(t, "create", s.expectOne("create", created), messaging.ContainerCreated{Handle: "h"})
		expectAnswer(t, "spawn", c.spawn("h", "serve"), messaging.JobSpawned{Job: 1})
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Monitoring connects and leaves, for as long as that lasts, and asks nothing.
func TestClientsThatComeAndGoUnservedAreForgotten(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		heal := s.unlisted()
		s.begin()
		before := heap()
		for n := range messaging.Client(100_000) {
			s.tree.Deliver(messaging.ClientConnected{Client: 1000 + n})
			s.tree.Deliver(messaging.ClientGone{Client: 1000 + n})
			if n%100 == 0 {
				pass(time.Millisecond) // or it is the mailbox that grows
			}
		}
		if grown := heap() - before; grown > 2<<20 {
			t.Errorf("%d KiB are kept of clients that came and went", grown>>10)
		}
		stays, gone := s.connect(1), s.connect(2)
		brief := time.Duration(0)
		gone.send(func(a messaging.Ask) messaging.Command {
			name := "h"
			return messaging.CreateContainer{Ask: a, Handle: &name, Grace: &brief}
		})
		gone.leave()
		heal()
		pass(time.Minute)
		if listed := stays.list(); len(listed) != 0 {
			t.Errorf("listed %q, and nobody refers to it", listed)
		}
		s.expectRest()
	})
}

// A mute container of a former agent holds up who wants a job's number.
func TestWhoWaitsForAJobsNumberIsBounded(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.connect(1).create("h")
		s.crash()
		s.slow("adopt", time.Minute, fine)
		s.begin()
		for n := range messaging.Client(1000) {
			s.connect(1000 + n).send(spawnOf("h", fmt.Sprint("serve ", n)))
		}
		pass(time.Second)
		expectAnswer(t, "spawn", s.connect(2).spawn("h", "serve"),
			messaging.Failed{Text: "the jobs of a container can't be told"})
		s.kernel.Fault = nil
		pass(2 * time.Minute)
		if n := len(s.held()); n != 1 {
			t.Errorf("%d containers are there", n)
		}
		if served := len(told[messaging.Answered](s)); served < 1001 {
			t.Errorf("%d of those who waited were answered", served)
		}
	})
}

// Copies hold descriptors: more than Settings.Copies wait, and none is refused.
func TestCopiesWaitForOneAnother(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.settings.Copies = 3
		var under, most atomic.Int64
		s.kernel.Fault = func(call, _ string) error {
			if call != "copy in" && call != "copy out" {
				return nil
			}
			if n := under.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			under.Add(-1)
			return nil
		}
		s.begin()
		c := s.connect(1)
		c.create("h")
		c.create("i")
		var asks []messaging.Ask
		for n := range messaging.Client(20) {
			handle := []string{"h", "i"}[n%2]
			asks = append(asks, s.connect(100+n).send(func(a messaging.Ask) messaging.Command {
				if n < 10 {
					return messaging.CopyIn{Ask: a, Handle: handle}
				}
				return messaging.CopyOut{Ask: a, Handle: handle}
			}))
		}
		pass(10 * time.Second)
		for _, ask := range asks {
			expectAnswer(t, "copy", s.expectOne("copy", ask), messaging.Done{})
		}
		if most.Load() != 3 {
			t.Errorf("%d copies were under way at a time, want 3", most.Load())
		}
		copyIn := func(a messaging.Ask) messaging.Command { return messaging.CopyIn{Ask: a, Handle: "h"} }
		var late []messaging.Ask
		for n := range messaging.Client(60) {
			late = append(late, s.connect(200+n).send(copyIn))
		}
		pass(time.Millisecond)
		begun := time.Now()
		expectAnswer(t, "destroy", c.destroy("h"), messaging.Done{})
		if took := time.Since(begun); took > time.Second {
			t.Errorf("destroying what copies wait for took %s", took)
		}
		for _, ask := range late {
			s.expectOne("copy", ask)
		}
	})
}
