package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// world is a node and everybody who deals with it.
type world struct {
	*node
	plan       plan
	wire       *wire
	controller *controller
	clients    *clients
	watch      *watch
	luck       *rand.Rand // of faults
	healed     bool
	health     chan struct{} // closed with that
	full       []*asked      // requests for all that there is
	again      bool          // an agent that ended is to be followed by the next
	up         time.Time     // since when the machine is
	trace      *[]string
	everything bool // the trace has every turn
	broken     string
	slowest    time.Duration // of the stages of the second phase
}

// errByChance is what calls fail with that the seed has fail.
var errByChance = errors.New("by chance")

func newWorld(p plan, trace *[]string, everything bool) *world {
	w := &world{
		node: newNode(p.seed), plan: p, luck: rand.New(rand.NewPCG(p.seed, 2)), again: true, health: make(chan struct{}),
		trace: trace, everything: everything,
	}
	w.wire = &wire{w: w, rng: rand.New(rand.NewPCG(p.seed, 3))}
	w.controller = &controller{w: w, wanted: map[string]messaging.StartInstance{}, asked: map[string]time.Time{}}
	w.clients = newClients(w)
	w.watch = newWatch(w)
	w.node.clients, w.node.sink, w.node.hook = w.clients, w.hear, w.fail
	w.node.publish = w.wire.publish
	w.kernel.Destroyed, w.kernel.Released = w.destroyed, w.watch.released
	w.kernel.Trouble = w.trouble
	w.droplets.Wrong = map[string]bool{"wrong": true}
	w.droplets.Fault = func() error { return w.refusal(fetchFails, "fetch") }
	w.store.refuse = func() error { return w.refusal(writeRefused, "write") }
	return w
}

func (w *world) note(format string, args ...any) {
	if w.trace != nil {
		line := fmt.Sprintf(format, args...)
		*w.trace = append(*w.trace, fmt.Sprintf("%10.3f  %s", w.clock.Now().Sub(dawn).Seconds(), line))
	}
}

// chance draws whether a fault happens now.
func (w *world) chance(f fault, rng *rand.Rand) bool {
	p := w.plan.chance[f]
	return p > 0 && !w.healed && rng.Float64() < p
}

func (w *world) refusal(f fault, what string) error {
	if !w.chance(f, w.luck) {
		return nil
	}
	w.note("fault: %s fails", what)
	return errByChance
}

// fail is the hook of every turn.
func (w *world) fail(t kit.Turn) {
	if w.everything {
		w.note("turn: %s %s", t.Path, t.Message)
	}
	if t.Message == "Down" {
		w.watch.updatesMissed(t)
	}
	if t.Message != "Down" && strikes(w.plan.kinds, t.Kind) && w.chance(actorPanics, w.luck) {
		w.note("fault: %s fails at %s", t.Path, t.Message)
		w.watch.missed(t.Message)
		w.watch.updatesMissed(t)
		panic(errByChance)
	}
}

// trouble draws what goes wrong with a call of the kernel's.
func (w *world) trouble(call, id string) (t model.Trouble) {
	if w.healed || !strikes(w.plan.calls, call) {
		return t
	}
	switch {
	case w.chance(callRefused, w.luck):
		t.Refused = errByChance
	case w.chance(callHangs, w.luck):
		t.Takes, t.Until = time.Hour, w.health
	case w.chance(callSlow, w.luck):
		t.Takes = time.Duration(w.luck.IntN(8000)) * time.Millisecond
		t.Lingers = time.Duration(w.luck.IntN(3000)) * time.Millisecond
	case w.chance(callDenied, w.luck):
		t.Denied = errByChance
	default:
		return t
	}
	if call == "note" {
		w.clients.unsure[id] = true
	}
	w.note("fault: %s %s: %s", call, id, t)
	return t
}

// hear is the sink of every agent.
func (w *world) hear(e messaging.Event) {
	if text := describeEvent(e); text != "" {
		w.note("node: %s", text)
	}
	w.watch.event(e)
	switch e := e.(type) {
	case messaging.AsksForgotten:
		w.clients.sentAway()
	case messaging.Answered:
		if wrong := w.clients.answered(e); wrong != "" {
			w.violate("%s", wrong)
		}
		w.clients.has(e)
	default:
		w.wire.tell(e)
	}
}

// destroyed is told of each container that is.
func (w *world) destroyed(r model.Resident) {
	w.watch.destroyed(r)
	if wrong := w.clients.destroyed(r); wrong != "" {
		w.clock.AfterFunc(hearMax, func() {
			if !w.watch.excused(r.Spec.ID) {
				w.violate("%s", wrong)
			}
		})
	}
}

// hearMax is how long it may take until the world hears who was given up: what comes
// of that may be faster than the word of it.
const hearMax = time.Minute

// violate notes the first thing that is wrong.
func (w *world) violate(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
		w.note("WRONG: %s", w.broken)
	}
}

// pass runs the world for a virtual while; false: something is wrong.
func (w *world) pass(d time.Duration) bool {
	over := false
	defer w.clock.AfterFunc(d, func() { over = true })()
	for !over && w.broken == "" {
		w.step()
	}
	return w.broken == ""
}

// step does one thing: a turn, or the next that is due where there is none.
func (w *world) step() {
	if w.chance(agentSlow, w.luck) || !w.loom.step() {
		w.clock.Next()
		w.loom.wake()
	}
	if w.turns > turnsMax {
		w.violate("no rest after %d turns", w.turns)
	}
	if w.kernel.Broken() {
		w.violate("%s", w.kernel.Violations()[0])
	}
	if w.tree != nil && w.evacuated() {
		w.note("the agent has evacuated")
		w.shutDown()
	}
	if w.tree != nil && w.failed() {
		w.note("the agent gives up")
		w.end()
		w.died(len(w.store.changes), comeAfter)
	}
}

// comeAfter is how long there is no agent when one ended.
const comeAfter = time.Second

// died follows an agent's end by the next one's beginning.
func (w *world) died(kept int, pause time.Duration) {
	w.die(kept)
	w.succeedIn(pause)
}

// detached is died for an agent that may finish what it has under way.
func (w *world) detached() {
	w.detach()
	w.succeedIn(comeAfter)
}

// succeedIn forgets what only the agent knew, and has the next one begin.
func (w *world) succeedIn(pause time.Duration) {
	w.clients.gone()
	w.watch.died()
	if w.again {
		w.clock.AfterFunc(pause, w.come)
	}
}

// reboot restarts the machine: an agent that is there is killed, and nothing is
// left but what is on disk.
func (w *world) reboot(kept int, pause time.Duration) {
	w.note("the machine is restarted")
	if w.tree != nil {
		w.end()
	}
	w.restart()
	w.up = w.clock.Now().Add(pause)
	w.died(kept, pause)
	w.watch.rebooted()
}

// come begins an agent where there is none, and the machine is up.
func (w *world) come() {
	if w.tree != nil || w.clock.Now().Before(w.up) {
		return
	}
	changed, err := w.startOver(w.plan.report)
	for _, r := range changed {
		w.note("%s of %s is %s after the restart", r.Instance, r.Start.Application, r.State)
	}
	if err != nil { // what was changed must not be forgotten
		w.note("the agent can't begin: %v", err)
		w.died(0, comeAfter)
		return
	}
	w.begin()
	w.note("agent %d begins with %d containers and %d records", w.lives, len(w.held()), len(w.store.now))
}
