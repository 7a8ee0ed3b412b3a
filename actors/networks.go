package actors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// networksMessage is everything that the supervisor of allocations is told.
//
//sumtype:decl
type networksMessage interface{ networks() }

type (
	// lease says that a container is about to use its slot; rest that every
	// process in it is dead. Both may be repeated.
	lease struct{ place Placement }
	rest  struct{ place Placement }
	// stillLeased asks whether a container has its slot yet, for all that anybody
	// knows who would give it to another.
	stillLeased struct {
		container string
		answer    func(bool)
	}
	// allocationUp comes from an allocation that was restarted, resting from one
	// that waits to be released.
	allocationUp struct{ id string }
	resting      struct{ id string }
	// batchDue ends the gathering of a batch, batchReleased the release.
	batchDue      struct{}
	batchReleased struct {
		ids    []string
		failed map[string]error
	}
	allocationOver    struct{ id string }
	allocationForsook struct {
		id     string
		reason error
	}
	allocationsLeft struct{ none func() }
)

func (audit) networks()             {}
func (lease) networks()             {}
func (rest) networks()              {}
func (stillLeased) networks()       {}
func (allocationUp) networks()      {}
func (resting) networks()           {}
func (batchDue) networks()          {}
func (batchReleased) networks()     {}
func (allocationOver) networks()    {}
func (allocationForsook) networks() {}
func (allocationsLeft) networks()   {}

// batchPause is how long a batch gathers. Deletions in the kernel cost a grace
// period each, or one for many together.
const batchPause = 20 * time.Millisecond

// networks supervises the network allocations, one a container, and releases
// those that rest in batches, off everybody's way.
type networks struct {
	kit.Base[networksMessage]
	w         *world
	parts     parts
	held      map[string]kit.Ref[allocationMessage] // by container
	numbers   map[string]uint64                     // of those, among all promises
	ordered   map[string]bool                       // to rest
	waiting   map[string]bool                       // rest, and are in no batch
	gathering bool
	releasing bool
	suspect   map[string]bool // without a container at the last audit
	none      []func()
}

func (w *world) networksKind(p parts) kit.Kind[networksMessage] {
	return kit.Kind[networksMessage]{Name: "networks", Budget: w.Budget, New: func() kit.Actor[networksMessage] {
		return &networks{
			w: w, parts: p, held: map[string]kit.Ref[allocationMessage]{}, numbers: map[string]uint64{},
			ordered: map[string]bool{}, waiting: map[string]bool{},
		}
	}}
}

func (s *networks) Receive(c *kit.Context[networksMessage], m networksMessage) error {
	switch m := m.(type) {
	case lease:
		s.hold(c, m.place)
	case rest:
		s.ordered[m.place.Container] = true
		s.hold(c, m.place).Tell(restOrdered{})
	case stillLeased:
		if s.ordered[m.container] {
			m.answer(false)
			return nil
		}
		s.parts.ledger.Tell(stillPromised(m)) // who rested and is free was said to be so there first
	case audit:
		s.audit(m)
	case allocationUp:
		if s.ordered[m.id] { // its predecessor may have been told in vain
			s.held[m.id].Tell(restOrdered{})
		}
	case resting:
		s.waiting[m.id] = true
		s.gather(c)
	case batchDue:
		s.gathering = false
		s.release(c)
	case batchReleased:
		s.released(c, m)
	case allocationOver:
		s.forget(c, m.id)
	case allocationForsook:
		s.forsake(c, m)
	case allocationsLeft:
		s.none = append(s.none, m.none)
		s.tellNone()
	}
	return nil
}

// audit has a place rest whose container nobody knows of: whoever was to say so
// was restarted.
func (s *networks) audit(m audit) {
	suspect := map[string]bool{}
	for id, ref := range sorted(s.held) {
		if !m.forgotten(id, s.numbers[id]) || s.ordered[id] {
			continue
		}
		suspect[id] = true
		if s.suspect[id] {
			s.ordered[id] = true
			ref.Tell(restOrdered{})
		}
	}
	s.suspect = suspect
}

func (s *networks) hold(c *kit.Context[networksMessage], p Placement) kit.Ref[allocationMessage] {
	if ref, ok := s.held[p.Container]; ok {
		return ref
	}
	kind := s.w.allocationKind(p, s.parts, c.Self())
	ref := kit.Spawn(c, p.Container, kind, func(name string, reason error) networksMessage {
		return allocationForsook{name, reason}
	})
	s.held[p.Container], s.numbers[p.Container] = ref, s.w.promises.Add(1)
	return ref
}

func (s *networks) gather(c *kit.Context[networksMessage]) {
	if s.gathering || s.releasing || len(s.waiting) == 0 {
		return
	}
	s.gathering = true
	c.After(batchPause, batchDue{})
}

// release takes everything that rests in one batch. Where that fails, each one
// is tried alone, so that one that can't go doesn't hold the others' slots.
func (s *networks) release(c *kit.Context[networksMessage]) {
	if s.releasing {
		return
	}
	ids := slices.Sorted(maps.Keys(s.waiting))
	clear(s.waiting)
	s.releasing = true
	kit.Pipe(c, "release", func(ctx context.Context) (map[string]error, error) {
		failed := map[string]error{}
		// With a container's folder its exit record goes: what was learnt from
		// that must be on disk before.
		if err := s.w.Store.Flush(ctx); err != nil {
			return nil, fmt.Errorf("keep the records: %w", err)
		}
		err := s.w.Kernel.Release(ctx, ids)
		if err == nil || len(ids) == 1 {
			if err != nil {
				failed[ids[0]] = err
			}
			return failed, nil
		}
		for _, id := range ids {
			if err := s.w.Kernel.Release(ctx, []string{id}); err != nil {
				failed[id] = err
			}
		}
		return failed, nil
	}, func(failed map[string]error, err error) networksMessage {
		if err != nil { // nothing is known of any
			failed = map[string]error{}
			for _, id := range ids {
				failed[id] = err
			}
		}
		return batchReleased{ids, failed}
	})
}

func (s *networks) released(c *kit.Context[networksMessage], m batchReleased) {
	s.releasing = false
	for _, id := range m.ids {
		ref, ok := s.held[id]
		if !ok {
			continue
		}
		if err := m.failed[id]; err != nil {
			ref.Tell(releaseFailed{err})
		} else {
			ref.Tell(released{})
		}
	}
	s.gather(c)
}

func (s *networks) forget(c *kit.Context[networksMessage], id string) {
	if ref, ok := s.held[id]; ok {
		kit.Stop(c, ref)
		delete(s.held, id)
		delete(s.numbers, id)
		delete(s.ordered, id)
	}
	s.tellNone()
}

// forsake leaves the slot held: nobody knows what is left in it. The janitor
// finds the container's folder and tries again.
func (s *networks) forsake(c *kit.Context[networksMessage], m allocationForsook) {
	path := c.Self().Path() + "/" + m.id
	delete(s.held, m.id)
	delete(s.numbers, m.id)
	delete(s.ordered, m.id)
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: path, Reason: m.reason.Error(), At: c.Now()})
	s.tellNone()
}

func (s *networks) tellNone() {
	if len(s.held) > 0 {
		return
	}
	for _, none := range s.none {
		none()
	}
	s.none = nil
}
