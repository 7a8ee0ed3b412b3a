package actors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// A container that has hooks gives them jobs beside the application's. Without
// hooks nothing in this file is done but a look at what is known already.

type (
	// hookOver says what came of a moment's hook.
	hookOver struct {
		moment Moment
		exit   isolation.Exit
		said   string
		err    error
	}
	// applicationBegan says that the application's own job was started after the
	// container was made, or that it can't be.
	applicationBegan struct{ err error }
)

func (hookOver) container()         {}
func (applicationBegan) container() {}

type hookState uint8

const (
	hookAhead hookState = iota
	hookRuns
	hookDone // or given up
)

// firstJob is what PID 1 starts with: the hook before the application, if any.
func (o containerOrder) firstJob() *isolation.Job {
	if o.bare {
		return nil
	}
	if hook, ok := o.hooks[BeforeStart]; ok {
		return &hook
	}
	return &o.job
}

// has says that PID 1 was seen to know of a job.
func (k *container) has(job uint32) bool {
	return slices.ContainsFunc(k.status.Jobs, func(j isolation.JobStatus) bool { return j.Number == job })
}

// begun says that the application's own job was started, ever.
func (k *container) begun() bool { return k.order.bare || k.has(k.order.source.Job) }

// live looks after a container that lives: after its jobs, or first after what
// comes before them.
func (k *container) live(c *kit.Context[containerMessage]) {
	if !k.begun() && k.order.goal == goalRun {
		if !k.awaits(c, BeforeStart) {
			k.begin(c)
		}
		return
	}
	k.follow(c)
	k.recount(c)
	k.greet(c)
}

// greet has the hook run that comes after the start, once the owner asks for it.
func (k *container) greet(c *kit.Context[containerMessage]) {
	if k.order.goal != goalKeep || k.state != containerLiving {
		return
	}
	if !k.awaits(c, AfterStart) && k.hooks[AfterStart] == hookDone {
		k.order.owner(greeted{})
	}
}

// awaits has a moment's hook run, once in the container's life, and says whether
// it is to be waited for. One that a former agent began is waited for too.
func (k *container) awaits(c *kit.Context[containerMessage], m Moment) bool {
	if k.order.bare { // whose jobs are its clients', by any number
		return false
	}
	job, wanted := k.order.hooks[m]
	began := k.has(m.job())
	switch {
	case k.hooks[m] != hookAhead || !wanted && !began:
		return k.hooks[m] == hookRuns
	case m > AfterStart && !(k.begun() && k.order.goal == goalRemove):
		return false
	}
	k.hooks[m] = hookRuns
	id := k.order.id
	kit.Pipe(c, m.String(), func(ctx context.Context) (hookOver, error) {
		ctx, cancel := k.w.within(ctx, k.w.Settings.HookMax)
		defer cancel()
		var refused error
		if !began {
			refused = k.w.Kernel.Spawn(ctx, id, job)
		}
		// Also where it was refused: a former incarnation may have begun it.
		exit, err := k.w.Kernel.Wait(ctx, id, m.job())
		if refused != nil && (err != nil || exit.Lost) {
			err = refused
		}
		over := hookOver{moment: m, exit: exit}
		if err == nil && exit.Code != 0 {
			over.said = k.w.said(id, m)
		}
		return over, err
	}, func(over hookOver, err error) containerMessage {
		over.moment, over.err = m, err
		return over
	})
	return true
}

// hookSaidMax is how much of the end of what a failed hook wrote is logged.
const hookSaidMax = 2 << 10

// said is the end of what a hook wrote: its errors, and before them what else it said.
func (w *world) said(id string, m Moment) string {
	stdout, stderr, _, err := w.Transcripts.Gather(Written{Container: id, Job: m.job()}, hookSaidMax)
	if err != nil {
		return "" // it is only for whoever looks for the reason
	}
	text := bytes.TrimSpace(slices.Concat(stdout, stderr))
	return string(text[max(0, len(text)-hookSaidMax):])
}

// failed says what went wrong with a hook; nil: nothing.
func (m hookOver) failed() error {
	switch {
	case errors.Is(m.err, context.DeadlineExceeded):
		return fmt.Errorf("the hook %s is not over in time", m.moment)
	case m.err != nil:
		return fmt.Errorf("the hook %s: %w", m.moment, m.err)
	case m.exit.Signal != 0:
		return fmt.Errorf("the hook %s was ended by %s", m.moment, m.exit.SignalName())
	case m.exit.Code != 0:
		return fmt.Errorf("the hook %s ended with status %d", m.moment, m.exit.Code)
	}
	return nil
}

// hookOver goes on with what waited for the hook. Only the one before the start
// can forbid anything: what is to stop stops.
func (k *container) hookOver(c *kit.Context[containerMessage], m hookOver) {
	k.hooks[m.moment] = hookDone
	failed := m.failed()
	if failed != nil && k.order.goal != goalHalt {
		c.Log().Warn("a hook failed", "container", k.order.id, "error", failed, "said", m.said)
	}
	switch {
	case m.moment == AfterStart:
		k.order.owner(greeted{})
	case m.moment != BeforeStart:
		k.act(c)
	case k.state != containerLiving: // told to stop meanwhile
	case failed != nil:
		k.unready = failed
		k.order.owner(containerUnready{failed})
	default:
		k.begin(c)
	}
}

// begin starts the application's own job in a container that was made without.
func (k *container) begin(c *kit.Context[containerMessage]) {
	id, job := k.order.id, k.order.job
	if k.starts[job.Number] != nil {
		return
	}
	k.starts[job.Number] = kit.PipeUntil(c, "begin", func(ctx context.Context) (struct{}, error) {
		err := k.w.Kernel.Spawn(ctx, id, job)
		if err != nil && ctx.Err() == nil { // a former incarnation's may have been late
			status, _ := k.w.Kernel.Adopt(ctx, id)
			if slices.ContainsFunc(status.Jobs, func(j isolation.JobStatus) bool { return j.Number == job.Number }) {
				err = nil
			}
		}
		return struct{}{}, err
	}, func(_ struct{}, err error) containerMessage { return applicationBegan{err} })
}

func (k *container) began(c *kit.Context[containerMessage], m applicationBegan) {
	delete(k.starts, k.order.job.Number)
	if m.err == nil {
		k.status.Jobs = append(k.status.Jobs, isolation.JobStatus{Number: k.order.job.Number})
	}
	switch {
	case k.state != containerLiving:
		k.act(c)
	case m.err != nil:
		k.unready = m.err
		k.order.owner(containerUnready(m))
	default:
		k.live(c)
	}
}
