package model

import (
	"context"
	"fmt"
	"time"
)

// Patience is how the model waits, and what has it act later. A simulation
// brings its own; else it is that of package time, which a testing/synctest
// bubble makes virtual.
type Patience interface {
	// Wait returns nil when one of until is closed or d is over (below zero:
	// never is), and ctx's cause when that ends first.
	Wait(ctx context.Context, d time.Duration, until ...<-chan struct{}) error
	// AfterFunc calls f in d.
	AfterFunc(d time.Duration, f func())
}

// clockwork is the Patience of package time.
type clockwork struct{}

func (clockwork) Wait(ctx context.Context, d time.Duration, until ...<-chan struct{}) error {
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	var first, second <-chan struct{}
	switch len(until) {
	case 2:
		first, second = until[0], until[1]
	case 1:
		first = until[0]
	}
	select {
	case <-over:
	case <-first:
	case <-second:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (clockwork) AfterFunc(d time.Duration, f func()) { time.AfterFunc(d, f) }

// patient is the Patience that a part of the model was given.
func patient(p Patience) Patience {
	if p == nil {
		return clockwork{}
	}
	return p
}

// Trouble is what goes wrong with one call.
type Trouble struct {
	Refused error           // nothing is done
	Takes   time.Duration   // longer than it should, before anything is done
	Until   <-chan struct{} // or only until this is closed; nil: nothing ends it
	Lingers time.Duration   // longer than it should, after it was done
	Denied  error           // it was done, and is told as failed all the same
}

func (t Trouble) String() string {
	return fmt.Sprintf("refused %v, takes %s, lingers %s, denied %v", t.Refused, t.Takes, t.Lingers, t.Denied)
}

// meet is what a call is about to go through; then is called when it was done.
func (k *Kernel) meet(ctx context.Context, call, id string) (then func(error) error, err error) {
	if k.Trouble == nil {
		return asIs, nil
	}
	t := k.Trouble(call, id)
	if t == (Trouble{}) {
		return asIs, nil
	}
	if t.Takes > 0 {
		if err := patient(k.Patience).Wait(ctx, t.Takes, t.Until); err != nil {
			return nil, err
		}
	}
	if t.Refused != nil {
		return nil, t.Refused
	}
	return func(err error) error {
		if t.Lingers > 0 {
			if late := patient(k.Patience).Wait(ctx, t.Lingers); late != nil && err == nil {
				return late
			}
		}
		if err == nil {
			err = t.Denied
		}
		return err
	}, nil
}

func asIs(err error) error { return err }
