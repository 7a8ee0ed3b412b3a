package box

import (
	"context"
	"fmt"
	"sync"
)

// spare is at most one PID 1 that waits for its container (ADR 0013). Cloning
// it and starting its program is half of what a start costs, and needs nothing
// of the container but the slot.
type spare struct {
	mu    sync.Mutex
	ready *gated
}

// take hands out the spare, if it is for the slot and lives.
func (s *spare) take(slot uint32) (gated, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil || s.ready.slot != slot {
		return gated{}, false
	}
	g := *s.ready
	s.ready = nil
	if !g.alive() {
		g.close()
		return gated{}, false
	}
	return g, true
}

func (s *spare) has(slot uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready != nil && s.ready.slot == slot && s.ready.alive()
}

// put replaces the spare; nil ends it.
func (s *spare) put(g *gated) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready != nil {
		s.ready.close()
	}
	s.ready = g
}

// end kills the spare and waits for its end: it must not hold the node's group.
func (s *spare) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil {
		return nil
	}
	err := killAndWait(int(s.ready.born.PIDFD.Fd()))
	s.ready.close()
	s.ready = nil
	return err
}

// Prepare makes ready what the next container can be given before it is known,
// for the slot that it will have. It is a guess: a container in another slot
// is made from nothing, as all are on cgroup v2, where a PID 1 is born in its
// container's own group.
func (b *Box) Prepare(ctx context.Context, slot uint32) error {
	if b.cgroups.Name() != "v1" || b.spare.has(slot) {
		return nil
	}
	g, err := b.clone(ctx, slot, nil)
	if err != nil {
		return fmt.Errorf("box: prepare slot %d: %w", slot, err)
	}
	b.spare.put(&g)
	return nil
}
