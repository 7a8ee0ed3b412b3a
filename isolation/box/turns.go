package box

import (
	"context"
	"slices"
	"sync"
)

// turns lets one act at a time have a container: an actor that was restarted
// may ask for one that its former incarnation is still making.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed when the turn is over
}

// take waits until nobody has the container; the caller gives it back by over.
func (t *turns) take(ctx context.Context, id string) (over func(), err error) {
	mine := make(chan struct{})
	for {
		t.mu.Lock()
		other, busy := t.taken[id]
		if !busy {
			t.taken[id] = mine
			t.mu.Unlock()
			return func() { t.end(id, mine) }, nil
		}
		t.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns) end(id string, mine chan struct{}) {
	t.mu.Lock()
	delete(t.taken, id)
	t.mu.Unlock()
	close(mine)
}

// takeAll takes several, in one order for all who do, so that no two wait for
// each other.
func (t *turns) takeAll(ctx context.Context, ids []string) (over func(), err error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(ids)))
	var ends []func()
	over = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, id := range sorted {
		end, err := t.take(ctx, id)
		if err != nil {
			over()
			return nil, err
		}
		ends = append(ends, end)
	}
	return over, nil
}
