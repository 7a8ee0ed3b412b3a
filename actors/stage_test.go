package actors_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// stage is a node on the model machine. Trees come and go on it; kernel and
// store stay, as a machine's do.
type stage struct {
	t         *testing.T
	kernel    *model.Kernel
	droplets  *model.Droplets
	store     *model.Store
	output    actors.Output
	crashes   actors.Crashes    // nil: nothing is kept
	files     *actors.Directory // nil: none are served
	settings  actors.Settings
	memory    int64
	hooks     map[actors.Moment]string
	runtimes  []string
	budget    kit.Budget
	hook      func(kit.Turn)
	boot      string
	component *messaging.Component // nil: nobody watches the node
	ids       int
	tree      *actors.Tree
	log       hclog.Logger // nil: nowhere

	mu     sync.Mutex
	events []messaging.Event
	chunks []string
	// slowDoor hands no answer on before the agent is over.
	slowDoor bool
}

// onStage plays act in a bubble of virtual time.
func onStage(t *testing.T, act func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{
			t: t, kernel: model.NewKernel(), droplets: &model.Droplets{Takes: 50 * time.Millisecond}, store: &model.Store{},
			output: model.Output{}, settings: actors.DefaultSettings(), memory: 1024, boot: "boot-1",
		}
		defer s.end()
		act(t, s)
		for _, v := range s.kernel.Violations() {
			t.Error("the tree broke a promise:", v)
		}
	})
}

func (s *stage) sink(e messaging.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	if a, is := e.(messaging.Answered); is && consumes(a.Answer) && s.tree != nil && !s.slowDoor {
		s.tree.Deliver(messaging.AnswerSent{To: a.Ask}) // as the door does
	}
}

// consumes says that the door tells when a client has the answer.
func consumes(a messaging.Answer) bool {
	switch a.(type) {
	case messaging.JobLinked, messaging.JobStreamed:
		return true
	}
	return false
}

// begin starts an agent's tree on what its predecessor left.
func (s *stage) begin() {
	s.t.Helper()
	specs, err := s.kernel.Containers(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	s.tree = actors.New(actors.Options{
		Node:   messaging.Node{ID: "node-1", Address: netip.MustParseAddr("192.0.2.1"), Version: "0.0.1"},
		Stacks: []string{"host"}, Runtimes: s.runtimes, Settings: s.settings, Budget: s.budget, BootID: s.boot,
		Component: s.component,
		Capacity: actors.Capacity{
			MemoryMiB: s.memory, DiskMiB: 4096, PortFirst: 20000, PortLast: 20099,
			Plan: slot.Plan{Tag: "model", Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000},
		},
		Kernel: s.kernel, Droplets: s.droplets, Output: s.output, Planner: model.Planner{Hooks: s.hooks},
		Store: s.store,
		Sink:  s.sink, Recovered: specs, Hook: s.hook, Seed: 1, Log: s.log,
		Live: s.kernel, Transcripts: model.Transcripts{Kernel: s.kernel}, Clients: s, Designer: model.Designer{},
		Crashes: s.crashes, Directory: s.files,
		NewContainerID: func() string { return s.id("c") }, NewInstanceID: func() string { return s.id("i") },
	})
	s.tree.Start()
	synctest.Wait()
}

func (s *stage) id(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return fmt.Sprintf("%s%d", prefix, s.ids)
}

// crash ends the agent as SIGKILL would: nobody gets to say a word.
func (s *stage) crash() {
	s.tree.Detach()
	s.tree = nil
	synctest.Wait()
}

func (s *stage) end() {
	if s.tree != nil {
		s.tree.Detach()
		time.Sleep(10 * time.Second) // dead-letter throttles of the library
	}
}

// start asks for an instance as a controller would.
func (s *stage) start(application, command string, uris ...string) {
	s.tree.Deliver(messaging.StartInstance{
		Application: application, Name: application, Version: "v1", URIs: uris, StartCommand: command,
		Droplet: messaging.Droplet{URI: "http://blobs.example/" + application, SHA1: application},
		Limits:  messaging.ApplicationLimits{MemoryMiB: 64, DiskMiB: 64, Files: 256},
	})
}

func (s *stage) stop(application string) {
	s.tree.Deliver(messaging.StopInstances{Filter: messaging.Filter{Application: application}})
}

// pass lets virtual time pass.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// state is what the store says of an application's only instance.
func (s *stage) state(application string) messaging.State {
	for _, r := range s.store.All() {
		if r.Start.Application == application {
			return r.State
		}
	}
	return ""
}

func (s *stage) expectState(application string, want messaging.State) {
	s.t.Helper()
	if got := s.state(application); got != want {
		s.t.Fatalf("%s is %q, want %q; told: %s", application, got, want, s.story())
	}
}

// told returns every event of type E.
func told[E messaging.Event](s *stage) []E {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []E
	for _, e := range s.events {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	return found
}

func (s *stage) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = nil
}

// story is what was told, in order, without what repeats.
func (s *stage) story() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var story []string
	for _, e := range s.events {
		switch e := e.(type) {
		case messaging.InstanceChanged:
			story = append(story, string(e.To))
		case messaging.RouteRegistered:
			story = append(story, "register")
		case messaging.RouteUnregistered:
			story = append(story, "unregister")
		case messaging.InstanceExited:
			if e.Reason != messaging.Crash {
				story = append(story, e.Reason)
				continue
			}
			story = append(story, fmt.Sprintf("exited %d %s", e.ExitStatus, e.Description))
		case messaging.ActorGaveUp:
			story = append(story, "gave up "+e.Actor)
		}
	}
	return story
}

func (s *stage) expectStory(want ...string) {
	s.t.Helper()
	if got := s.story(); !slices.Equal(got, want) {
		s.t.Errorf("told %q\nwant %q", got, want)
	}
}

// held are the containers that the machine still has anything of.
func (s *stage) held() []isolation.Spec {
	specs, _ := s.kernel.Containers(s.t.Context())
	return specs
}

// expectRest wants nothing left of anything.
func (s *stage) expectRest() {
	s.t.Helper()
	if left := s.held(); len(left) > 0 {
		s.t.Errorf("the machine still holds %v", left)
	}
	s.forget()
	pass(s.settings.Advertise)
	offers := told[messaging.Advertised](s)
	if len(offers) == 0 || offers[0].MemoryMiB != s.memory || offers[0].DiskMiB != 4096 {
		s.t.Errorf("the node offers %+v, want all that it has", offers)
	}
}

// failOnce has actors of a kind fail, once, at the next message of that name
// after arm was called; an empty name is any message.
func (s *stage) failOnce(kind, message string) (arm func()) {
	var mu sync.Mutex
	armed := false
	s.hook = func(turn kit.Turn) {
		mu.Lock()
		defer mu.Unlock()
		named := turn.Message == message || message == "" && turn.Message != "Up" && turn.Message != "Down"
		if armed && turn.Kind == kind && named {
			armed = false
			panic("once")
		}
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		armed = true
	}
}
