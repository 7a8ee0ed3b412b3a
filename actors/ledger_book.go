package actors

import (
	"fmt"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// book is what the node has promised: memory, disk, slots and ports, by the
// container that they were promised to. It is pure, and it belongs to the
// ledger alone; it outlives the ledger's incarnations, because a promise must.
type book struct {
	memory, disk account
	slots        *slot.Slots
	ports        *slot.Ring
	entries      map[string]*entry // by container id
}

// account is an amount in MiB.
type account struct{ capacity, promised int64 }

func (a account) left() int64 { return a.capacity - a.promised }

// entry is one container's share.
type entry struct {
	placement   Placement
	memory      int64
	disk        int64
	application string
}

// Capacity is what a node has to promise.
type Capacity struct {
	MemoryMiB, DiskMiB  int64
	Plan                slot.Plan
	PortFirst, PortLast uint16
}

func newBook(c Capacity) *book {
	return &book{
		memory: account{capacity: c.MemoryMiB}, disk: account{capacity: c.DiskMiB},
		slots:   slot.NewSlots(c.Plan),
		ports:   slot.NewRing(uint32(c.PortFirst), uint32(c.PortLast)),
		entries: map[string]*entry{},
	}
}

// demand is what one container asks for.
type demand struct {
	instance    string
	application string
	container   string // an id that is free, or the one that it has already
	memory      int64
	disk        int64
	port        bool
	now         time.Time
}

// noRoomError names what there is not enough of.
type noRoomError struct {
	what         string // memory, disk, slots, ports
	wanted, left int64
}

func (e *noRoomError) Error() string {
	return fmt.Sprintf("not enough %s: wanted %d, left %d", e.what, e.wanted, e.left)
}

// reserve promises; asking again for the same container gets the same answer.
// Disk is looked at first, as the wire has it.
func (b *book) reserve(d demand) (Placement, error) {
	if e, ok := b.entries[d.container]; ok {
		b.complete(e, d)
		return e.placement, nil
	}
	switch {
	case d.disk > b.disk.left():
		return Placement{}, &noRoomError{"disk", d.disk, b.disk.left()}
	case d.memory > b.memory.left():
		return Placement{}, &noRoomError{"memory", d.memory, b.memory.left()}
	}
	s, ok := b.slots.Lease()
	if !ok {
		return Placement{}, &noRoomError{"slots", 1, 0}
	}
	p := Placement{Instance: d.instance, Container: d.container, Slot: s.Number, Epoch: s.Epoch, Started: d.now}
	if d.port {
		port, ok := b.ports.Lease()
		if !ok {
			b.slots.Free(s.Number)
			return Placement{}, &noRoomError{"ports", 1, 0}
		}
		p.Port = uint16(port)
	}
	b.enter(&entry{placement: p, memory: d.memory, disk: d.disk, application: d.application})
	return p, nil
}

// complete adds what only the record knows to an entry that was claimed from
// the kernel's side.
func (b *book) complete(e *entry, d demand) {
	if e.memory == 0 && e.disk == 0 {
		e.memory, e.disk, e.application = d.memory, d.disk, d.application
		b.memory.promised += d.memory
		b.disk.promised += d.disk
	}
}

func (b *book) enter(e *entry) {
	b.entries[e.placement.Container] = e
	b.memory.promised += e.memory
	b.disk.promised += e.disk
}

// claim enters what a former agent promised. False where somebody else has it,
// which two agents on one state folder would have to have brought about.
func (b *book) claim(p Placement, application string, memory, disk int64) bool {
	if _, ok := b.entries[p.Container]; ok {
		return true
	}
	if !b.slots.Claim(slot.Slot{Number: p.Slot, Epoch: p.Epoch}) {
		return false
	}
	// A port may lie outside a range that was configured anew, and stays the
	// container's all the same.
	b.ports.Claim(uint32(p.Port))
	b.enter(&entry{placement: p, memory: memory, disk: disk, application: application})
	return true
}

// claimSpec enters a container of which only the kernel's side is left.
func (b *book) claimSpec(spec isolation.Spec) bool {
	return b.claim(placementOf(spec), "", 0, 0)
}

// release takes the memory back: every process of the container is dead.
func (b *book) release(container string) {
	if e, ok := b.entries[container]; ok {
		b.memory.promised -= e.memory
		e.memory = 0
	}
}

// free takes back everything: nothing of the container is left anywhere.
func (b *book) free(container string) {
	e, ok := b.entries[container]
	if !ok {
		return
	}
	b.release(container)
	b.disk.promised -= e.disk
	b.slots.Free(e.placement.Slot)
	if e.placement.Port != 0 {
		b.ports.Free(uint32(e.placement.Port))
	}
	delete(b.entries, container)
}
