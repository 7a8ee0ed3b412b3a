package actors_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// crowd are random clients of a node on which anything may fail at any time.
type crowd struct {
	s       *stage
	rng     *rand.Rand
	clients map[messaging.Client]*client
	last    messaging.Client
	waiting []messaging.Ask                     // of clients that are there
	due     map[messaging.Ask]messaging.Command // those that no job holds up

	mu     sync.Mutex
	faults *rand.Rand // nil: nothing fails
}

func newCrowd(s *stage, seed uint64) *crowd {
	c := &crowd{s: s, rng: rand.New(rand.NewPCG(seed, 1)), clients: map[messaging.Client]*client{}, last: 100,
		due: map[messaging.Ask]messaging.Command{}}
	c.faults = rand.New(rand.NewPCG(seed, 2))
	chance := func(of int) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.faults != nil && c.faults.IntN(of) == 0
	}
	s.hook = func(turn kit.Turn) {
		if turn.Message != "Up" && turn.Message != "Down" && chance(400) {
			panic("by chance")
		}
	}
	s.kernel.Fault = func(call, _ string) error {
		switch {
		case call == "containers": // is asked before the tree is there
		case call == "stop" && chance(4):
			return context.DeadlineExceeded
		case chance(20):
			time.Sleep(time.Duration(c.draw(5000)) * time.Millisecond)
		case chance(50):
			return errors.New("by chance")
		}
		return nil
	}
	return c
}

func (c *crowd) draw(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

// heal ends the failures.
func (c *crowd) heal() {
	c.mu.Lock()
	c.faults = nil
	c.mu.Unlock()
	c.s.kernel.Fault = nil
}

func (c *crowd) kill() {
	c.s.crash()
	c.clients, c.waiting = map[messaging.Client]*client{}, nil
	c.s.forget()
	pass(time.Duration(c.draw(20000)) * time.Millisecond)
	c.s.begin()
}

// some is a client that is there.
func (c *crowd) some() *client {
	if len(c.clients) < 4 {
		c.last++
		c.clients[c.last] = c.s.connect(c.last)
	}
	numbers := []messaging.Client{}
	for number := range c.clients {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	return c.clients[numbers[c.draw(len(numbers))]]
}

func (c *crowd) leave(left *client) {
	delete(c.clients, left.number)
	c.waiting = slices.DeleteFunc(c.waiting, func(a messaging.Ask) bool { return a.Client == left.number })
	c.s.tree.Deliver(messaging.ClientGone{Client: left.number})
}

// sentAway does what the door does.
func (c *crowd) sentAway() {
	if len(told[messaging.AsksForgotten](c.s)) == 0 {
		return
	}
	for _, client := range c.clients {
		c.leave(client)
	}
	c.s.forget()
}

var scripts = []string{"serve", "stubborn", "exit 3 after 1s", "exit 0 after 30s", "exit 255", "serve after 200s x x x x x"}

func (c *crowd) step() {
	c.sentAway()
	client, handle := c.some(), fmt.Sprint("h", c.draw(3))
	script, job, grace := messaging.Script{Text: scripts[c.draw(len(scripts))]}, uint32(c.draw(20)), time.Duration(c.draw(60))*time.Second
	makes := []func(messaging.Ask) messaging.Command{
		createOf(handle), stopOf(handle), destroyOf(handle), streamOf(handle, job), linkOf(handle, job),
		spawnOf(handle, script.Text), spawnOf(handle, script.Text), linkOf(handle, job), linkOf(handle, job),
		func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Handle: &handle, Grace: &grace, Network: "10.254.0.41"}
		},
		func(a messaging.Ask) messaging.Command {
			return messaging.RunJob{Ask: a, Handle: handle, Script: script}
		},
		func(a messaging.Ask) messaging.Command { return messaging.InspectContainer{Ask: a, Handle: handle} },
		func(a messaging.Ask) messaging.Command { return messaging.MapPort{Ask: a, Handle: handle} },
		func(a messaging.Ask) messaging.Command { return messaging.CopyIn{Ask: a, Handle: handle} },
		func(a messaging.Ask) messaging.Command { return messaging.LimitMemory{Ask: a, Handle: handle} },
		func(a messaging.Ask) messaging.Command { return messaging.ListContainers{Ask: a} },
	}
	switch n := c.draw(40); {
	case n == 0:
		c.kill()
	case n < 4:
		c.leave(client)
	case n == 4:
		c.s.kernel.OOMKill(fmt.Sprint("c", c.draw(10)), false)
	case n == 5:
		c.s.kernel.KillInit(fmt.Sprint("c", c.draw(10)))
	case n < 10:
		pass(time.Duration(c.draw(20000)) * time.Millisecond)
	default:
		make := makes[c.draw(len(makes))]
		ask := client.send(make)
		c.waiting = append(c.waiting, ask)
		switch make(ask).(type) {
		case messaging.LinkJob, messaging.StreamJob, messaging.RunJob: // may wait for ever
		default:
			c.due[ask] = make(ask)
		}
		pass(time.Duration(c.draw(100)) * time.Millisecond)
	}
}

// settle has everything destroyed, and wants every request to be answered once;
// or the node is shut down.
func (c *crowd) settle(t *testing.T) {
	c.heal()
	pass(time.Minute)
	c.sentAway()
	for _, ask := range c.waiting {
		if m := c.due[ask]; m != nil && len(c.s.answers(ask)) != 1 {
			t.Errorf("%T %+v is not answered once after a minute: %+v", m, m, c.s.answers(ask))
		}
	}
	if c.draw(2) == 0 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := c.s.tree.Shutdown(ctx); err != nil || len(c.s.held()) > 0 {
			t.Errorf("shutdown: %v, left are %v", err, c.s.held())
		}
		return
	}
	for range 3 {
		client := c.some()
		for _, handle := range client.list() {
			client.destroy(handle)
		}
		pass(time.Minute)
		c.sentAway()
	}
	for _, ask := range c.waiting {
		if got := c.s.answers(ask); len(got) != 1 {
			t.Errorf("request %v has %d answers: %+v", ask, len(got), got)
		}
	}
	for _, e := range told[messaging.ActorGaveUp](c.s) {
		t.Logf("given up: %s: %s", e.Actor, e.Reason)
	}
	if listed := c.some().list(); len(listed) > 0 {
		t.Errorf("%q are still listed", listed)
	}
	c.s.expectRest()
	for _, spec := range c.s.held() {
		if spec.Owner == isolation.OwnerWarden {
			t.Errorf("%s is left", spec.ID)
		}
	}
}

// Whatever fails and whoever is killed: each request of a client that is there is
// answered once, and nothing is left of what was destroyed.
func TestRandomClientsOfANodeThatFailsAreAnsweredOnce(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				c := newCrowd(s, seed)
				s.begin()
				for range 150 {
					c.step()
				}
				c.settle(t)
			})
		})
	}
}
