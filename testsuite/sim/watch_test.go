package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// scene is a world without an agent, in which whatever is told can be wrong: of the
// instance i1 there is a record, and its container c1 with port 20000.
type scene struct{ *world }

func newScene(t *testing.T) scene {
	w := newWorld(plan{seed: 1}, nil, false)
	w.store.Put(recordOf("i1", "c1", messaging.Running))
	s := scene{w}
	s.make(t, isolation.Spec{
		ID: "c1", Slot: 1, Owner: isolation.OwnerInstance, Tenant: "i1",
		Network: isolation.Network{Ports: []isolation.PortMap{{Host: 20000, Container: 20000}}},
	}, &isolation.Job{Number: 1, Argv: []string{"serve", "says"}})
	return s
}

func recordOf(instance, container string, state messaging.State) actors.Record {
	return actors.Record{Instance: instance, PrivateInstance: "private " + instance, State: state,
		Placement: actors.Placement{Instance: instance, Container: container, Port: 20000}}
}

// work does what waits, to its end.
func (s scene) work(t *testing.T, act func() error) {
	t.Helper()
	err := errByChance
	s.loom.Work(func() { err = act() })
	for range 100 {
		if !s.loom.step() {
			s.clock.Next()
			s.loom.wake()
		}
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}

func (s scene) make(t *testing.T, spec isolation.Spec, job *isolation.Job) {
	t.Helper()
	s.work(t, func() error { _, err := s.kernel.Create(t.Context(), spec, job); return err })
}

// changes tells of states, one after the other.
func (s scene) changes(instance string, states ...messaging.State) {
	for i, to := range states[1:] {
		s.hear(messaging.InstanceChanged{Instance: instance, From: states[i], To: to})
	}
}

func (s scene) route(instance string, port uint16) {
	s.hear(messaging.RouteRegistered{Route: messaging.Route{PrivateInstance: "private " + instance, Port: port}})
}

// rename has an instance known by a new id.
func (s scene) rename(instance, now string) {
	s.store.Change(instance, func(r *actors.Record) { r.Renamed = now })
	s.store.write(len(s.store.changes))
	s.hear(messaging.InstanceUpdated{Was: instance, Instance: now})
}

func (s scene) beat(state messaging.State) {
	s.hear(messaging.Beat{Instances: []messaging.BeatInstance{{Instance: "i1", State: state}}})
}

// exits has the application end, and somebody tell of that.
func (s scene) exits(code, told int, words string) {
	s.kernel.Exit("c1", isolation.Exit{Code: code})
	s.hear(messaging.InstanceExited{Instance: "i1", Reason: messaging.Crash, ExitStatus: told, Description: words})
}

const (
	born, starting, running    = messaging.Born, messaging.Starting, messaging.Running
	stopping, stopped, crashed = messaging.Stopping, messaging.Stopped, messaging.Crashed
	evacuating                 = messaging.Evacuating
)

// A checker that can't complain is worth nothing: each of these is wrong in one way,
// and the world says which.
func TestWhatMustNeverBeToldIsComplainedOf(t *testing.T) {
	for want, wrong := range map[string]func(s scene){
		"changes from BORN to RUNNING": func(s scene) { s.changes("i1", born, running) },
		"becomes RUNNING after it was told to be RUNNING": func(s scene) {
			s.changes("i1", starting, running)
			s.changes("i1", starting, running)
		},
		"becomes CRASHED after it was told to be STOPPING": func(s scene) {
			s.changes("i1", running, stopping)
			s.changes("i1", running, crashed)
		},
		"becomes STARTING after it had ended: CRASHED": func(s scene) {
			s.changes("i2", running, crashed)
			s.watch.died()
			s.changes("i2", born, starting)
		},
		"ended twice: STOPPED, then CRASHED": func(s scene) {
			s.changes("i2", running, stopping, stopped)
			s.watch.died()
			s.hear(messaging.InstanceExited{Instance: "i2", Reason: messaging.Crash})
		},
		"have crashed after it was told to be STOPPING": func(s scene) {
			s.changes("i1", running, stopping)
			s.exits(7, 7, "app instance exited")
		},
		"heartbeat has i1 as STARTING": func(s scene) {
			s.changes("i1", starting, running)
			s.beat(starting)
		},
		"heartbeat leaves i1 out": func(s scene) {
			s.changes("i1", starting, running)
			s.hear(messaging.Beat{})
		},
		"which was told to be STOPPING": func(s scene) {
			s.changes("i1", running, stopping)
			s.route("i1", 20000)
		},
		"which has port 20000": func(s scene) { s.route("i1", 20001) },
		"which leads to i1": func(s scene) {
			s.route("i1", 20000)
			s.store.Put(recordOf("i2", "c2", running))
			s.route("i2", 20000)
		},
		"offers more than it has": func(s scene) {
			s.hear(messaging.Advertised{MemoryMiB: memoryMiB + 1})
		},
		"ended with 7 and is told to have ended with 0": func(s scene) {
			s.exits(7, 0, "app instance exited")
		},
		`ended with -1 "unknown"`: func(s scene) { s.exits(7, -1, "unknown") },
	} {
		s := newScene(t)
		if wrong(s); !strings.Contains(s.broken, want) {
			t.Errorf("it says %q, want %q", s.broken, want)
		}
	}
}

func TestWhatMustNotBeToldOfWhatChangesIsComplainedOf(t *testing.T) {
	for want, wrong := range map[string]func(s scene){
		"is updated after it was told to be STOPPING": func(s scene) {
			s.changes("i1", running, stopping)
			s.hear(messaging.InstanceUpdated{Was: "i1", Instance: "i1"})
		},
		"is told to be updated, which a successor would not know": func(s scene) {
			s.hear(messaging.InstanceUpdated{Was: "i1", Instance: "i1", URIs: []string{"a.example"}})
		},
		"changes from EVACUATING to RUNNING":             func(s scene) { s.changes("i1", evacuating, running) },
		"is told to be leaving, which a successor would": func(s scene) { s.changes("i1", running, evacuating) },
		"told to be leaving after it was told to be STOP": func(s scene) {
			s.changes("i1", running, stopping)
			s.hear(messaging.InstanceExited{Instance: "i1", Reason: messaging.Evacuation})
		},
		"has i1 as STARTING, which was told to be RUNNING": func(s scene) { // and n1 is i1
			s.changes("i1", starting, running)
			s.rename("i1", "n1")
			s.hear(messaging.Beat{Instances: []messaging.BeatInstance{{Instance: "n1", State: starting}}})
		},
	} {
		s := newScene(t)
		if wrong(s); !strings.Contains(s.broken, want) {
			t.Errorf("it says %q, want %q", s.broken, want)
		}
	}
}

func TestWhatIsNeverToldIsComplainedOf(t *testing.T) {
	for want, wrong := range map[string]func(s scene){
		"routers know [] of i1, and it has [a.example]": func(s scene) {
			s.store.Change("i1", func(r *actors.Record) { r.URIs = []string{"a.example"} })
			s.violate("%s", s.watch.misrouted())
		},
		"i1 was updated to [b.example], and has []": func(s scene) {
			s.watch.delivered(messaging.UpdateInstances{URIs: []string{"b.example"}})
			s.violate("%s", s.watch.misrouted())
		},
		"line 3 of c1 is published, and none after line 1": func(s scene) {
			s.watch.line("c1", 1)
			s.watch.line("c1", 3)
		},
		"of its 1 lines only 0": func(s scene) {
			s.beat(running)
			r, _ := s.kernel.Look("c1")
			s.watch.released(r)
		},
		"i2 was there": func(s scene) {
			s.changes("i2", starting, running)
			s.violate("%s was there", s.watch.unended())
		},
	} {
		s := newScene(t)
		if wrong(s); !strings.Contains(s.broken, want) {
			t.Errorf("it says %q, want %q", s.broken, want)
		}
	}
}

// client is one that was told of the container c2, called h, and of its job 1.
func (s scene) client(t *testing.T) *client {
	t.Helper()
	s.make(t, isolation.Spec{ID: "c2", Slot: 2, Owner: isolation.OwnerWarden, Note: []byte(`{"handle":"aA=="}`)}, nil)
	s.job(t, 1, "exit 3")
	s.ids = 2
	by := &client{number: 1}
	grace := time.Minute
	s.answer(messaging.CreateContainer{Ask: s.ask(by), Grace: &grace}, messaging.ContainerCreated{Handle: "h"})
	s.answer(messaging.SpawnJob{Ask: s.ask(by), Handle: "h", Script: messaging.Script{Text: "exit 3"}},
		messaging.JobSpawned{Job: 1})
	if s.broken != "" {
		t.Fatal(s.broken)
	}
	return by
}

func (s scene) job(t *testing.T, number uint32, words string) {
	t.Helper()
	s.work(t, func() error {
		return s.kernel.Spawn(t.Context(), "c2", isolation.Job{Number: number, Argv: strings.Fields(words)})
	})
}

func (s scene) ask(by *client) messaging.Ask {
	by.asked++
	return messaging.Ask{Client: by.number, Request: by.asked}
}

// answer has a client ask for something and get an answer.
func (s scene) answer(command messaging.ClientCommand, answers ...messaging.Answer) {
	a := &asked{command: command, at: s.clock.Now().Add(time.Millisecond), ids: s.ids}
	s.clients.stopping(a)
	s.clients.doom(a)
	s.clients.asks[command.Asked()] = a
	for _, answer := range answers {
		s.hear(messaging.Answered{Ask: command.Asked(), Answer: answer})
	}
}

func TestWhatIsAnsweredWronglyIsComplainedOf(t *testing.T) {
	done := messaging.Done{}
	no := func(text string) messaging.Failed { return messaging.Failed{Text: text} }
	for want, wrong := range map[string]func(s scene, a messaging.Ask){
		"c2 is there": func(s scene, a messaging.Ask) {
			s.answer(messaging.InspectContainer{Ask: a, Handle: "h"}, no("unknown handle"))
		},
		"c2 (h) is not listed": func(s scene, a messaging.Ask) {
			s.answer(messaging.ListContainers{Ask: a}, messaging.ContainersListed{Handles: []string{"i"}})
		},
		"c2 (h) is destroyed, which nobody wanted": func(s scene, _ messaging.Ask) {
			r, _ := s.kernel.Look("c2")
			s.destroyed(r)
			s.pass(2 * hearMax)
		},
		"x is told to be made": func(s scene, a messaging.Ask) {
			s.answer(messaging.CreateContainer{Ask: a}, messaging.ContainerCreated{Handle: "x"})
		},
		`job 1 is another: "exit 3"`: func(s scene, a messaging.Ask) {
			s.answer(messaging.SpawnJob{Ask: a, Handle: "h", Script: messaging.Script{Text: "serve"}}, messaging.JobSpawned{Job: 1})
		},
		"it ended with 3": func(s scene, a messaging.Ask) {
			s.pass(time.Second)
			s.answer(messaging.LinkJob{Ask: a, Handle: "h", Job: 1}, messaging.JobLinked{Status: 0, Stdout: []byte("exit 3")})
		},
		`it wrote "exit 3"`: func(s scene, a messaging.Ask) {
			s.pass(time.Second)
			s.answer(messaging.LinkJob{Ask: a, Handle: "h", Job: 1}, messaging.JobLinked{Status: 3})
		},
		`it wrote "exit 3", and not ""`: func(s scene, a messaging.Ask) {
			s.pass(time.Second)
			s.answer(messaging.StreamJob{Ask: a, Handle: "h", Job: 1}, messaging.JobStreamed{Status: 3})
		},
		"it was told to be started": func(s scene, a messaging.Ask) {
			s.answer(messaging.LinkJob{Ask: a, Handle: "h", Job: 1}, no("no such job"))
		},
		"its ports are []": func(s scene, a messaging.Ask) {
			s.answer(messaging.MapPort{Ask: a, Handle: "h"}, messaging.PortMapped{Host: 20001, Container: 20001})
		},
		"its limits are": func(s scene, a messaging.Ask) {
			s.answer(messaging.LimitMemory{Ask: a, Handle: "h"}, messaging.MemoryLimited{Bytes: 1 << 20})
		},
		"has 2 answers": func(s scene, a messaging.Ask) {
			s.answer(messaging.StopContainer{Ask: a, Handle: "h", Background: true}, done, done)
		},
		"is done, and the init of c2 lives": func(s scene, a messaging.Ask) {
			s.answer(messaging.DestroyContainer{Ask: a, Handle: "h"}, done)
		},
		"is done, and in c2 jobs run": func(s scene, a messaging.Ask) {
			s.answer(messaging.StopContainer{Ask: a, Handle: "h"}, done)
		},
	} {
		s := newScene(t)
		by := s.client(t)
		if wrong(s, s.ask(by)); !strings.Contains(s.broken, want) {
			t.Errorf("it says %q, want %q", s.broken, want)
		}
	}
}

// Who had it destroyed without waiting for the answer is told nothing wrong.
func TestAnAnswerMayBeSlowerThanTheEnd(t *testing.T) {
	s := newScene(t)
	by := s.client(t)
	create := messaging.CreateContainer{Ask: s.ask(by)}
	s.answer(create)
	s.answer(messaging.DestroyContainer{Ask: s.ask(by), Handle: "x"}) // an unknown one, by now
	s.hear(messaging.Answered{Ask: create.Ask, Answer: messaging.ContainerCreated{Handle: "x"}})
	if s.broken != "" {
		t.Error(s.broken)
	}
}

// What comes of an actor's fall may be faster than the word of it.
func TestWhoWasGivenUpMayBeHeardOfLater(t *testing.T) {
	s := newScene(t)
	s.client(t)
	r, _ := s.kernel.Look("c2")
	s.destroyed(r)
	s.pass(hearMax / 2)
	s.hear(messaging.ActorGaveUp{Actor: "node/handles/c2"})
	if s.pass(2 * hearMax); s.broken != "" {
		t.Error(s.broken)
	}
}
