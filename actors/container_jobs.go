package actors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// keptJob is one job of a bare container.
type keptJob struct {
	leaf kit.Ref[jobMessage]
	exit *isolation.Exit // nil: it runs
}

// followJobs looks after every job that a bare container has, and after its memory.
func (k *container) followJobs(c *kit.Context[containerMessage]) {
	if k.state == containerLiving {
		kit.Spawn(c, "memory", k.w.memoryKind(k.order.id, c.Self()), func(name string, reason error) containerMessage {
			return leafTold{leafForsook{name, reason}}
		})
	}
	for _, job := range k.status.Jobs {
		if k.jobs[job.Number] != nil { // started since it was asked
			continue
		}
		if job.Exit != nil {
			k.jobs[job.Number] = &keptJob{exit: job.Exit}
			k.order.owner(jobEnded{*job.Exit})
			continue
		}
		k.followJob(c, job.Number)
	}
	k.followOwned(c)
}

// followOwned looks after jobs that the owner knows of, and nobody else: PID 1 is
// dead, or has forgotten them.
func (k *container) followOwned(c *kit.Context[containerMessage]) {
	for _, number := range k.order.jobs {
		if k.jobs[number] == nil && k.starts[number] == nil {
			k.followJob(c, number)
		}
	}
}

func (k *container) followJob(c *kit.Context[containerMessage], number uint32) {
	source := OutputSource{Container: k.order.id, Job: number}
	kind := k.w.jobKind(source, true, c.Self())
	leaf := kit.Spawn(c, jobName(number), kind, func(name string, reason error) containerMessage {
		return leafTold{leafForsook{name, reason}}
	})
	k.jobs[number] = &keptJob{leaf: leaf}
}

func jobName(number uint32) string { return fmt.Sprintf("job-%d", number) }

// startJob asks PID 1 for a further job, off the mailbox, unless it was asked for
// before, maybe by a former incarnation.
func (k *container) startJob(c *kit.Context[containerMessage], m startJob) {
	number := m.job.Number
	switch {
	case k.starts[number] != nil:
		return
	case k.jobs[number] != nil:
		m.answer(nil)
		return
	case k.state == containerBorn: // it is found out what there is
		k.wanted[number] = m
		return
	case k.state != containerLiving:
		m.answer(errNotWanted)
		return
	}
	k.starts[number] = kit.PipeUntil(c, "spawn", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, k.w.Live.Spawn(ctx, k.order.id, m.job)
	}, func(_ struct{}, err error) containerMessage { return jobStarted{number, m.answer, err} })
}

// startWanted starts what was asked for before it was known what there is.
func (k *container) startWanted(c *kit.Context[containerMessage]) {
	wanted := k.wanted
	k.wanted = map[uint32]startJob{}
	for _, number := range slices.Sorted(maps.Keys(wanted)) {
		k.startJob(c, wanted[number])
	}
}

func (k *container) jobStarted(c *kit.Context[containerMessage], m jobStarted) {
	delete(k.starts, m.number)
	if m.err == nil && k.jobs[m.number] == nil {
		k.followJob(c, m.number)
	}
	m.answer(m.err)
	if m.err != nil { // its owner may be another by now, and take it for a job that runs
		k.order.owner(jobEnded{isolation.Exit{Job: m.number, Code: -1, Lost: true}})
	}
	if k.state == containerStopping {
		k.act(c)
	}
}

// jobEnded lets the leaf go: a container may have a hundred thousand jobs.
func (k *container) jobEnded(c *kit.Context[containerMessage], exit isolation.Exit) {
	kept, ok := k.jobs[exit.Job]
	if !ok || kept.exit != nil {
		return
	}
	kept.exit = &exit
	kit.Stop(c, kept.leaf)
	k.order.owner(jobEnded{exit})
}

func (k *container) forgetJob(c *kit.Context[containerMessage], number uint32) {
	if kept, ok := k.jobs[number]; ok && kept.exit != nil {
		delete(k.jobs, number)
	}
}

func (k *container) recountJobs(c *kit.Context[containerMessage]) {
	if k.order.bare && k.state != containerBorn {
		k.followOwned(c)
	}
	for _, kept := range sorted(k.jobs) {
		if kept.exit != nil {
			k.order.owner(jobEnded{*kept.exit})
		}
	}
}

// forsakeJob says of a job whose leaf was given up that its end is lost.
func (k *container) forsakeJob(name string) {
	for number, kept := range k.jobs { // at most one
		if jobName(number) == name && kept.exit == nil {
			kept.exit = &isolation.Exit{Job: number, Code: -1, Lost: true}
			k.order.owner(jobEnded{*kept.exit})
		}
	}
}

// memoryMessage is what comes of watching a container's memory.
//
//sumtype:decl
type memoryMessage interface{ memory() }

type (
	memoryWaited struct{ err error }
	memoryDue    struct{}
)

func (memoryWaited) memory() {}
func (memoryDue) memory()    {}

// memory waits for the kernel's word that it killed a process of a bare
// container for want of memory, or that PID 1 is dead: no job may be there to
// notice.
type memory struct {
	kit.Base[memoryMessage]
	w         *world
	container string
	parent    kit.Ref[containerMessage]
	pause     time.Duration
}

func (w *world) memoryKind(container string, parent kit.Ref[containerMessage]) kit.Kind[memoryMessage] {
	return kit.Kind[memoryMessage]{Name: "memory", Budget: w.Budget, New: func() kit.Actor[memoryMessage] {
		return &memory{w: w, container: container, parent: parent}
	}}
}

func (m *memory) Up(c *kit.Context[memoryMessage]) error {
	m.pause = m.w.Settings.RetryMin
	m.wait(c)
	return nil
}

func (m *memory) wait(c *kit.Context[memoryMessage]) {
	kit.Pipe(c, "wait for memory", func(ctx context.Context) (uint64, error) {
		kills, err := m.w.Kernel.WaitOOM(ctx, m.container, 0)
		if errors.Is(err, isolation.ErrGone) { // or only the hold on it is
			if _, gone := m.w.Kernel.Adopt(ctx, m.container); !errors.Is(gone, isolation.ErrGone) {
				err = fmt.Errorf("the hold on PID 1 was lost: %v", gone)
			}
		}
		return kills, err
	}, func(_ uint64, err error) memoryMessage { return memoryWaited{err} })
}

func (m *memory) Receive(c *kit.Context[memoryMessage], message memoryMessage) error {
	switch message := message.(type) {
	case memoryDue:
		m.wait(c)
	case memoryWaited:
		switch {
		case message.err == nil:
			m.parent.Tell(leafTold{oomSeen{}})
		case errors.Is(message.err, isolation.ErrGone):
			m.parent.Tell(leafTold{initGone{}})
		default:
			c.Log().Debug("a container's memory is watched again", "container", m.container, "reason", message.err)
			c.After(m.pause, memoryDue{})
			m.pause = min(2*m.pause, m.w.Settings.RetryMax)
		}
	}
	return nil
}
