package box

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// spares are PID 1s that wait for their containers (ADR 0016). Cloning one and
// starting its program is half of what a start costs, and needs nothing of the
// container but the slot.
type spares struct {
	mu    sync.Mutex
	ready map[uint32]gated // by slot
}

// take hands out the slot's spare, if there is one that lives.
func (s *spares) take(slot uint32) (gated, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, ok := s.ready[slot]
	if !ok {
		return gated{}, false
	}
	delete(s.ready, slot)
	if !g.alive() {
		g.close()
		return gated{}, false
	}
	return g, true
}

// keep lets go of all spares that are not for these slots, or have died, and
// returns the slots that have none, in their order.
func (s *spares) keep(slots []uint32) (missing []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, g := range s.ready {
		if !slices.Contains(slots, slot) || !g.alive() {
			g.close()
			delete(s.ready, slot)
		}
	}
	for _, slot := range slots {
		if _, ok := s.ready[slot]; !ok {
			missing = append(missing, slot)
		}
	}
	return missing
}

func (s *spares) put(g gated) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if former, ok := s.ready[g.slot]; ok {
		former.close()
	}
	if s.ready == nil {
		s.ready = map[uint32]gated{}
	}
	s.ready[g.slot] = g
}

// end kills the spares and waits for their end: they must not hold the node's group.
func (s *spares) end() (failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, g := range s.ready {
		failed = errors.Join(failed, killAndWait(int(g.born.PIDFD.Fd())))
		g.close()
		delete(s.ready, slot)
	}
	return failed
}

// Prepare makes ready what one of the next containers can be given before it is
// known, for the first of these slots that has nothing yet, and lets go of what
// is ready for others. It says whether more is to be prepared. It is a guess: a
// container in another slot is made from nothing, as all are on cgroup v2, where
// a PID 1 is born in its container's own group.
func (b *Box) Prepare(ctx context.Context, slots []uint32) (more bool, err error) {
	if b.cgroups.Name() != "v1" {
		return false, nil
	}
	missing := b.spares.keep(slots)
	if len(missing) == 0 {
		return false, nil
	}
	g, err := b.clone(ctx, missing[0], nil)
	if err != nil {
		return false, fmt.Errorf("box: prepare slot %d: %w", missing[0], err)
	}
	b.spares.put(g)
	return len(missing) > 1, nil
}
