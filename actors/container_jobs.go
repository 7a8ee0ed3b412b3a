package actors

import (
	"context"
	"fmt"

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
		if job.Exit != nil {
			k.jobs[job.Number] = &keptJob{exit: job.Exit}
			k.order.owner(jobEnded{*job.Exit})
			continue
		}
		k.followJob(c, job.Number)
	}
	for _, number := range k.order.jobs { // PID 1 is dead, or has forgotten it
		if k.jobs[number] == nil {
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

// startJob asks PID 1 for a further job, off the mailbox.
func (k *container) startJob(c *kit.Context[containerMessage], m startJob) {
	kit.Pipe(c, "spawn", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, k.w.Live.Spawn(ctx, k.order.id, m.job)
	}, func(_ struct{}, err error) containerMessage { return jobStarted{m.job.Number, m.answer, err} })
}

func (k *container) jobStarted(c *kit.Context[containerMessage], m jobStarted) {
	if m.err == nil && k.jobs[m.number] == nil {
		k.followJob(c, m.number)
	}
	m.answer(m.err)
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

func (k *container) recountJobs() {
	for _, kept := range k.jobs {
		if kept.exit != nil {
			k.order.owner(jobEnded{*kept.exit})
		}
	}
}

// forsakeJob says of a job whose leaf was given up that its end is lost.
func (k *container) forsakeJob(name string) {
	for number, kept := range k.jobs {
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

type memoryWaited struct{ err error }

func (memoryWaited) memory() {}

// memory waits for the kernel's word that it killed a process of a bare
// container for want of memory.
type memory struct {
	kit.Base[memoryMessage]
	w         *world
	container string
	parent    kit.Ref[containerMessage]
}

func (w *world) memoryKind(container string, parent kit.Ref[containerMessage]) kit.Kind[memoryMessage] {
	return kit.Kind[memoryMessage]{Name: "memory", Budget: w.Budget, New: func() kit.Actor[memoryMessage] {
		return &memory{w: w, container: container, parent: parent}
	}}
}

func (m *memory) Up(c *kit.Context[memoryMessage]) error {
	kit.Pipe(c, "wait for memory", func(ctx context.Context) (uint64, error) {
		return m.w.Kernel.WaitOOM(ctx, m.container, 0)
	}, func(_ uint64, err error) memoryMessage { return memoryWaited{err} })
	return nil
}

func (m *memory) Receive(c *kit.Context[memoryMessage], message memoryMessage) error {
	switch message := message.(type) {
	case memoryWaited:
		if message.err != nil {
			c.Log().Debug("the memory of a container is watched no more", "container", m.container, "reason", message.err)
			return nil
		}
		m.parent.Tell(leafTold{oomSeen{}})
	}
	return nil
}
