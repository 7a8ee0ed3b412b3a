package slot

import "slices"

// Ring hands out the numbers of a range, the one that has rested longest
// first: a late packet, route or message meant for a former holder finds
// nobody for as long as possible.
type Ring struct {
	first, last uint32
	fresh       uint32   // the next number never handed out
	rested      []uint32 // given back, oldest first
	held        map[uint32]bool
}

// NewRing makes a ring of first…last, inclusive.
func NewRing(first, last uint32) *Ring {
	return &Ring{first: first, last: last, fresh: first, held: map[uint32]bool{}}
}

// Lease takes a number; false when all are held.
func (r *Ring) Lease() (uint32, bool) {
	for r.fresh <= r.last {
		n := r.fresh
		r.fresh++
		if !r.held[n] { // claimed before its turn
			r.held[n] = true
			return n, true
		}
	}
	if len(r.rested) > 0 {
		n := r.rested[0]
		r.rested = r.rested[1:]
		r.held[n] = true
		return n, true
	}
	return 0, false
}

// Next are the numbers that Lease will hand out, in their order: as many as are
// asked for, or all that are free.
func (r *Ring) Next(count int) []uint32 {
	next := make([]uint32, 0, count)
	for n := r.fresh; n <= r.last && len(next) < count; n++ {
		if !r.held[n] {
			next = append(next, n)
		}
	}
	return append(next, r.rested[:min(count-len(next), len(r.rested))]...)
}

// Claim takes a given number: one that a recovered container holds, or that a
// client asked for. False when it is held or outside the range.
func (r *Ring) Claim(n uint32) bool {
	if n < r.first || n > r.last || r.held[n] {
		return false
	}
	r.held[n] = true
	// Its place in the queue is void: it will rest anew.
	r.rested = slices.DeleteFunc(r.rested, func(other uint32) bool { return other == n })
	return true
}

// Free gives a number back; giving back what isn't held does nothing.
func (r *Ring) Free(n uint32) {
	if !r.held[n] {
		return
	}
	delete(r.held, n)
	// A claimed number that has not had its first turn is still fresh.
	if n < r.fresh {
		r.rested = append(r.rested, n)
	}
}

// Held is how many numbers are taken.
func (r *Ring) Held() int { return len(r.held) }

// Slots hands out slots: a ring of numbers and the epoch of each.
type Slots struct {
	ring   *Ring
	epochs map[uint32]uint32
}

// NewSlots makes the slots of a plan. Epochs are counted by this value alone: a
// successor learns those of living containers by Claim, and of a slot that was
// free nothing is left that its name could be mistaken for.
func NewSlots(p Plan) *Slots {
	return &Slots{ring: NewRing(0, p.Max()-1), epochs: map[uint32]uint32{}}
}

// Lease takes a slot for a new tenant; false when none is free.
func (s *Slots) Lease() (Slot, bool) {
	n, ok := s.ring.Lease()
	if !ok {
		return Slot{}, false
	}
	s.epochs[n]++
	return Slot{Number: n, Epoch: s.epochs[n]}, true
}

// LeaseAt is Lease of a slot that somebody asked for: false while it is held,
// or rests because something of its last tenant may be left, and where there
// is no such slot.
func (s *Slots) LeaseAt(number uint32) (Slot, bool) {
	if !s.ring.Claim(number) {
		return Slot{}, false
	}
	s.epochs[number]++
	return Slot{Number: number, Epoch: s.epochs[number]}, true
}

// Next are the numbers of the slots that Lease will hand out, in their order: as
// many as are asked for, or all that are free.
func (s *Slots) Next(count int) []uint32 { return s.ring.Next(count) }

// Claim takes the very slot of a recovered container.
func (s *Slots) Claim(slot Slot) bool {
	if !s.ring.Claim(slot.Number) {
		return false
	}
	s.epochs[slot.Number] = max(s.epochs[slot.Number], slot.Epoch)
	return true
}

// Free gives a slot back. It may be leased again, so nothing of it may be left.
func (s *Slots) Free(n uint32) { s.ring.Free(n) }

// Held is how many slots are taken.
func (s *Slots) Held() int { return s.ring.Held() }
