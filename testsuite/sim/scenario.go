package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// Scenario plays a script on a node on which only that fails which the script
// has fail. Lines that begin with > are done; comments and empty lines are kept;
// all others are what happened when the script was played last, and are replaced
// by what happens now. wrong is what a simulation would complain of.
func Scenario(script string) (transcript, wrong string, err error) {
	var trace []string
	s := &scenario{world: newWorld(plan{seed: 1}, &trace, false), clients: map[string]*client{}}
	s.kernel.Trouble = s.trouble
	s.node.hook = s.fail
	s.store.refuse = func() error {
		if s.refusing {
			return errByChance
		}
		return nil
	}
	var out strings.Builder
	number := 0
	for line := range strings.Lines(script) {
		number++
		line = strings.TrimRight(line, "\n ")
		order, is := strings.CutPrefix(line, "> ")
		if !is {
			if line == "" || strings.HasPrefix(line, "#") {
				fmt.Fprintln(&out, line)
			}
			continue
		}
		told := len(trace)
		if err := s.do(words(order)); err != nil {
			return "", "", fmt.Errorf("line %d: %s: %w", number, order, err)
		}
		fmt.Fprintf(&out, "> %s\n", order)
		for _, line := range trace[told:] {
			fmt.Fprintln(&out, strings.TrimRight(line, " "))
		}
	}
	if s.tree != nil {
		s.end()
	}
	s.loom.kill()
	return out.String(), s.broken, nil
}

// scenario is a world that a script directs.
type scenario struct {
	*world
	clients  map[string]*client
	rules    []*rule
	panics   []string // "kind message": the next of that name
	refusing bool     // the disk
}

// rule is what goes wrong with the next calls of one name.
type rule struct {
	call  string
	times int
	model.Trouble
}

func (s *scenario) trouble(call, id string) model.Trouble {
	for _, r := range s.rules {
		if r.call == call && r.times > 0 && !s.healed {
			r.times--
			s.note("fault: %s %s: %s", call, id, r.Trouble)
			return r.Trouble
		}
	}
	return model.Trouble{}
}

func (s *scenario) fail(t kit.Turn) {
	if at := slices.Index(s.panics, t.Kind+" "+t.Message); at >= 0 {
		s.panics = slices.Delete(s.panics, at, at+1)
		s.note("fault: %s fails at %s", t.Path, t.Message)
		panic(errByChance)
	}
}

// words are those of a line; "several in quotes" are one.
func words(line string) (list []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

var errOrder = errors.New("no such order")

// orders are what a script can have done, by their first word.
var orders = map[string]func(s *scenario, w []string) error{
	"agent": (*scenario).agent,
	"machine": func(s *scenario, w []string) error { // what ran is to be started, or reported
		s.plan.report = w[0] == "reports"
		s.reboot(len(s.store.changes), 20*time.Second)
		return s.run(0)
	},
	"start": func(s *scenario, w []string) error { return s.start(w) },
	"stop": func(s *scenario, w []string) error {
		s.controller.stop(messaging.Filter{Application: w[0]})
		return s.run(0)
	},
	"update": func(s *scenario, w []string) error { // APPLICATION VERSION URI...
		s.controller.update(messaging.UpdateInstances{Application: w[0], Version: w[1], URIs: w[2:]})
		return s.run(0)
	},
	"replace": func(s *scenario, _ []string) error { // whoever evacuates
		s.controller.reconcile()
		return s.run(0)
	},
	"client": (*scenario).client,
	"refuse": func(s *scenario, w []string) error { return s.rule(w, model.Trouble{Refused: errByChance}) },
	"deny":   func(s *scenario, w []string) error { return s.rule(w, model.Trouble{Denied: errByChance}) },
	"slow": func(s *scenario, w []string) error {
		d, err := time.ParseDuration(w[1])
		t := model.Trouble{Takes: d, Until: s.health}
		if len(w) > 2 { // and then refused
			t.Refused = errByChance
		}
		s.rules = append(s.rules, &rule{w[0], 1, t})
		return err
	},
	"panic": func(s *scenario, w []string) error { s.panics = append(s.panics, w[0]+" "+w[1]); return nil },
	"disk":  func(s *scenario, w []string) error { s.refusing = w[0] == "refuses"; return nil },
	"wire": func(s *scenario, w []string) error {
		if w[0] == "away" {
			s.wire.leave()
		} else {
			s.wire.back()
		}
		return s.run(0)
	},
	"init": func(s *scenario, w []string) error { s.kernel.KillInit(w[0]); return s.run(0) },
	"oom":  func(s *scenario, w []string) error { s.kernel.OOMKill(w[0], false); return s.run(0) },
	"job": func(s *scenario, w []string) error {
		s.kernel.Exit(w[0], isolation.Exit{Code: -1, Signal: 9})
		return s.run(0)
	},
	"wait": func(s *scenario, w []string) error {
		d, err := time.ParseDuration(w[0])
		return errors.Join(err, s.run(d))
	},
	"said": func(s *scenario, w []string) error {
		s.note("of %s %d lines were published", w[0], s.watch.lines[w[0]])
		return nil
	},
	"held": func(s *scenario, _ []string) error {
		s.note("held: %s, offered %s", s.residents(), s.offered())
		return nil
	},
	"rest": func(s *scenario, _ []string) error { // as at the end of every history, without a word
		trace := s.trace
		s.trace = nil
		s.world.rest()
		s.trace = trace
		s.note("at rest")
		return nil
	},
}

func (s *scenario) do(w []string) (err error) {
	order, known := orders[w[0]]
	if !known {
		return errOrder
	}
	defer func() { // a word too few
		if reason, ok := recover().(error); ok && reason != nil {
			err = reason
		}
	}()
	return order(s, w[1:])
}

// run lets time pass, and what is due then happen.
func (s *scenario) run(d time.Duration) error {
	s.pass(max(d, 5*time.Millisecond))
	return nil
}

func (s *scenario) offered() string {
	o := s.watch.offer
	return fmt.Sprintf("%d MiB of memory, %d of disk", o.MemoryMiB, o.DiskMiB)
}

func (s *scenario) agent(w []string) error {
	switch w[0] {
	case "begins":
		s.come()
	case "killed": // and what it had not written is lost, unless something is said
		kept := 0
		if len(w) > 1 {
			kept = len(s.store.changes)
		}
		s.note("the agent is killed; %d of %d changes are kept", kept, len(s.store.changes))
		s.end()
		s.died(kept, comeAfter)
	case "detaches":
		s.note("the agent detaches")
		s.detached()
	case "leaves":
		s.shutDown()
	case "evacuates":
		s.deliver(messaging.EvacuateNode{Within: time.Minute})
	default:
		return errOrder
	}
	return s.run(0)
}

func (s *scenario) start(w []string) error {
	for i, a := range applications {
		if a.name == w[0] {
			s.controller.start(i, 0)
			return s.run(0)
		}
	}
	return fmt.Errorf("%w: there is no application %s", errOrder, w[0])
}

func (s *scenario) rule(w []string, t model.Trouble) error {
	times := 1
	if len(w) > 1 {
		n, err := strconv.Atoi(w[1])
		if err != nil {
			return err
		}
		times = n
	}
	s.rules = append(s.rules, &rule{w[0], times, t})
	return nil
}

// client has one of the clients ask: client NAME VERB HANDLE ...
func (s *scenario) client(w []string) error {
	by := s.clients[w[0]]
	if by == nil || !slices.Contains(s.world.clients.here, by) {
		by = s.world.clients.connect(false)
		s.clients[w[0]] = by
	}
	if w[1] == "leaves" {
		s.world.clients.leave(by)
		return s.run(0)
	}
	var failed error
	s.world.clients.ask(by, func(a messaging.Ask) messaging.Command {
		m, err := wishOf(a, w[1], w[2:])
		failed = err
		return m
	})
	return errors.Join(failed, s.run(0))
}

func wishOf(a messaging.Ask, verb string, w []string) (messaging.Command, error) {
	handle := ""
	if len(w) > 0 {
		handle = w[0]
	}
	switch verb {
	case "create":
		grace := time.Minute
		return messaging.CreateContainer{Ask: a, Handle: &handle, Grace: &grace}, nil
	case "spawn":
		return messaging.SpawnJob{Ask: a, Handle: handle, Script: messaging.Script{Text: w[1]}}, nil
	case "link", "stream":
		job, err := strconv.ParseUint(w[1], 10, 32)
		if verb == "stream" {
			return messaging.StreamJob{Ask: a, Handle: handle, Job: uint32(job)}, err
		}
		return messaging.LinkJob{Ask: a, Handle: handle, Job: uint32(job)}, err
	case "stop":
		return messaging.StopContainer{Ask: a, Handle: handle}, nil
	case "destroy":
		return messaging.DestroyContainer{Ask: a, Handle: handle}, nil
	case "info":
		return messaging.InspectContainer{Ask: a, Handle: handle}, nil
	case "net_in":
		return messaging.MapPort{Ask: a, Handle: handle}, nil
	case "list":
		return messaging.ListContainers{Ask: a}, nil
	}
	return messaging.ListContainers{Ask: a}, fmt.Errorf("%w of a client's: %s", errOrder, verb)
}
