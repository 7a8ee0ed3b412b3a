package model

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// sayEvery lies between two lines of an application that says something.
const sayEvery = 7 * time.Second

// saveEvery is how long what was published may not be on record.
const saveEvery = 200 * time.Millisecond

// transcript is what a container's first job wrote: lines that are told apart by
// their number. What of it was published is on record beside it, as in the real
// container's folder.
type transcript struct {
	written, published int
	grew               chan struct{} // closed at the next line
}

func (t *transcript) write() {
	t.written++
	close(t.grew)
	t.grew = make(chan struct{})
}

// speak has the container's application write until it ends.
func (k *Kernel) speak(c *container) {
	if !c.alive || c.exit != nil {
		return
	}
	c.output.write()
	patient(k.Patience).AfterFunc(sayEvery, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.speak(c)
	})
}

// Output publishes lines of the model machine's first jobs by their numbers; without
// a kernel there are none, and it only ends when the job does.
type Output struct {
	Kernel   *Kernel
	Patience Patience // nil: by package time
	// Publish takes one line, from 1 on: twice maybe, after an agent was killed.
	Publish func(ctx context.Context, source actors.OutputSource, line int) error
}

var _ actors.Output = Output{}

// Follow publishes what was written from where the last Follow ended, until done is
// closed and nothing is left.
func (o Output) Follow(ctx context.Context, source actors.OutputSource, done <-chan struct{}) error {
	if o.Kernel == nil {
		return patient(o.Patience).Wait(ctx, -1, done)
	}
	id := source.Container
	if _, err := o.Kernel.meet(ctx, "follow", id); err != nil {
		return err
	}
	at, err := o.Kernel.published(id)
	if err != nil {
		return err
	}
	for ended := false; ; {
		written, grew, err := o.Kernel.written(id)
		if err != nil {
			return err
		}
		saved := at
		for ; at < written; at++ {
			if err := o.Publish(ctx, source, at+1); err != nil {
				o.Kernel.save(id, at)
				return err
			}
		}
		switch {
		case ended:
			o.Kernel.save(id, at)
			return nil
		case at > saved:
			err = patient(o.Patience).Wait(ctx, saveEvery, done)
			o.Kernel.save(id, at)
		default:
			err = patient(o.Patience).Wait(ctx, -1, grew, done)
		}
		if err != nil {
			return err
		}
		ended = isClosed(done)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// published is what is on record of what was.
func (k *Kernel) published(id string) (line int, err error) {
	c, err := k.find(id)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return c.output.published, nil
}

func (k *Kernel) written(id string) (line int, grew <-chan struct{}, err error) {
	c, err := k.find(id)
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return c.output.written, c.output.grew, nil
}

func (k *Kernel) save(id string, line int) {
	k.with(id, func(c *container) { c.output.published = line })
}

// Tail has no lines.
func (Output) Tail(context.Context, string, int, int) ([]messaging.LogLine, error) { return nil, nil }

// Forget has nothing to forget.
func (Output) Forget(string) {}
