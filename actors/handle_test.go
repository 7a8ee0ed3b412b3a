package actors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// neverReads is a client that is there and doesn't read.
const neverReads = 14

// Chunk takes a part of a stream, as the door would; a client called 13 is gone.
func (s *stage) Chunk(ctx context.Context, ask messaging.Ask, stream string, data []byte) error {
	if ask.Client == neverReads {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if ask.Client == 13 {
		return fmt.Errorf("socket: %w", actors.ErrClientGone)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks = append(s.chunks, fmt.Sprintf("%s %s", stream, data))
	return nil
}

// client is one connection to the door.
type client struct {
	s      *stage
	number messaging.Client
	asked  uint64
}

func (s *stage) connect(number messaging.Client) *client {
	s.tree.Deliver(messaging.ClientConnected{Client: number})
	return &client{s: s, number: number}
}

func (c *client) leave() {
	c.s.tree.Deliver(messaging.ClientGone{Client: c.number})
	pass(time.Millisecond)
}

// send asks without waiting.
func (c *client) send(make func(messaging.Ask) messaging.Command) messaging.Ask {
	c.asked++
	ask := messaging.Ask{Client: c.number, Request: c.asked}
	c.s.tree.Deliver(make(ask))
	return ask
}

// answers are all that came for a request: one is right.
func (s *stage) answers(ask messaging.Ask) (found []messaging.Answer) {
	for _, e := range told[messaging.Answered](s) {
		if e.Ask == ask {
			found = append(found, e.Answer)
		}
	}
	return found
}

// ask waits for the answer for a virtual minute at most.
func (c *client) ask(make func(messaging.Ask) messaging.Command) messaging.Answer {
	c.s.t.Helper()
	ask := c.send(make)
	for range 6000 {
		pass(10 * time.Millisecond)
		if found := c.s.answers(ask); len(found) > 0 {
			return found[0]
		}
	}
	c.s.t.Fatalf("nobody answered %T", make(ask))
	return nil
}

func (c *client) create(handle string) string {
	c.s.t.Helper()
	a := c.ask(func(ask messaging.Ask) messaging.Command {
		m := messaging.CreateContainer{Ask: ask}
		if handle != "" {
			m.Handle = &handle
		}
		return m
	})
	made, ok := a.(messaging.ContainerCreated)
	if !ok {
		c.s.t.Fatalf("create %q: %+v", handle, a)
	}
	return made.Handle
}

func (c *client) list() []string {
	c.s.t.Helper()
	return c.ask(func(a messaging.Ask) messaging.Command { return messaging.ListContainers{Ask: a} }).(messaging.ContainersListed).Handles
}

func (c *client) spawn(handle, script string) messaging.Answer {
	c.s.t.Helper()
	return c.ask(func(a messaging.Ask) messaging.Command {
		return messaging.SpawnJob{Ask: a, Handle: handle, Script: messaging.Script{Text: script}}
	})
}

func (c *client) link(handle string, job uint32) messaging.Answer {
	c.s.t.Helper()
	return c.ask(linkOf(handle, job))
}

func linkOf(handle string, job uint32) func(messaging.Ask) messaging.Command {
	return func(a messaging.Ask) messaging.Command { return messaging.LinkJob{Ask: a, Handle: handle, Job: job} }
}

func (c *client) end(handle string) messaging.Answer {
	c.s.t.Helper()
	return c.ask(func(a messaging.Ask) messaging.Command { return messaging.StopContainer{Ask: a, Handle: handle} })
}

func (c *client) destroy(handle string) messaging.Answer {
	c.s.t.Helper()
	return c.ask(func(a messaging.Ask) messaging.Command { return messaging.DestroyContainer{Ask: a, Handle: handle} })
}

func (c *client) inspect(handle string) messaging.Answer {
	c.s.t.Helper()
	return c.ask(func(a messaging.Ask) messaging.Command { return messaging.InspectContainer{Ask: a, Handle: handle} })
}

func expectAnswer(t *testing.T, what string, got, want messaging.Answer) {
	t.Helper()
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%s: answered %+v, want %+v", what, got, want)
	}
}

// The session of the old posts: list, create, spawn, link, stop, destroy.
func TestAClientsContainerLivesAndDies(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		handle := c.create("")
		named := c.create("my/odd \x82 handle")
		if got := c.list(); !slices.Equal(got, []string{handle, named}) {
			t.Errorf("listed %q", got)
		}
		expectAnswer(t, "spawn", c.spawn(handle, "exit 7 after 1s"), messaging.JobSpawned{Job: 1})
		expectAnswer(t, "spawn elsewhere", c.spawn(named, "serve"), messaging.JobSpawned{Job: 2})
		linked := c.link(handle, 1).(messaging.JobLinked)
		if linked.Status != 7 || string(linked.Stdout) != "exit 7 after 1s" || linked.Info.State != "active" || linked.Info.Jobs != nil {
			t.Errorf("linked %+v", linked)
		}
		expectAnswer(t, "a second link", c.link(handle, 1), messaging.Failed{Text: "no such job"})
		expectAnswer(t, "stop", c.end(named), messaging.Done{})
		expectAnswer(t, "stop again", c.end(named), messaging.Done{})
		expectAnswer(t, "spawn then", c.spawn(named, "serve"),
			messaging.Failed{Text: "Container state must be one of 'active', current state is 'stopped'"})
		if stopped := c.link(named, 2).(messaging.JobLinked); stopped.Status != 255 || stopped.Info.State != "stopped" {
			t.Errorf("linked %+v", stopped)
		}
		expectAnswer(t, "destroy", c.destroy(named), messaging.Done{})
		expectAnswer(t, "destroy the other", c.destroy(handle), messaging.Done{})
		expectAnswer(t, "inspect", c.inspect(handle), messaging.Failed{Text: "unknown handle"})
		if got := c.list(); len(got) != 0 {
			t.Errorf("listed %q", got)
		}
		pass(time.Minute)
		s.expectRest()
	})
}

func TestAHandleIsGivenOnce(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		a, b := s.connect(1), s.connect(2)
		name := "h"
		both := []messaging.Ask{
			a.send(func(ask messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: ask, Handle: &name} }),
			b.send(func(ask messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: ask, Handle: &name} }),
		}
		pass(time.Second)
		expectAnswer(t, "the first", s.answers(both[0])[0], messaging.ContainerCreated{Handle: "h"})
		expectAnswer(t, "the second", s.answers(both[1])[0], messaging.Failed{Text: "container with handle: h already exists."})
		a.destroy(name)
		a.create(name)
	})
}

func TestAContainerThatCantBeMadeLeavesNothing(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		expectAnswer(t, "rootfs", c.ask(func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Rootfs: "missing"}
		}), messaging.Failed{Text: "rootfs missing not found"})
		network := func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Network: "10.254.0.41"}
		}
		if _, ok := c.ask(network).(messaging.ContainerCreated); !ok {
			t.Error("a free network was refused")
		}
		expectAnswer(t, "network", c.ask(network), messaging.Failed{Text: "Could not acquire network: 10.254.0.40"})
		s.kernel.Fault = func(call, _ string) error {
			if call == "create" {
				return model.ErrRefused
			}
			return nil
		}
		expectAnswer(t, "kernel", c.ask(func(a messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: a} }),
			messaging.Failed{Text: "command exited with failure"})
		s.kernel.Fault = nil
		if got := c.list(); len(got) != 1 {
			t.Errorf("listed %q", got)
		}
		c.destroy(c.list()[0])
		pass(time.Minute)
		s.expectRest()
	})
}

// A container lives for as long as a connection refers to it, and its grace
// time longer: to have been there is a reference.
func TestAContainerOutlivesItsClientsByItsGraceTime(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		grace := 10 * time.Second
		handle := c.ask(func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Grace: &grace}
		}).(messaging.ContainerCreated).Handle
		bystander := s.connect(2)
		c.leave()
		pass(time.Minute)
		old := s.connect(3)
		if got := old.list(); !slices.Equal(got, []string{handle}) {
			t.Fatalf("listed %q while a bystander was there", got)
		}
		old.leave()
		bystander.leave()
		pass(5 * time.Second)
		back := s.connect(4)
		pass(time.Minute)
		if got := back.list(); len(got) != 1 {
			t.Fatalf("listed %q although somebody came back", got)
		}
		back.leave()
		pass(grace + time.Second)
		if got := s.connect(5).list(); len(got) != 0 {
			t.Errorf("listed %q after the grace time", got)
		}
		pass(time.Minute)
		s.expectRest()
	})
}

func TestEveryReaderOfAJobGetsAllOfIt(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		a, b, c := s.connect(1), s.connect(2), s.connect(3)
		handle := a.create("h")
		a.spawn(handle, "exit 3 after 5s")
		asks := []messaging.Ask{a.send(linkOf(handle, 1)), b.send(linkOf(handle, 1))}
		stream := c.send(func(ask messaging.Ask) messaging.Command {
			return messaging.StreamJob{Ask: ask, Handle: handle, Job: 1}
		})
		pass(10 * time.Second)
		for _, ask := range asks {
			if got, ok := s.answers(ask)[0].(messaging.JobLinked); !ok || got.Status != 3 || string(got.Stdout) != "exit 3 after 5s" {
				t.Errorf("linked %+v", s.answers(ask))
			}
		}
		if got, ok := s.answers(stream)[0].(messaging.JobStreamed); !ok || got.Status != 3 || !slices.Equal(got.Info.Jobs, []uint32{1}) {
			t.Errorf("streamed %+v", s.answers(stream))
		}
		if !slices.Equal(s.chunks, []string{"stdout exit 3 after 5s"}) {
			t.Errorf("chunks are %q", s.chunks)
		}
		expectAnswer(t, "later", b.link(handle, 1), messaging.Failed{Text: "no such job"})
	})
}

func TestAStreamerThatLeavesLeavesTheJob(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		gone, c := s.connect(13), s.connect(1)
		handle := c.create("h")
		c.spawn(handle, "exit 3 after 1s")
		gone.send(func(ask messaging.Ask) messaging.Command {
			return messaging.StreamJob{Ask: ask, Handle: handle, Job: 1}
		})
		pass(2 * time.Second)
		if got, ok := c.link(handle, 1).(messaging.JobLinked); !ok || got.Status != 3 {
			t.Errorf("linked %+v", got)
		}
	})
}

func TestAJobThatWritesTooMuchIsCutAndNoted(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		handle := c.create("h")
		c.spawn(handle, "serve "+strings.Repeat("x", 200))
		got, ok := c.link(handle, 1).(messaging.JobLinked)
		if !ok || got.Status != 255 || len(got.Stdout) < 100 || !slices.Equal(got.Info.Events, []string{"command exceeded maximum output"}) {
			t.Errorf("linked %+v", got)
		}
		expectAnswer(t, "again", c.link(handle, 1), messaging.Failed{Text: "no such job"})
	})
}

func TestOutOfMemoryStopsTheContainer(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		handle := c.create("h")
		c.spawn(handle, "serve")
		s.kernel.OOMKill(s.held()[0].ID, false)
		pass(time.Second)
		got := c.inspect(handle).(messaging.ContainerInspected).Info
		if got.State != "stopped" || !slices.Equal(got.Events, []string{"out of memory"}) || got.Jobs != nil {
			t.Errorf("inspected %+v", got)
		}
	})
}

// Whoever is killed loses nothing: name, state, events, jobs and results are there.
func TestASuccessorServesTheClientsContainers(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		active := c.create("active")
		pass(time.Second)
		stopped := c.create("stopped")
		c.spawn(active, "serve")
		c.spawn(active, "exit 9 after 2s")
		c.spawn(stopped, "serve")
		c.send(linkOf(active, 2)) // is answered by nobody
		pass(time.Second)
		c.end(stopped)
		s.crash()
		pass(5 * time.Second)

		s.begin()
		c = s.connect(2)
		if got := c.list(); !slices.Equal(got, []string{"active", "stopped"}) {
			t.Errorf("listed %q", got)
		}
		if got, ok := c.link(active, 2).(messaging.JobLinked); !ok || got.Status != 9 {
			t.Errorf("linked %+v", got)
		}
		expectAnswer(t, "a new job", c.spawn(active, "serve"), messaging.JobSpawned{Job: 4})
		if got := c.inspect(stopped).(messaging.ContainerInspected).Info; got.State != "stopped" {
			t.Errorf("inspected %+v", got)
		}
		if got := c.inspect(active).(messaging.ContainerInspected).Info.Jobs; len(got) != 2 {
			t.Errorf("jobs %v run", got)
		}
		c.leave()
		pass(6 * time.Minute)
		if got := s.connect(3).list(); len(got) != 0 {
			t.Errorf("listed %q after the grace time", got)
		}
		pass(time.Minute)
		s.expectRest()
	})
}

func TestAShutdownTakesTheClientsContainersToo(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		c.spawn(c.create("h"), "serve")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.tree.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if left := s.held(); len(left) > 0 {
			t.Errorf("the machine still holds %v", left)
		}
	})
}

func TestPortsAreGivenAndGivenBack(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		c := s.connect(1)
		handle := c.create("h")
		port := func(host, inside *uint32) messaging.Answer {
			return c.ask(func(a messaging.Ask) messaging.Command {
				return messaging.MapPort{Ask: a, Handle: handle, Host: host, Container: inside}
			})
		}
		given, inside, huge := uint32(8080), uint32(80), uint32(70000)
		expectAnswer(t, "any", port(nil, nil), messaging.PortMapped{Host: 20000, Container: 20000})
		expectAnswer(t, "any to 80", port(nil, &inside), messaging.PortMapped{Host: 20001, Container: 80})
		expectAnswer(t, "given", port(&given, nil), messaging.PortMapped{Host: 8080, Container: 8080})
		expectAnswer(t, "beyond", port(&huge, nil), messaging.Failed{Text: "command exited with failure"})
		s.crash()
		s.begin()
		c = s.connect(2)
		expectAnswer(t, "after a kill", port(nil, nil), messaging.PortMapped{Host: 20002, Container: 20002})
		c.destroy(handle)
		pass(time.Minute)
		s.expectRest()
	})
}

func TestANetworkRestsBeforeItIsGivenAgain(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.settings.ReleaseDelay = 5 * time.Second
		s.begin()
		c := s.connect(1)
		network := func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Network: "10.254.0.41"}
		}
		made := c.ask(network).(messaging.ContainerCreated)
		c.destroy(made.Handle)
		pass(time.Second)
		expectAnswer(t, "too early", c.ask(network), messaging.Failed{Text: "Could not acquire network: 10.254.0.40"})
		pass(5 * time.Second)
		if _, ok := c.ask(network).(messaging.ContainerCreated); !ok {
			t.Error("a network that has rested was refused")
		}
	})
}
