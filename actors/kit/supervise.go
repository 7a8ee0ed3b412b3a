package kit

import (
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// drainMax is how long a successor waits, after its pause, for the work of
// the incarnation that failed: work that ignores its context must not keep an
// actor down for ever.
const drainMax = 5 * time.Second

// supervisor is every actor's supervision strategy, and that of the roots. It
// runs on the parent's mailbox, a root's on its own. It has no state, because
// the library keeps a guardian for ever for every value it has seen.
type supervisor struct{}

// HandleFailure is called by the library; the child's mailbox is suspended.
func (supervisor) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, _ *actor.PID,
	_ *actor.RestartStatistics, reason, _ any) {
	failure := reason.(*Failure) // mailboxes escalate nothing else
	child := failure.cell
	sys, in := child.sys, child.current.Load()
	log := child.logger()
	if child.dismissed.Load() || sys.closed.Load() || child.parent != nil && child.parent.over() {
		// A stop is on its way, or comes with the parent's own verdict.
		log.Warn("failed while stopping", "handling", failure.Message, "error", failure.Err)
		return
	}
	facts := []any{"handling", failure.Message, "error", failure.Err}
	if failure.Stack != nil {
		facts = append(facts, "stack", string(failure.Stack))
	}
	pause, again := child.restarts.after(failure, sys.clock.Now(), sys.chance())
	sys.tallies.count(child.kind, again)
	if !again {
		log.Error("gave up", append(facts, "failures", len(child.restarts.faults))...)
		child.verdict = failure
		if child.parent != nil {
			child.parent.disown(child)
		}
		child.stop()
		return
	}
	log.Warn("restarting", append(facts, "in", pause.Round(time.Millisecond),
		"restart", len(child.restarts.faults), "of", child.restarts.budget.Restarts)...)
	in.restartIn(pause)
}

// restartIn leads to the successor of an incarnation that failed.
func (in *incarnation) restartIn(pause time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pause = in.cell.sys.clock.AfterFunc(pause, in.awaitWork)
}

// awaitWork restarts the actor when no work is left, after drainMax at the latest.
func (in *incarnation) awaitWork() {
	restart := sync.OnceFunc(func() { in.cell.mailbox.PostSystemMessage(&actor.Restart{}) })
	if in.awaitDrain(restart) {
		return
	}
	restart()
}

func (in *incarnation) awaitDrain(restart func()) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pause = nil
	if len(in.works) == 0 {
		return false
	}
	stop := in.cell.sys.clock.AfterFunc(drainMax, func() {
		in.cell.logger().Warn("restarting although work of the last incarnation still runs", "work", in.working())
		restart()
	})
	in.pause = stop
	in.drained = func() {
		stop()
		restart()
	}
	return true
}
