package actors_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// moment is one kind of actor handling one kind of message.
type moment struct{ kind, message string }

// kinds are all that the tree is made of.
var kinds = []string{"node", "ledger", "networks", "allocation", "containers", "container", "job", "output", "health",
	"droplets", "droplet", "instances", "instance", "janitor", "heartbeat", "advertiser", "registrar",
	"handles", "handle", "memory"}

// life plays everything that a node does, beside an application that is to run
// through all of it. Commands that a failing actor swallowed are sent again, as
// a controller does that misses their effect.
func life(s *stage) {
	s.begin()
	insist(s, func() { s.start("steady", "serve", "steady.example") }, func() bool { return s.state("steady") == messaging.Running })
	insist(s, func() { s.start("other", "serve", "other.example") }, func() bool { return s.state("other") == messaging.Running })
	insist(s, func() { s.start("crash", "exit 7 after 1s", "crash.example") }, func() bool { return s.state("crash") == messaging.Crashed })
	insist(s, func() { s.start("wrong", "serve", "wrong.example") }, func() bool { return s.state("wrong") == messaging.Crashed })
	insist(s, func() { s.start("deaf", "deaf", "deaf.example") }, func() bool { return s.state("deaf") != "" })
	s.tree.Deliver(messaging.FindInstances{Filter: messaging.Filter{Application: "steady"}, IncludeStats: true})
	s.tree.Deliver(messaging.ListInstances{})
	s.tree.Deliver(messaging.TailLogs{Application: "steady"})
	s.tree.Deliver(messaging.RouterStarted{})
	s.tree.Deliver(messaging.HealthManagerStarted{})
	for _, spec := range s.held() {
		if r, ok := s.store.Get(spec.Tenant); ok && r.Start.Application == "other" {
			s.kernel.OOMKill(spec.ID, false)
		}
	}
	pass(30 * time.Second)
	insist(s, func() { s.stop("deaf") }, func() bool { return s.state("deaf") == "" })
	serveClient(s)
	pass(3 * time.Minute)
}

// serveClient is the life of a Warden client, who asks again whatever the node
// lost track of.
func serveClient(s *stage) {
	name, grace, c := "w", time.Minute, s.connect(1)
	again := func(make func(messaging.Ask) messaging.Command, enough func(messaging.Answer) bool) {
		s.t.Helper()
		var ask messaging.Ask
		insist(s, func() { ask = c.send(make) }, func() bool {
			return slices.ContainsFunc(s.answers(ask), enough)
		})
	}
	failed := func(text string) func(messaging.Answer) bool {
		return func(a messaging.Answer) bool {
			f, ok := a.(messaging.Failed)
			return !ok || strings.Contains(f.Text, text)
		}
	}
	again(func(a messaging.Ask) messaging.Command {
		return messaging.CreateContainer{Ask: a, Handle: &name, Grace: &grace}
	}, failed("already exists"))
	script := messaging.Script{Text: "exit 3 after 1s"}
	job := uint32(0)
	again(func(a messaging.Ask) messaging.Command {
		return messaging.SpawnJob{Ask: a, Handle: name, Script: script}
	},
		func(a messaging.Answer) bool {
			spawned, ok := a.(messaging.JobSpawned)
			job = spawned.Job
			return ok
		})
	again(func(a messaging.Ask) messaging.Command { return messaging.LinkJob{Ask: a, Handle: name, Job: job} }, failed(noJob))
	again(func(a messaging.Ask) messaging.Command { return messaging.RunJob{Ask: a, Handle: name, Script: script} }, never)
	again(func(a messaging.Ask) messaging.Command { return messaging.MapPort{Ask: a, Handle: name} }, never)
	again(func(a messaging.Ask) messaging.Command { return messaging.LimitMemory{Ask: a, Handle: name} }, never)
	again(func(a messaging.Ask) messaging.Command { return messaging.InspectContainer{Ask: a, Handle: name} }, never)
	again(func(a messaging.Ask) messaging.Command {
		return messaging.SpawnJob{Ask: a, Handle: name, Script: script}
	}, never)
	for _, spec := range s.held() {
		if spec.Owner == isolation.OwnerWarden {
			s.kernel.OOMKill(spec.ID, false)
		}
	}
	pass(5 * time.Second)
	again(func(a messaging.Ask) messaging.Command {
		return messaging.StreamJob{Ask: a, Handle: name, Job: job + 2}
	}, failed(noJob))
	again(func(a messaging.Ask) messaging.Command { return messaging.StopContainer{Ask: a, Handle: name} }, never)
	again(func(a messaging.Ask) messaging.Command { return messaging.DestroyContainer{Ask: a, Handle: name} }, failed("unknown handle"))
	again(func(a messaging.Ask) messaging.Command { return messaging.ListContainers{Ask: a} }, never)
	c.leave()
}

const noJob = "no such job"

// never takes no error for an answer.
func never(a messaging.Answer) bool { _, failed := a.(messaging.Failed); return !failed }

// insist repeats an order until it is seen to be carried out.
func insist(s *stage, order func(), done func() bool) {
	s.t.Helper()
	for range 8 {
		order()
		for range 15 {
			pass(time.Second)
			if done() {
				return
			}
		}
	}
	s.t.Errorf("an order was never carried out; told: %s", s.story())
}

func setUp(s *stage) { s.droplets.Wrong = map[string]bool{"wrong": true} }

// moments are all that happen in one life.
func moments(t *testing.T) []moment {
	t.Helper()
	var mu sync.Mutex
	var seen []moment
	onStage(t, func(_ *testing.T, s *stage) {
		setUp(s)
		s.hook = func(turn kit.Turn) {
			mu.Lock()
			defer mu.Unlock()
			if m := (moment{turn.Kind, turn.Message}); !slices.Contains(seen, m) {
				seen = append(seen, m)
			}
		}
		life(s)
	})
	return seen
}

// Every kind of actor fails once at every message that it handles: it is
// restarted, and the application beside it never notices.
func TestAFailureAtAnyMomentHarmsNoApplication(t *testing.T) {
	all := moments(t)
	for _, kind := range kinds {
		if !slices.ContainsFunc(all, func(m moment) bool { return m.kind == kind && m.message != "Up" && m.message != "Down" }) {
			t.Errorf("the life that is played never has %s handle anything", kind)
		}
	}
	for _, m := range all {
		t.Run(m.kind+" "+m.message, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				setUp(s)
				var once sync.Once
				s.hook = func(turn kit.Turn) {
					if turn.Kind == m.kind && turn.Message == m.message {
						once.Do(func() { panic(fmt.Sprintf("%s fails at %s", m.kind, m.message)) })
					}
				}
				life(s)
				checkSteady(t, s)
			})
		})
	}
}

// checkSteady wants one container for the steady application, the first that
// was ever made for it, and everything given back once it is stopped.
func checkSteady(t *testing.T, s *stage) {
	t.Helper()
	s.expectState("steady", messaging.Running)
	for _, e := range told[messaging.InstanceExited](s) {
		if e.Application == "steady" {
			t.Errorf("the steady application ended: %+v", e)
		}
	}
	changes := 0
	for _, e := range told[messaging.InstanceChanged](s) {
		if e.Application == "steady" && e.To == messaging.Running {
			changes++
		}
	}
	if serving := s.kernel.Serving(); changes > 1 || len(serving) != 1 {
		t.Errorf("it became RUNNING %d times, and %v serve; want one", changes, serving)
	}
	insist(s, func() { s.stop("steady") }, func() bool { return s.state("steady") == "" })
	pass(time.Minute)
	s.expectRest()
}

// An actor that fails for ever is given up, and its parent says so.
func TestPastTheBudgetTheParentSaysSo(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			onStage(t, func(t *testing.T, s *stage) {
				s.budget = kit.Budget{Restarts: 2, Window: time.Minute, PauseMin: time.Millisecond, PauseMax: time.Millisecond}
				armed := false
				var mu sync.Mutex
				s.hook = func(turn kit.Turn) {
					mu.Lock()
					defer mu.Unlock()
					if armed && turn.Kind == kind && turn.Message != "Down" {
						panic(kind + " fails for ever")
					}
				}
				s.begin()
				mu.Lock()
				armed = true
				mu.Unlock()
				s.start("app", "serve after 3s", "app.example")
				s.connect(1).send(func(a messaging.Ask) messaging.Command { return messaging.CreateContainer{Ask: a} })
				pass(20 * time.Second)
				s.stop("app")
				pass(2 * time.Minute)
				expectGivenUp(t, s, kind)
			})
		})
	}
}

func expectGivenUp(t *testing.T, s *stage, kind string) {
	t.Helper()
	if kind == "node" {
		select {
		case <-s.tree.Failed():
		default:
			t.Error("the root fails for ever, and the tree doesn't say so")
		}
		return
	}
	for _, e := range told[messaging.ActorGaveUp](s) {
		if strings.Contains(e.Reason, kind+" fails for ever") {
			return
		}
	}
	t.Errorf("nobody said that %s was given up; told %s", kind, s.story())
}

// The containers of one owner are nobody else's to reclaim.
func TestWhatIsNotAnInstancesIsLeftAlone(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		spec := isolation.Spec{ID: "stagings", Slot: 3, Epoch: 1, Owner: isolation.OwnerStaging}
		if _, err := s.kernel.Create(t.Context(), spec, &isolation.Job{Number: 1, Argv: []string{"serve"}}); err != nil {
			t.Fatal(err)
		}
		s.begin()
		pass(time.Minute)
		if got := s.kernel.Serving(); !slices.Equal(got, []string{"stagings"}) {
			t.Errorf("%v serve, want the staging task's container", got)
		}
	})
}
