package actors

import (
	"context"
	"errors"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

func (k *container) adopt(c *kit.Context[containerMessage]) {
	k.busy = true
	kit.Pipe(c, "adopt", func(ctx context.Context) (isolation.Status, error) { return k.w.Kernel.Adopt(ctx, k.order.id) },
		func(s isolation.Status, err error) containerMessage { return adopted{s, err} })
}

func (k *container) adopted(c *kit.Context[containerMessage], m adopted) {
	k.busy, k.mute = false, false
	switch {
	case m.err == nil:
		k.status = m.status
		k.endedBefore()
		k.input(c, inFound)
	case errors.Is(m.err, isolation.ErrUnbegun) && k.order.goal == goalRun && k.state == containerBorn &&
		!k.order.bare && c.Incarnation() == 1: // an agent was killed over its making
		k.askTurn(c)
	case errors.Is(m.err, isolation.ErrGone):
		k.input(c, inDead)
	case !errors.Is(m.err, isolation.ErrUnknown):
		k.askLater(c, m.err)
	case k.order.goal == goalRun && k.state == containerBorn && c.Incarnation() > 1:
		c.After(unaskedNudges*k.w.Settings.NudgeEvery, unasked{k.asked}) // by an owner that there is
	case k.order.goal == goalRun && k.state == containerBorn:
		k.askLease(c)
	default:
		k.input(c, inMissing)
	}
}

// askLater waits for a container that can't be asked: that says nothing of the
// application in it. What is to be gone is tried all the same.
func (k *container) askLater(c *kit.Context[containerMessage], err error) {
	c.Log().Warn("a container can't be asked and will be again", "container", k.order.id, "error", err)
	k.mute = true
	if k.state != containerBorn {
		k.act(c)
		return
	}
	c.After(k.w.Settings.NudgeEvery, adoptDue{})
}

// endedBefore takes from an adopted container that its job has ended already.
func (k *container) endedBefore() {
	for _, job := range k.status.Jobs {
		if !k.order.bare && job.Number == k.order.source.Job && job.Exit != nil {
			k.exit = job.Exit
			k.wroteAll()
		}
	}
}
