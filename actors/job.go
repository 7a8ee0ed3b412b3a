package actors

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
)

// jobMessage is what comes of watching a job.
//
//sumtype:decl
type jobMessage interface{ job() }

type (
	waited struct {
		exit isolation.Exit
		err  error
	}
	oomWaited struct{ err error }
	// waitDue asks again: that it can't be asked says nothing of the job.
	waitDue struct{}
)

func (waited) job()    {}
func (oomWaited) job() {}
func (waitDue) job()   {}

// job waits for the end of one process tree, and for the kernel's word that it
// killed one of its processes for want of memory.
type job struct {
	kit.Base[jobMessage]
	w      *world
	source OutputSource
	bare   bool // one of many: another leaf hears of the memory
	parent kit.Ref[containerMessage]
	pause  time.Duration
}

func (w *world) jobKind(source OutputSource, bare bool, parent kit.Ref[containerMessage]) kit.Kind[jobMessage] {
	return kit.Kind[jobMessage]{Name: "job", Budget: w.Budget, New: func() kit.Actor[jobMessage] {
		return &job{w: w, source: source, bare: bare, parent: parent}
	}}
}

func (j *job) Up(c *kit.Context[jobMessage]) error {
	j.pause = j.w.Settings.RetryMin
	j.wait(c)
	if j.bare {
		return nil
	}
	kit.Pipe(c, "wait for memory", func(ctx context.Context) (uint64, error) {
		return j.w.Kernel.WaitOOM(ctx, j.source.Container, 0)
	}, func(_ uint64, err error) jobMessage { return oomWaited{err} })
	return nil
}

func (j *job) wait(c *kit.Context[jobMessage]) {
	kit.Pipe(c, "wait", func(ctx context.Context) (isolation.Exit, error) {
		return j.w.Kernel.Wait(ctx, j.source.Container, j.source.Job)
	}, func(e isolation.Exit, err error) jobMessage { return waited{e, err} })
}

func (j *job) Receive(c *kit.Context[jobMessage], m jobMessage) error {
	switch m := m.(type) {
	case waited:
		if errors.Is(m.err, isolation.ErrNoJob) { // its owner knows of it, and PID 1 never ran it
			m.exit, m.err = isolation.Exit{Job: j.source.Job, Code: -1, Lost: true}, nil
		}
		if m.err != nil {
			c.Log().Warn("a job can't be waited for and will be again", "container", j.source.Container,
				"job", j.source.Job, "error", m.err)
			c.After(j.pause, waitDue{})
			j.pause = min(2*j.pause, j.w.Settings.NudgeEvery)
			return nil
		}
		j.parent.Tell(leafTold{jobOver{m.exit}})
	case waitDue:
		j.wait(c)
	case oomWaited:
		if m.err == nil {
			j.parent.Tell(leafTold{oomSeen{}})
			return nil
		}
		// The exit record has the kernel's count too; only the wait is lost.
		if !errors.Is(m.err, isolation.ErrGone) {
			c.Log().Warn("the kernel's out-of-memory notices can't be followed", "error", m.err)
		}
	}
	return nil
}

// outputMessage is what comes of following a job's output.
//
//sumtype:decl
type outputMessage interface{ output() }

type (
	followed  struct{ err error }
	followDue struct{}
)

func (followed) output()  {}
func (followDue) output() {}

// output has a job's lines published until the last one.
type output struct {
	kit.Base[outputMessage]
	w      *world
	source OutputSource
	done   <-chan struct{}
	parent kit.Ref[containerMessage]
	pause  time.Duration
}

func (w *world) outputKind(
	s OutputSource, done <-chan struct{}, parent kit.Ref[containerMessage],
) kit.Kind[outputMessage] {
	return kit.Kind[outputMessage]{Name: "output", Budget: w.Budget, New: func() kit.Actor[outputMessage] {
		return &output{w: w, source: s, done: done, parent: parent}
	}}
}

func (o *output) Up(c *kit.Context[outputMessage]) error {
	o.pause = o.w.Settings.RetryMin
	o.follow(c)
	return nil
}

func (o *output) follow(c *kit.Context[outputMessage]) {
	kit.Pipe(c, "follow", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, o.w.Output.Follow(ctx, o.source, o.done)
	}, func(_ struct{}, err error) outputMessage { return followed{err} })
}

// Receive tries again after a pause, for as long as it takes: a full disk
// passes, and an application must not be mute from then on.
func (o *output) Receive(c *kit.Context[outputMessage], m outputMessage) error {
	switch m := m.(type) {
	case followDue:
		o.follow(c)
	case followed:
		if m.err == nil || errors.Is(m.err, fs.ErrNotExist) { // of what isn't there nothing is left
			o.parent.Tell(leafTold{outputDrained{}})
			return nil
		}
		c.Log().Warn("output can't be followed and will be tried again", "instance", o.source.Instance, "error", m.err)
		c.After(o.pause, followDue{})
		o.pause = min(2*o.pause, o.w.Settings.RetryMax)
	}
	return nil
}
