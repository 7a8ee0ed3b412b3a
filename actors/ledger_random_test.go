package actors

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/isolation/slot"
)

// Whatever is asked for, refused, released and given back, in any order and any
// number of times: what is promised is what those hold that were let in, never
// more than there is, and nothing remains (wire/dea.md b.8).
func TestNoHistoryPromisesMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := Capacity{
			MemoryMiB: rapid.Int64Range(0, 400).Draw(r, "memory"), DiskMiB: rapid.Int64Range(0, 400).Draw(r, "disk"),
			PortFirst: 30000, PortLast: 30000 + rapid.Uint16Range(0, 9).Draw(r, "ports"),
			Plan: slot.Plan{Tag: "model", Pool: netip.MustParsePrefix("10.254.0.0/27"), UIDBase: 1_000_000}, // 8 slots
		}
		h := &bookHistory{r: r, b: newBook(c), c: c, held: map[string]demand{}}
		r.Repeat(map[string]func(*rapid.T){
			"": h.check, "reserve": h.reserve, "again": h.again, "release": h.release, "free": h.free,
		})
		for _, id := range slices.Sorted(maps.Keys(h.held)) { // all of them go, those of whom nobody said that they are dead too
			h.b.free(id)
			delete(h.held, id)
		}
		h.check(r)
		if h.b.slots.Held() != 0 || h.b.ports.Held() != 0 || len(h.b.entries) != 0 {
			r.Fatalf("%d slots, %d ports and %d entries remain", h.b.slots.Held(), h.b.ports.Held(), len(h.b.entries))
		}
	})
}

// bookHistory knows only what was asked and answered.
type bookHistory struct {
	r    *rapid.T
	b    *book
	c    Capacity
	held map[string]demand // memory 0: released
	next int
}

func (h *bookHistory) sums() (memory, disk int64, ports int) {
	for _, d := range h.held {
		memory, disk, ports = memory+d.memory, disk+d.disk, ports+1+len(d.extra)
	}
	return memory, disk, ports
}

func (h *bookHistory) check(r *rapid.T) {
	memory, disk, ports := h.sums()
	switch b := h.b; {
	case b.memory.promised != memory || b.disk.promised != disk:
		r.Fatalf("promised are %d and %d MiB, held %d and %d", b.memory.promised, b.disk.promised, memory, disk)
	case memory > h.c.MemoryMiB || disk > h.c.DiskMiB:
		r.Fatalf("%d of %d MiB of memory and %d of %d of disk are held", memory, h.c.MemoryMiB, disk, h.c.DiskMiB)
	case b.slots.Held() != len(h.held) || b.ports.Held() != ports:
		r.Fatalf("%d slots and %d ports are held, by %d with %d", b.slots.Held(), b.ports.Held(), len(h.held), ports)
	}
}

// reserve expects the wire's answer: disk is looked at first, then memory, and
// what is exactly left is enough.
func (h *bookHistory) reserve(r *rapid.T) {
	h.next++
	d := demand{
		container: fmt.Sprint("c", h.next), port: true,
		memory: rapid.Int64Range(1, 150).Draw(r, "mem"), disk: rapid.Int64Range(1, 150).Draw(r, "disk"),
		extra: rapid.SampledFrom([][]portUse{nil, nil, {forDebugger}, {forConsole}, {forDebugger, forConsole}}).Draw(r, "extra"),
	}
	memory, disk, ports := h.sums()
	want := ""
	switch {
	case disk+d.disk > h.c.DiskMiB:
		want = "Not enough disk resource available."
	case memory+d.memory > h.c.MemoryMiB:
		want = "Not enough memory resource available."
	case len(h.held) == int(h.c.Plan.Max()), ports+1+len(d.extra) > int(h.c.PortLast-h.c.PortFirst)+1:
		want = "failed to start"
	}
	p, err := h.b.reserve(d)
	got := ""
	if err != nil {
		got = noRoomWords(err)
	}
	if got != want {
		r.Fatalf("a demand of %d and %d MiB is answered with %q, want %q", d.memory, d.disk, got, want)
	}
	if err == nil {
		h.held[d.container] = d
		if given := append(p.extraPorts(), p.Port); len(slices.Compact(slices.Sorted(slices.Values(given)))) != 1+len(d.extra) {
			r.Fatalf("it got the ports %v", given)
		}
	}
}

// someone is a container that has room; empty: there is none.
func (h *bookHistory) someone(r *rapid.T) string {
	if len(h.held) == 0 {
		return ""
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(h.held))).Draw(r, "who")
}

// again asks as a restarted instance does, and gets what it has.
func (h *bookHistory) again(r *rapid.T) {
	id := h.someone(r)
	if id == "" {
		return
	}
	was := h.b.entries[id].placement
	p, err := h.b.reserve(h.held[id])
	if h.held[id].memory == 0 && err == nil {
		return // of a container whose processes are dead only the place is left
	}
	if err != nil || p != was {
		r.Fatalf("%s got %+v, %v; it has %+v", id, p, err, was)
	}
}

func (h *bookHistory) release(r *rapid.T) {
	id := h.someone(r)
	if id == "" {
		return
	}
	h.b.release(id)
	h.b.release(id)
	d := h.held[id]
	d.memory = 0
	h.held[id] = d
}

func (h *bookHistory) free(r *rapid.T) {
	id := h.someone(r)
	h.b.free(id)
	h.b.free(id)
	delete(h.held, id)
}
