package actors

import (
	"net/netip"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

func testBook() *book {
	plan := slot.Plan{Tag: "model", Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000}
	return newBook(Capacity{MemoryMiB: 100, DiskMiB: 100, PortFirst: 30000, PortLast: 30001, Plan: plan})
}

// The range of ports was configured anew while a container runs on an old one.
func TestAPortOutsideTheRangeCostsNoSlot(t *testing.T) {
	b := testBook()
	old := isolation.Spec{ID: "old", Slot: 0, Epoch: 1,
		Network: isolation.Network{Ports: []isolation.PortMap{{Host: 20000, Container: 20000}}}}
	if !b.claimSpec(old) {
		t.Fatal("the container's slot was refused")
	}
	if p, err := b.reserve(demand{container: "new", port: true}); err != nil || p.Slot == 0 {
		t.Errorf("the next start got slot %d, a living container's: %v", p.Slot, err)
	}
	b.free("old")
	if got := b.slots.Held(); got != 1 {
		t.Errorf("%d slots are held, want 1", got)
	}
}

func TestWhatIsPromisedComesBackWhole(t *testing.T) {
	b := testBook()
	for _, id := range []string{"one", "two"} {
		if _, err := b.reserve(demand{container: id, memory: 40, disk: 30, port: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []struct {
		demand demand
		want   string
	}{
		{demand{container: "memory", memory: 30, port: true}, "not enough memory: wanted 30, left 20"},
		{demand{container: "disk", disk: 50, memory: 30, port: true}, "not enough disk: wanted 50, left 40"},
		{demand{container: "port", port: true}, "not enough ports: wanted 1, left 0"},
	} {
		if _, err := b.reserve(d.demand); err == nil || err.Error() != d.want {
			t.Errorf("%s: %v, want %q", d.demand.container, err, d.want)
		}
	}
	for _, id := range []string{"one", "two"} {
		b.release(id)
		b.release(id)
		b.free(id)
		b.free(id)
	}
	if b.memory.promised != 0 || b.disk.promised != 0 || b.slots.Held() != 0 || b.ports.Held() != 0 || len(b.entries) != 0 {
		t.Errorf("left in the book: %+v", b)
	}
}

// What an instance's container uses whose record is lost is nobody else's until
// the container is destroyed.
func TestAnOrphanKeepsTheMemoryThatItMayUse(t *testing.T) {
	b := testBook()
	orphan := isolation.Spec{ID: "orphan", Owner: isolation.OwnerInstance, Epoch: 1,
		Limits: isolation.Limits{MemoryBytes: 80 << 20, DiskBytes: 10 << 20}}
	if !b.claimSpec(orphan) {
		t.Fatal("the container's slot was refused")
	}
	if _, err := b.reserve(demand{container: "new", memory: 30}); err == nil {
		t.Error("memory was promised that the orphan may use")
	}
	b.release("orphan")
	if _, err := b.reserve(demand{container: "new", memory: 30}); err != nil {
		t.Error("the memory of a dead orphan is not given back:", err)
	}
}
