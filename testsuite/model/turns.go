package model

import (
	"context"
	"fmt"
	"slices"

	"github.com/deacon-agent/deacon/isolation"
)

// take waits until nobody else is at work on the container, as the real box has
// everybody do (isolation/box, turns). The caller gives the turn back by over.
func (k *Kernel) take(ctx context.Context, id string) (over func(), err error) {
	for {
		k.mu.Lock()
		other, busy := k.turns[id]
		if !busy {
			mine := make(chan struct{})
			k.turns[id] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.turns, id)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		if err := patient(k.Patience).Wait(ctx, -1, other); err != nil {
			return nil, err
		}
	}
}

// takeAll takes several, in one order for all who do.
func (k *Kernel) takeAll(ctx context.Context, ids []string) (over func(), err error) {
	var ends []func()
	over = func() {
		for _, end := range ends {
			end()
		}
	}
	give, all := over, false
	defer func() {
		if !all { // not all can be had, or whoever waits was killed
			give()
		}
	}()
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		end, err := k.take(ctx, id)
		if err != nil {
			return nil, err
		}
		ends = append(ends, end)
	}
	all = true
	return over, nil
}

// reach is find for whoever wants PID 1: one that lives is held, for any other
// whoever makes it, or takes it down, is waited for.
func (k *Kernel) reach(ctx context.Context, id string) (*container, error) {
	if c, err := k.find(id); err == nil && k.lives(c) {
		return c, nil
	}
	over, err := k.take(ctx, id)
	if err != nil {
		return nil, err
	}
	defer over()
	return k.find(id)
}

// living is find of what lives.
func (k *Kernel) living(id string) (*container, error) {
	c, err := k.find(id)
	if err == nil && !k.lives(c) {
		err = fmt.Errorf("container %s: %w", id, isolation.ErrGone)
	}
	return c, err
}

func (k *Kernel) lives(c *container) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return c.alive
}
