package kit

import "context"

// Pipe runs work off the mailbox and posts then's message with what came of
// it; then itself runs on the mailbox. A panic in work comes as a *PanicError.
//
// The work belongs to the incarnation: its context is cancelled when that ends
// or when cancel is called, and from then on nothing is posted. It should
// heed its context, because the next incarnation waits for it a while.
func Pipe[P, T any](
	c *Context[P], name string, work func(context.Context) (T, error), then func(T, error) P,
) (cancel func()) {
	w := pipe(c, name, work, then)
	if w == nil {
		return func() {}
	}
	return func() {
		w.cancelled.Store(true)
		w.cancel(ErrIncarnationEnded)
	}
}

// PipeUntil is Pipe of work that may be told to end: end cancels its context
// with a cause, and what comes of it is posted all the same.
func PipeUntil[P, T any](
	c *Context[P], name string, work func(context.Context) (T, error), then func(T, error) P,
) (end context.CancelCauseFunc) {
	w := pipe(c, name, work, then)
	if w == nil {
		return func(error) {}
	}
	return w.cancel
}

func pipe[P, T any](
	c *Context[P], name string, act func(context.Context) (T, error), then func(T, error) P,
) *work {
	in := c.in
	w, ctx := in.addWork(name)
	if w == nil {
		return nil
	}
	in.cell.sys.work(func() {
		var (
			result   T
			err      error
			returned bool
		)
		defer func() {
			if !returned {
				err = in.cell.panicked(name, recover())
			}
			if !w.cancelled.Load() {
				in.cell.post(&letter[P]{to: in.number, make: func() (m P, ok bool) {
					if w.cancelled.Load() {
						return m, false
					}
					return then(result, err), true
				}})
			}
			in.endWork(w)
		}()
		result, err = act(ctx)
		returned = true
	})
	return w
}
