package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// Bounds of the second phase.
const (
	look      = 15 * time.Second // between two looks whether all is well
	looks     = 20               // until it must be: twice what the slowest history was seen to take
	answerMax = time.Minute      // for a request that no job holds up
	turnsMax  = 200_000          // in a whole history: beyond that nobody ever comes to rest
)

// result is what came of a history.
type result struct {
	wrong   string // empty: nothing
	trace   []string
	turns   int
	created int
	virtual time.Duration
	slowest time.Duration // of the stages of the second phase
}

// depth of a trace.
type depth int

const (
	noTrace    depth = iota
	eventTrace       // what is asked, told and goes wrong
	turnTrace        // and every message that is handled
)

// play plays one history.
func play(p plan, d depth) result {
	var trace []string
	keep := &trace
	if d == noTrace {
		keep = nil
	}
	w := newWorld(p, keep, d == turnTrace)
	w.come()
	for i, op := range p.ops {
		if p.keep != nil && !p.keep[i] {
			continue
		}
		operations[op.sort].do(w, rand.New(rand.NewPCG(op.seed, 0)))
		if !w.pass(op.pause) {
			break
		}
	}
	if w.broken == "" {
		w.rest()
	}
	if w.tree != nil {
		w.end()
	}
	w.loom.kill()
	return result{w.broken, trace, w.turns, w.kernel.Created(), w.clock.Now().Sub(dawn), w.slowest}
}

// rest is the second phase: nothing fails any more, so everything comes true,
// and in the end nothing is left.
func (w *world) rest() {
	w.note("everything is healed")
	w.heal()
	w.controller.settle()
	stages := []struct {
		name string
		act  func()
		wait func() string // what for; empty: for nothing any more
	}{
		{"what is wanted runs", w.insist, w.unmet},
		{"everything is taken down", w.takeDown, w.left},
		{"all of it can be promised again", w.fillUp, w.unfilled},
		{"and is taken down", w.takeDown, w.left},
	}
	for _, stage := range stages {
		w.note("from now on: %s", stage.name)
		if !w.until(stage.name, stage.act, stage.wait) {
			return
		}
	}
	w.close()
}

func (w *world) heal() {
	w.healed = true
	close(w.health)
	w.wire.back()
}

// until acts and looks until there is nothing to wait for, within bounds.
func (w *world) until(what string, act func(), wait func() string) bool {
	reason := ""
	for n := range looks {
		act()
		if !w.pass(look) {
			return false
		}
		if reason = wait(); reason == "" {
			w.slowest = max(w.slowest, time.Duration(n+1)*look)
			return true
		}
	}
	w.violate("%s: not after %s and %d turns: %s; waiting: %s", what, look*looks, w.turns, reason, w.waiting())
	return false
}

// waiting says what stands still.
func (w *world) waiting() string {
	return fmt.Sprintf("%d pieces of work, agent %d is there: %v, containers %s", len(w.loom.strands), w.lives,
		w.tree != nil, w.residents())
}

func (w *world) residents() string {
	var words []string
	for _, spec := range w.held() {
		r, _ := w.kernel.Look(spec.ID)
		name, taken := handleOf(spec)
		words = append(words, fmt.Sprintf("%s (%s %s%s, slot %d, lives %v, jobs %d, taken %v)",
			spec.ID, spec.Owner, spec.Tenant, name, spec.Slot, r.Lives, r.Running, taken))
	}
	return "[" + strings.Join(words, " ") + "]"
}

func (w *world) unmet() string {
	if w.tree == nil {
		return "no agent is there"
	}
	if reason := cmp.Or(w.controller.unmet(), w.watch.misrouted()); reason != "" {
		return reason
	}
	if late := w.clients.late(answerMax); late != nil {
		return fmt.Sprintf("%s of %s is not answered", describe(late.command), late.at.Sub(dawn))
	}
	return ""
}

// clientsMax is how many containers clients keep while applications are to run.
const clientsMax = 3

// insist has the controller see to what it wants, and room made for that.
func (w *world) insist() {
	w.controller.reconcile()
	kept := 0
	for _, spec := range w.held() {
		if spec.Owner == isolation.OwnerWarden {
			if kept++; kept > clientsMax {
				w.giveUp(spec)
			}
		}
	}
}

// giveUp has a client destroy a container.
func (w *world) giveUp(spec isolation.Spec) {
	if len(w.clients.here) == 0 {
		w.clients.connect(false)
	}
	if len(w.clients.here) == 0 { // there is no door
		return
	}
	name, _ := handleOf(spec)
	w.clients.ask(w.clients.here[0], func(a messaging.Ask) messaging.Command {
		return messaging.DestroyContainer{Ask: a, Handle: name}
	})
}

// takeDown has everybody give up what he has.
func (w *world) takeDown() {
	clear(w.controller.wanted)
	w.controller.reconcile()
	for _, spec := range w.held() {
		if spec.Owner == isolation.OwnerWarden {
			w.giveUp(spec)
		}
	}
}

// left is what is there and should not be.
func (w *world) left() string {
	if len(w.held()) > 0 {
		return "the machine holds " + w.residents()
	}
	for _, r := range w.store.All() {
		if r.State != messaging.Crashed {
			return fmt.Sprintf("%s of %s is %s", r.Instance, r.Start.Application, r.State)
		}
	}
	if o := w.watch.offer; o.MemoryMiB != memoryMiB || o.DiskMiB != diskMiB {
		return fmt.Sprintf("the node offers %d MiB of memory and %d of disk", o.MemoryMiB, o.DiskMiB)
	}
	if len(w.watch.routes) > 0 {
		return fmt.Sprintf("routers were told of these ports, and not that they lead nowhere: %v",
			slices.Sorted(mapKeys(w.watch.routes)))
	}
	for _, ask := range slices.SortedFunc(mapKeys(w.clients.asks), compareAsks) {
		if a := w.clients.asks[ask]; len(a.answers) == 0 {
			return fmt.Sprintf("%s of %s is not answered", describe(a.command), a.at.Sub(dawn))
		}
	}
	return ""
}

// fillUp has a client ask for all slots and ports that there are.
func (w *world) fillUp() {
	if w.full != nil {
		return
	}
	if len(w.clients.here) == 0 {
		w.clients.connect(false)
	}
	if len(w.clients.here) == 0 {
		return
	}
	by := w.clients.here[0]
	for i := range slots {
		name, grace := fmt.Sprint("full-", i), time.Hour
		w.full = append(w.full, w.clients.ask(by, func(a messaging.Ask) messaging.Command {
			return messaging.CreateContainer{Ask: a, Handle: &name, Grace: &grace}
		}))
	}
	w.clock.AfterFunc(look/3, func() {
		for range portLast - portFirst + 1 {
			w.full = append(w.full, w.clients.ask(by, func(a messaging.Ask) messaging.Command {
				return messaging.MapPort{Ask: a, Handle: "full-1"}
			}))
		}
	})
}

func (w *world) unfilled() string {
	if w.full == nil {
		return "nobody could ask"
	}
	for _, a := range w.full {
		if len(a.answers) == 0 {
			return describe(a.command) + " is not answered"
		}
		if failed, no := a.answers[0].(messaging.Failed); no {
			return fmt.Sprintf("%s fails although nothing else is there: %s", describe(a.command), failed.Text)
		}
	}
	return ""
}

// close shuts the node down and looks at what remains.
func (w *world) close() {
	w.again = false
	gone := false
	w.leave(func() { gone = true })
	for range 8 {
		if !w.pass(look) || gone {
			break
		}
	}
	switch {
	case w.broken != "":
	case !gone:
		w.violate("the node doesn't shut down: %s", w.waiting())
	case len(w.held()) > 0 || len(w.store.now) > 0:
		w.violate("the node has shut down, and there are %s and %d records", w.residents(), len(w.store.now))
	}
	if instance := w.watch.unended(); instance != "" && w.broken == "" {
		w.violate("%s was there, is no more, and nobody was told of its end", instance)
	}
}
