package kit

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Reply takes one answer to one question; the first wins. The zero Reply
// ignores what it is sent.
type Reply[T any] struct{ slot *slot[T] }

type slot[T any] struct {
	taken  atomic.Bool
	answer chan T
}

// NewReply returns a Reply and where its answer comes out.
func NewReply[T any]() (Reply[T], <-chan T) {
	s := &slot[T]{answer: make(chan T, 1)}
	return Reply[T]{s}, s.answer
}

// Send answers; it never blocks.
func (r Reply[T]) Send(v T) {
	if r.slot != nil && r.slot.taken.CompareAndSwap(false, true) {
		r.slot.answer <- v
	}
}

// Ask tells the actor ask's message and waits for the answer: ErrNoActor when
// the actor is gone or goes first, ctx's error when that ends first. It
// blocks, so an actor asks in a Pipe.
func Ask[M, T any](ctx context.Context, ref Ref[M], ask func(Reply[T]) M) (T, error) {
	var none T
	c := ref.cell
	if c == nil {
		return none, ErrNoActor
	}
	gone := c.whenGone()
	reply, answer := NewReply[T]()
	ref.Tell(ask(reply))
	var err error
	select {
	case v := <-answer:
		return v, nil
	case <-gone:
		err = ErrNoActor
	case <-c.sys.done:
		err = ErrNoActor
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	select {
	case v := <-answer: // its last word
		return v, nil
	default:
		return none, fmt.Errorf("kit: ask %s: %w", c.path, err)
	}
}
