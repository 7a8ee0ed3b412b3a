package actors_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/messaging"
)

func (s *stage) update(application, version string, uris ...string) {
	s.tree.Deliver(messaging.UpdateInstances{Application: application, Version: version, URIs: uris})
}

// rerouted are the uris that routers were told of, + and -, in order.
func (s *stage) rerouted() (told []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		switch e := e.(type) {
		case messaging.RouteRegistered:
			told = append(told, "+")
			told = append(told, e.Route.URIs...)
		case messaging.RouteUnregistered:
			told = append(told, "-")
			told = append(told, e.Route.URIs...)
		}
	}
	return told
}

func (s *stage) expectRerouted(want ...string) {
	s.t.Helper()
	if got := s.rerouted(); !slices.Equal(got, want) {
		s.t.Errorf("routers were told %q, want %q", got, want)
	}
}

// wire/dea.md a.4: differences only.
func TestAnUpdateTellsRoutersWhatChanged(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "a.example", "b.example")
		pass(time.Second)
		s.forget()
		s.update("web", "v1", "b.example", "c.example", "d.example")
		pass(time.Second)
		s.expectRerouted("+", "c.example", "d.example", "-", "a.example")
		if beats := told[messaging.Beat](s); len(beats) > 0 {
			t.Errorf("nothing that a heartbeat has was changed, and there are %d", len(beats))
		}
		s.forget()
		s.update("web", "v1", "b.example", "c.example", "d.example")
		s.update("web", "", "b.example", "c.example", "d.example")
		s.update("another", "v1", "x.example")
		pass(time.Second)
		if n := len(told[messaging.InstanceUpdated](s)); n > 0 || len(s.rerouted()) > 0 {
			t.Errorf("an update that changes nothing is told of: %d times, routers %q", n, s.rerouted())
		}
		pass(s.settings.RouterRegister)
		s.expectRerouted("+", "b.example", "c.example", "d.example")
		s.forget()
		s.update("web", "v1")
		pass(time.Second)
		s.expectRerouted("-", "b.example", "c.example", "d.example")
		s.stop("web")
		pass(time.Second)
		s.expectRerouted("-", "b.example", "c.example", "d.example")
		s.expectRest()
	})
}

// Neither the container nor the application notices.
func TestANewVersionIsANewIDWithoutARestart(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "a.example")
		s.start("web", "serve", "a.example")
		pass(time.Second)
		before := s.held()
		was := told[messaging.Beat](s)[0].Instances
		s.forget()
		s.update("web", "v2", "a.example")
		pass(time.Second) // less than heartbeats wait for one another
		beats, updates := told[messaging.Beat](s), told[messaging.InstanceUpdated](s)
		if len(beats) == 0 || len(updates) != 2 {
			t.Fatalf("%d heartbeats and %d updates were told: %+v", len(beats), len(updates), updates)
		}
		for _, row := range beats[len(beats)-1].Instances {
			known := slices.ContainsFunc(was, func(i messaging.BeatInstance) bool { return i.Instance == row.Instance })
			renamed := slices.ContainsFunc(updates, func(u messaging.InstanceUpdated) bool {
				return u.Instance == row.Instance && u.Was != u.Instance && u.Version == "v2"
			})
			if row.Version != "v2" || row.State != messaging.Running || known || !renamed {
				t.Errorf("the heartbeat has %+v", row)
			}
		}
		s.expectRerouted()
		if diff := cmp.Diff(before, s.held()); diff != "" {
			t.Error("the containers changed (-before +after):\n", diff)
		}
		s.forget()
		one := updates[1].Instance
		s.tree.Deliver(messaging.StopInstances{Filter: messaging.Filter{Application: "web", Instances: []string{updates[0].Was}}})
		pass(time.Second)
		if changes := told[messaging.InstanceChanged](s); len(changes) > 0 {
			t.Errorf("an id that is no more stops %+v", changes)
		}
		s.tree.Deliver(messaging.StopInstances{Filter: messaging.Filter{Application: "web", Instances: []string{one}}})
		pass(time.Second)
		if changes := told[messaging.InstanceChanged](s); len(changes) != 2 || changes[1].Instance != one {
			t.Errorf("of the stop of %s is told %+v", one, changes)
		}
	})
}

// An instance that isn't up yet would come up with what nobody wants any more.
func TestAnUpdateHoldsForWhatIsStarting(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve after 5s", "a.example")
		pass(time.Second)
		s.expectState("web", messaging.Starting)
		s.update("web", "v2", "b.example")
		pass(10 * time.Second)
		s.expectState("web", messaging.Running)
		s.expectRerouted("+", "b.example")
		s.start("late", "deaf", "l.example") // its port is waited for, whatever routes it has by then
		pass(time.Second)
		s.update("late", "v1")
		pass(2 * time.Minute)
		s.expectState("late", messaging.Crashed)
	})
}

// What has crashed, or is stopped, stays what others know it as.
func TestAnUpdateDoesNotConcernTheDead(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "exit 3 after 2s", "a.example")
		s.start("mule", "stubborn", "m.example")
		pass(5 * time.Second)
		s.stop("mule")
		pass(time.Second)
		s.forget()
		s.update("web", "v2", "b.example")
		s.update("mule", "v2", "n.example")
		pass(time.Second)
		if updates := told[messaging.InstanceUpdated](s); len(updates) > 0 {
			t.Errorf("updated: %+v", updates)
		}
		s.expectRerouted()
	})
}

// From the order to the moment in which it holds somebody may fall at any message;
// who comes then takes it up.
func TestAnUpdateThatIsInterruptedHoldsYet(t *testing.T) {
	for kind, messages := range map[string][]string{
		"instances": {"updatesKept"}, "instance": {"update"},
	} {
		for _, message := range messages {
			t.Run(kind+"/"+message, func(t *testing.T) {
				onStage(t, func(t *testing.T, s *stage) {
					arm := s.failOnce(kind, message)
					s.begin()
					s.start("web", "serve", "a.example")
					pass(time.Second)
					s.forget()
					arm()
					s.update("web", "v2", "b.example")
					pass(30 * time.Second)
					updates := told[messaging.InstanceUpdated](s)
					if len(updates) != 1 || updates[0].Version != "v2" {
						t.Fatalf("updates: %+v", updates)
					}
					if told := s.rerouted(); !slices.Contains(told, "a.example") || told[len(told)-1] != "b.example" {
						t.Errorf("routers were told %q", told)
					}
				})
			})
		}
	}
}

// Of two updates in one moment the second holds, whatever the first one was.
func TestTheNewestUpdateHolds(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		s.begin()
		s.start("web", "serve", "a.example")
		pass(time.Second)
		s.forget()
		s.update("web", "v2", "b.example")
		s.update("web", "v1", "a.example", "c.example")
		pass(time.Second)
		r := s.store.All()[0]
		if r.Start.Version != "v1" || !slices.Equal(r.URIs, []string{"a.example", "c.example"}) || r.Update != nil {
			t.Errorf("the record is %+v", r)
		}
		known := map[string]bool{"a.example": true}
		for sign, uris := true, s.rerouted(); len(uris) > 0; uris = uris[1:] {
			switch uris[0] {
			case "+", "-":
				sign = uris[0] == "+"
			default:
				known[uris[0]] = sign
			}
		}
		if !known["a.example"] || known["b.example"] || !known["c.example"] {
			t.Errorf("routers know %v after %q", known, s.rerouted())
		}
	})
}

// While it runs, by whoever is in charge when it can be done.
func TestAnUpdateReplacesEgressRules(t *testing.T) {
	rules := func(addresses ...string) *[]messaging.EgressRule {
		all := []messaging.EgressRule{}
		for _, address := range addresses {
			all = append(all, messaging.EgressRule{Protocol: "tcp", Destination: address})
		}
		return &all
	}
	onStage(t, func(t *testing.T, s *stage) {
		refuse := true
		s.kernel.Fault = func(call, _ string) error {
			if call == "restrict" && refuse {
				return errors.New("not now")
			}
			return nil
		}
		s.begin()
		s.start("web", "serve", "a.example")
		pass(time.Second)
		has := func(want ...string) {
			t.Helper()
			var got []string
			for _, r := range s.held()[0].Network.Egress {
				got = append(got, r.First.String())
			}
			if !slices.Equal(got, want) {
				t.Errorf("the container has the rules %q, want %q", got, want)
			}
		}
		give := func(rules *[]messaging.EgressRule) {
			s.tree.Deliver(messaging.UpdateInstances{Application: "web", URIs: []string{"a.example"}, Egress: rules})
		}
		give(rules("192.0.2.1"))
		pass(5 * time.Second)
		has()
		refuse = false
		pass(5 * time.Second) // it is tried again
		has("192.0.2.1")
		give(rules("192.0.2.2"))
		give(rules("192.0.2.3", "192.0.2.4"))
		pass(time.Second)
		has("192.0.2.3", "192.0.2.4")
		give(rules("192.0.2.5", "nowhere"))
		give(nil)
		pass(time.Second)
		has("192.0.2.3", "192.0.2.4") // what is wrong changes nothing
		refuse = true
		give(rules())
		pass(time.Second)
		s.crash()
		refuse = false
		s.begin()
		pass(time.Second)
		has()
	})
}
