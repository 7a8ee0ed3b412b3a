package actors

import (
	"fmt"
	"slices"
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
	ports       []uint16 // beside the placement's
	number      uint64   // of the promise; 0: a former agent's
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
	extra       []portUse // further ports
	slot        *uint32   // the wanted one; nil: any
	now         time.Time
	number      uint64
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
	s, ok := b.lease(d.slot)
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
	if err := b.leaseExtra(&p, d.extra); err != nil {
		b.slots.Free(s.Number)
		b.ports.Free(uint32(p.Port))
		return Placement{}, err
	}
	b.enter(&entry{placement: p, memory: d.memory, disk: d.disk, application: d.application, number: d.number})
	return p, nil
}

func (b *book) lease(wanted *uint32) (slot.Slot, bool) {
	if wanted == nil {
		return b.slots.Lease()
	}
	return b.slots.LeaseAt(*wanted)
}

// reservePort promises a further port to a container. One that it has already
// is promised again, and one beyond the node's range belongs to nobody here.
func (b *book) reservePort(container string, wanted uint16) (_ uint16, fresh bool, _ error) {
	e, ok := b.entries[container]
	if !ok {
		return 0, false, fmt.Errorf("container %s has no room", container)
	}
	port := uint32(wanted)
	if wanted == 0 {
		if port, ok = b.ports.Lease(); !ok {
			return 0, false, &noRoomError{"ports", 1, 0}
		}
	} else if !b.ports.Claim(port) {
		return wanted, false, nil // not of the range, or somebody's already: the network decides
	}
	e.ports = append(e.ports, uint16(port))
	return uint16(port), true, nil
}

// returnPort takes one port of a container's back.
func (b *book) returnPort(container string, port uint16) {
	e, ok := b.entries[container]
	if !ok {
		return
	}
	if at := slices.Index(e.ports, port); at >= 0 {
		e.ports = slices.Delete(e.ports, at, at+1)
		b.ports.Free(uint32(port))
	}
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
	if e, ok := b.entries[p.Container]; ok {
		b.complete(e, demand{application: application, memory: memory, disk: disk})
		e.knowExtra(p)
		return true
	}
	if !b.slots.Claim(slot.Slot{Number: p.Slot, Epoch: p.Epoch}) {
		return false
	}
	// A port may lie outside a range that was configured anew, and stays the
	// container's all the same.
	b.ports.Claim(uint32(p.Port))
	for _, port := range p.extraPorts() {
		b.ports.Claim(uint32(port))
	}
	b.enter(&entry{placement: p, memory: memory, disk: disk, application: application})
	return true
}

// claimSpec enters a container of which only the kernel's side is left: until it
// is destroyed it may use all that an instance was promised.
func (b *book) claimSpec(spec isolation.Spec) bool {
	var memory, disk int64
	if spec.Owner == isolation.OwnerInstance {
		memory, disk = spec.Limits.MemoryBytes>>20, spec.Limits.DiskBytes>>20
	}
	if !b.claim(placementOf(spec), "", memory, disk) {
		return false
	}
	e := b.entries[spec.ID]
	for _, port := range spec.Network.Ports {
		if port.Host != e.placement.Port && b.ports.Claim(uint32(port.Host)) {
			e.ports = append(e.ports, port.Host)
		}
	}
	return true
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
	for _, port := range append(e.placement.extraPorts(), e.ports...) {
		b.ports.Free(uint32(port))
	}
	delete(b.entries, container)
}
