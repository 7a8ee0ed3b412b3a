package actors

import (
	"context"
	"time"
)

// await waits in work for what another actor closes. A dispatcher on which nothing
// runs meanwhile has a way of its own to wait.
func (w *world) await(ctx context.Context, c <-chan struct{}) error {
	if p, ok := w.Dispatcher.(interface {
		Wait(context.Context, time.Duration, ...<-chan struct{}) error
	}); ok {
		return p.Wait(ctx, -1, c)
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// within bounds work by the tree's clock: past d its cause is
// context.DeadlineExceeded. over gives the alarm back.
func (w *world) within(ctx context.Context, d time.Duration) (bounded context.Context, over func()) {
	bounded, cancel := context.WithCancelCause(ctx)
	stop := w.Clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return bounded, func() {
		stop()
		cancel(context.Canceled)
	}
}
