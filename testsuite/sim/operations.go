package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// operation is one thing that somebody does, and what time passes then.
type operation struct {
	sort  int
	seed  uint64
	pause time.Duration
}

var pauses = []time.Duration{
	0, 0, time.Millisecond, 5 * time.Millisecond, 100 * time.Millisecond, time.Second, 4 * time.Second, 15 * time.Second,
}

// operations are all there are, with how often they come.
var operations = []struct {
	name   string
	weight int
	fault  bool
	do     func(w *world, rng *rand.Rand)
}{
	{"start", 8, false, func(w *world, rng *rand.Rand) { w.controller.start(rng.IntN(len(applications)), rng.IntN(3)/2) }},
	{"stop", 5, false, func(w *world, rng *rand.Rand) { w.controller.stop(filterOf(rng)) }},
	{"start and stop", 2, false, func(w *world, rng *rand.Rand) {
		i := rng.IntN(len(applications))
		w.controller.start(i, 0)
		w.controller.stop(messaging.Filter{Application: applications[i].name})
	}},
	{"replace", 2, false, func(w *world, rng *rand.Rand) { // the new version beside the old one, which then goes
		i := rng.IntN(len(applications))
		old := fmt.Sprint("v", w.controller.version%2)
		w.controller.version++
		w.controller.start(i, 0)
		w.controller.stop(messaging.Filter{Application: applications[i].name, Version: old})
	}},
	{"update", 3, false, func(w *world, rng *rand.Rand) {
		name := applications[rng.IntN(len(applications))].name
		uris := []string{name + ".example", "www." + name + ".example", name + ".test"}[rng.IntN(3):]
		w.controller.update(messaging.UpdateInstances{
			Application: name, Version: []string{"", "v0", "v1"}[rng.IntN(3)], URIs: uris[:rng.IntN(len(uris)+1)],
			Egress: rulesOf(rng),
		})
	}},
	{"reconcile", 3, false, func(w *world, _ *rand.Rand) { w.controller.reconcile() }},
	{"ask around", 2, false, func(w *world, rng *rand.Rand) {
		f := messaging.Filter{Application: applications[rng.IntN(len(applications))].name}
		w.wire.send(messaging.FindInstances{Filter: f, IncludeStats: rng.IntN(2) == 0})
		w.wire.send(messaging.ListInstances{})
		w.wire.send(messaging.LocateNodes{})
		w.wire.send(messaging.DiscoverNodes{Application: f.Application, MemoryMiB: 64, DiskMiB: 64})
		w.wire.send(messaging.DescribeNodes{})
		w.wire.send(messaging.DescribeInstances{})
		w.wire.send(messaging.RouterStarted{Interval: time.Duration(rng.IntN(40)) * time.Second})
		w.wire.send(messaging.DiscoverComponents{})
		w.wire.send(messaging.HealthManagerStarted{})
		w.wire.send(messaging.TailLogs{Application: f.Application, Index: -1, Lines: 5})
	}},
	{"client asks", 24, false, func(w *world, rng *rand.Rand) {
		w.clients.ask(w.clients.some(rng), w.clients.wish(rng))
	}},
	{"client leaves", 2, false, func(w *world, rng *rand.Rand) {
		if some := w.clients.some(rng); len(w.clients.here) > 0 {
			w.clients.leave(some)
		}
	}},
	{"agent killed", 6, true, func(w *world, rng *rand.Rand) {
		if w.tree != nil {
			kept := rng.IntN(len(w.store.changes) + 1)
			w.note("the agent is killed; %d of %d changes are kept", kept, len(w.store.changes))
			w.end()
			w.died(kept, comeAfter)
		}
	}},
	{"reboot", 2, true, func(w *world, rng *rand.Rand) {
		w.reboot(rng.IntN(len(w.store.changes)+1), time.Duration(10+rng.IntN(110))*time.Second)
	}},
	{"agent detaches", 2, true, func(w *world, _ *rand.Rand) {
		if w.tree != nil {
			w.note("the agent detaches")
			w.detached()
		}
	}},
	{"evacuation", 2, true, func(w *world, rng *rand.Rand) {
		if w.tree != nil {
			w.note("the agent is to evacuate")
			w.deliver(messaging.EvacuateNode{Within: time.Duration(1+rng.IntN(300)) * time.Second})
		}
	}},
	{"shutdown", 1, true, func(w *world, _ *rand.Rand) {
		if w.tree != nil {
			w.shutDown()
		}
	}},
	{"init killed", 4, true, func(w *world, rng *rand.Rand) { w.hit(rng, "init of %s is killed", w.kernel.KillInit) }},
	{"job killed", 4, true, func(w *world, rng *rand.Rand) {
		w.hit(rng, "the job of %s is killed", func(id string) {
			killed := isolation.Exit{Code: -1, Signal: 9}
			w.kernel.Exit(id, killed)
			if look, _ := w.kernel.Look(id); len(look.Running) > 0 {
				w.kernel.EndJob(id, look.Running[0], killed)
			}
		})
	}},
	{"out of memory", 3, true, func(w *world, rng *rand.Rand) {
		main := rng.IntN(2) == 0
		w.hit(rng, "%s is out of memory", func(id string) { w.kernel.OOMKill(id, main) })
	}},
	{"harm", 3, true, func(w *world, rng *rand.Rand) { // by somebody else on the machine
		fatal := rng.IntN(2) == 0
		w.hit(rng, "%s is harmed", func(id string) { w.kernel.Harm(id, "its link", fatal) })
	}},
	{"wire away", 3, true, func(w *world, rng *rand.Rand) {
		if !w.wire.away {
			w.note("the wire is away")
			w.wire.leave()
			w.clock.AfterFunc(time.Duration(rng.IntN(40))*time.Second, w.wire.back)
		}
	}},
	{"clock jumps", 2, true, func(w *world, rng *rand.Rand) {
		w.skew += time.Duration(rng.IntN(7200)-3600) * time.Second
		w.note("the clock is %s wrong", w.skew)
	}},
}

// rulesOf are none, a few, or one that is wrong.
func rulesOf(rng *rand.Rand) *[]messaging.EgressRule {
	rules := []messaging.EgressRule{}
	for i := range rng.IntN(3) {
		rules = append(rules, messaging.EgressRule{Protocol: "tcp", Destination: fmt.Sprintf("192.0.2.%d", 1+i+rng.IntN(4))})
	}
	switch rng.IntN(6) {
	case 0:
		rules = append(rules, messaging.EgressRule{Protocol: "tcp", Destination: "nowhere"})
	case 1, 2, 3:
		return nil
	}
	return &rules
}

func filterOf(rng *rand.Rand) messaging.Filter {
	f := messaging.Filter{Application: applications[rng.IntN(len(applications))].name}
	switch rng.IntN(5) {
	case 0:
		f.Version = fmt.Sprint("v", rng.IntN(2))
	case 1:
		f.Indices = []int{rng.IntN(2)}
	case 2:
		f.States = []string{"RUNNING", "STARTING"}[:1+rng.IntN(2)]
	}
	return f
}

// hit has something happen to one of the containers.
func (w *world) hit(rng *rand.Rand, text string, act func(id string)) {
	held := w.held()
	if len(held) > 0 {
		id := held[rng.IntN(len(held))].ID
		w.note(text, id)
		w.clients.stopped[id] = true
		act(id)
	}
}

// shutDown has the agent stop everything; the next one finds nothing. One that
// can't in a minute leaves what still runs to the next, as the agent does.
func (w *world) shutDown() {
	w.note("the agent shuts down")
	agent := w.lives
	w.store.leaving = true
	for _, r := range w.store.All() {
		w.store.ordered[r.Instance] = true
	}
	w.clients.doomAll()
	gone := func(how string) {
		if w.tree == nil || w.lives != agent {
			return
		}
		w.note("the agent has shut down: %s", how)
		w.detached()
	}
	w.leave(func() { w.clock.AfterFunc(0, func() { gone("everything is gone") }) })
	w.clock.AfterFunc(time.Minute, func() { gone("out of time") })
}

var scripts = []string{"serve", "stubborn", "exit 3 after 1s", "exit 0 after 30s", "exit 255", "serve after 200s x"}

// wish is something that a client may want.
func (c *clients) wish(rng *rand.Rand) func(messaging.Ask) messaging.Command {
	handle, job := fmt.Sprint("h", rng.IntN(3)), uint32(rng.IntN(9))
	if len(c.jobs) > 0 && rng.IntN(4) > 0 {
		job = c.jobs[max(0, len(c.jobs)-1-rng.IntN(4))]
	}
	script := messaging.Script{Text: scripts[rng.IntN(len(scripts))]}
	switch rng.IntN(16) {
	case 0, 1:
		script.LogTag = "tag"
	case 2, 3:
		script.Discard = true
	}
	grace, bytes := time.Duration(rng.IntN(60))*time.Second, uint64(1<<20)
	sort, flag := rng.IntN(20), rng.IntN(2) == 0
	return func(a messaging.Ask) messaging.Command {
		switch sort {
		case 0, 1, 2, 3:
			return messaging.CreateContainer{Ask: a, Handle: &handle, Grace: &grace}
		case 4:
			return messaging.CreateContainer{Ask: a, Network: fmt.Sprintf("10.254.0.%d", 1+4*(job%8)), Grace: &grace}
		case 5:
			return messaging.StopContainer{Ask: a, Handle: handle, Background: flag, Kill: job%2 == 0}
		case 6, 7:
			return messaging.DestroyContainer{Ask: a, Handle: handle}
		case 8, 9, 10:
			return messaging.SpawnJob{Ask: a, Handle: handle, Script: script}
		case 11:
			return messaging.RunJob{Ask: a, Handle: handle, Script: script}
		case 12, 13:
			return messaging.LinkJob{Ask: a, Handle: handle, Job: job}
		case 14:
			return messaging.StreamJob{Ask: a, Handle: handle, Job: job}
		case 15:
			return messaging.MapPort{Ask: a, Handle: handle}
		case 16:
			return messaging.InspectContainer{Ask: a, Handle: handle}
		case 17:
			return messaging.ListContainers{Ask: a}
		case 18:
			return messaging.CopyIn{Ask: a, Handle: handle}
		}
		return messaging.LimitMemory{Ask: a, Handle: handle, Bytes: &bytes}
	}
}
