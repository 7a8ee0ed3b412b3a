package sim

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// How the agent's store writes behind.
const (
	gatherFor  = 10 * time.Millisecond
	retryAfter = time.Second
)

// store keeps what should run: in memory, and a moment later on a disk that may
// refuse. A successor finds what was written, and maybe some of the rest.
type store struct {
	patience model.Patience
	refuse   func() error // asked at each write

	now         map[string]actors.Record
	disk        map[string]actors.Record
	changes     []change // not written, oldest first
	all         []actors.Record
	writing     bool            // a write is to come
	ordered     map[string]bool // instances that were to stop, as anybody ever wrote
	everRefused bool
	leaving     bool // of a node that said goodbye nobody needs to hear
}

type change struct {
	instance string
	record   *actors.Record // nil: removed
}

var _ actors.Store = (*store)(nil)

func newStore() *store {
	return &store{
		refuse: func() error { return nil }, now: map[string]actors.Record{}, disk: map[string]actors.Record{},
		ordered: map[string]bool{},
	}
}

// Put keeps a record.
func (s *store) Put(r actors.Record) {
	s.now[r.Instance] = r
	if s.leaving || r.StopOrdered || r.State == messaging.Stopping || r.State == messaging.Stopped {
		s.ordered[r.Instance] = true
	}
	s.changed(change{r.Instance, &r})
}

// Get finds one.
func (s *store) Get(instance string) (actors.Record, bool) {
	r, ok := s.now[instance]
	return r, ok
}

// Change changes one.
func (s *store) Change(instance string, change func(*actors.Record)) (actors.Record, bool) {
	r, known := s.now[instance]
	if known {
		change(&r)
		s.Put(r)
	}
	return r, known
}

// Remove forgets one.
func (s *store) Remove(instance string) {
	if _, known := s.now[instance]; known {
		delete(s.now, instance)
		s.changed(change{instance: instance})
	}
}

func (s *store) changed(c change) {
	s.all = nil
	s.changes = append(s.changes, c)
	s.writeIn(gatherFor)
}

func (s *store) writeIn(d time.Duration) {
	if s.writing {
		return
	}
	s.writing = true
	s.patience.AfterFunc(d, func() {
		s.writing = false
		if err := s.write(len(s.changes)); err != nil {
			s.writeIn(retryAfter)
		}
	})
}

func (s *store) write(upTo int) error {
	if upTo == 0 {
		return nil
	}
	if err := s.refuse(); err != nil {
		s.everRefused = true
		return err
	}
	for _, c := range s.changes[:upTo] {
		if c.record == nil {
			delete(s.disk, c.instance)
		} else {
			s.disk[c.instance] = *c.record
		}
	}
	s.changes = s.changes[upTo:]
	return nil
}

// All is in the order of the real one.
func (s *store) All() []actors.Record {
	if s.all == nil {
		s.all = slices.SortedFunc(maps.Values(s.now), func(a, b actors.Record) int {
			return cmp.Or(cmp.Compare(a.Start.Application, b.Start.Application),
				cmp.Compare(a.Start.Index, b.Start.Index), cmp.Compare(a.Instance, b.Instance))
		})
	}
	return s.all
}

// Flush writes what was changed before.
func (s *store) Flush(ctx context.Context) error {
	if len(s.changes) == 0 {
		return nil
	}
	if err := s.patience.Wait(ctx, time.Millisecond); err != nil {
		return err
	}
	return s.write(len(s.changes))
}

// succeed leaves a killed agent's successor what is on the disk, and as many of
// the later changes as kept says.
func (s *store) succeed(kept int) {
	refuse := s.refuse
	s.refuse = func() error { return nil }
	s.write(min(kept, len(s.changes)))
	s.now, s.changes, s.all, s.refuse = maps.Clone(s.disk), nil, nil, refuse
}
