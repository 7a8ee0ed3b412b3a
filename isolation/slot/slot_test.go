package slot

import (
	"bytes"
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func plan() Plan {
	return Plan{Tag: "k3xqa", Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000}
}

func TestASlotsNamesAreTheDocumentedOnes(t *testing.T) {
	p, s := plan(), Slot{Number: 3, Epoch: 7}
	for got, want := range map[string]string{
		p.Subnet(3).String(): "10.254.0.12/30", p.HostIP(3).String(): "10.254.0.13", p.PeerIP(3).String(): "10.254.0.14",
		p.Link(s): "dcnk3xqa0003aah", p.Group(): "deacon-k3xqa", p.Cgroup(s): "s3.7", p.Table(): "deacon_k3xqa",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := p.UID(3); got != 1_196_608 {
		t.Errorf("first uid is %d", got)
	}
}

// Every slot of the largest pool: no two share an address, a link or a uid, and
// every link's name fits the kernel.
func TestNoTwoSlotsShareAnything(t *testing.T) {
	p := plan()
	p.Pool = netip.MustParsePrefix("10.0.0.0/8")
	seen := map[string]uint32{}
	for n := range p.Max() {
		for _, name := range []string{p.PeerIP(n).String(), p.HostIP(n).String(), p.Link(Slot{n, 1})} {
			if other, taken := seen[name]; taken {
				t.Fatalf("slots %d and %d share %s", other, n, name)
			}
			seen[name] = n
		}
		if link := p.Link(Slot{n, n}); len(link) > linkNameMax || !strings.HasPrefix(link, p.LinkPrefix()) {
			t.Fatalf("link %q of slot %d", link, n)
		}
		if first, last := uint64(p.UID(n)), uint64(p.UID(n))+UIDsPerSlot-1; first < UIDsPerSlot || last > highestUID {
			t.Fatalf("slot %d has uids %d…%d", n, first, last)
		}
	}
}

func TestAWrongPlanIsNamed(t *testing.T) {
	for want, change := range map[string]func(*Plan){
		"tag":       func(p *Plan) { p.Tag = "x" },
		"IPv4":      func(p *Plan) { p.Pool = netip.MustParsePrefix("fd00::/64") },
		"host bits": func(p *Plan) { p.Pool = netip.MustParsePrefix("10.254.0.1/16") },
		"at least":  func(p *Plan) { p.Pool = netip.MustParsePrefix("10.254.0.0/31") },
		"own users": func(p *Plan) { p.UIDBase = 1000 },
		"no slot":   func(p *Plan) { p.UIDBase = 1<<32 - 10 },
	} {
		p := plan()
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
	if err := plan().Check(); err != nil {
		t.Error(err)
	}
}

func TestNamesAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Slot{rapid.Uint32().Draw(t, "number"), rapid.Uint32().Draw(t, "epoch")}
		if got, ok := Parse(want.String()); !ok || got != want {
			t.Fatalf("%s reads back as %v, %v", want, got, ok)
		}
	})
	for _, foreign := range []string{"", "s1", "s1.2x", "x1.2", "s01.2", "s-1.2"} {
		if s, ok := Parse(foreign); ok {
			t.Errorf("%q reads as %v", foreign, s)
		}
	}
}

func TestIDsHaveTheirForm(t *testing.T) {
	if id := NewID(rand.Reader); !ValidID(id) || id == NewID(rand.Reader) {
		t.Errorf("id %q", id)
	}
	if a, b := NewID(bytes.NewReader(make([]byte, 8))), "aaaaaaaaaaa"; a != b {
		t.Errorf("id of zeroes is %q", a)
	}
	for _, bad := range []string{"", "short", "UPPERCASEXX", "has-dash-xx", "waytoolongforanid", "../../../xx"} {
		if ValidID(bad) {
			t.Errorf("%q passes as an id", bad)
		}
	}
}

// A ring against the plainest model: a set of held numbers and a list of
// resting ones.
func TestTheRingHandsOutWhatHasRestedLongest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last := rapid.Uint32Range(0, 6).Draw(t, "last")
		ring, held := NewRing(0, last), map[uint32]bool{}
		var freed []uint32
		used := map[uint32]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"lease": func(t *rapid.T) {
				n, ok := ring.Lease()
				if ok != (len(held) <= int(last)) {
					t.Fatalf("lease says %v with %d of %d held", ok, len(held), last+1)
				}
				if !ok {
					return
				}
				if held[n] || n > last {
					t.Fatalf("leased %d, held %v", n, held)
				}
				if used[n] && len(freed) > 0 && freed[0] != n {
					t.Fatalf("leased %d before %v", n, freed)
				}
				held[n], used[n] = true, true
				freed = without(freed, n)
			},
			"claim": func(t *rapid.T) {
				n := rapid.Uint32Range(0, last+1).Draw(t, "n")
				if ok := ring.Claim(n); ok != (n <= last && !held[n]) {
					t.Fatalf("claim of %d says %v, held %v", n, ok, held)
				} else if ok {
					held[n] = true
					freed = without(freed, n)
				}
			},
			"free": func(t *rapid.T) {
				n := rapid.Uint32Range(0, last+1).Draw(t, "n")
				ring.Free(n)
				if held[n] && used[n] {
					freed = append(freed, n)
				}
				delete(held, n)
			},
			"": func(t *rapid.T) {
				if ring.Held() != len(held) {
					t.Fatalf("ring holds %d, model %d", ring.Held(), len(held))
				}
			},
		})
	})
}

func without(list []uint32, n uint32) []uint32 {
	var kept []uint32
	for _, m := range list {
		if m != n {
			kept = append(kept, m)
		}
	}
	return kept
}

func TestEverySecondTenantHasAnotherName(t *testing.T) {
	p := plan()
	p.Pool = netip.MustParsePrefix("10.254.0.0/30")
	slots := NewSlots(p)
	first, _ := slots.Lease()
	if _, ok := slots.Lease(); ok {
		t.Fatal("a pool of one slot gave two")
	}
	slots.Free(first.Number)
	second, ok := slots.Lease()
	if !ok || second.Number != first.Number || p.Link(first) == p.Link(second) || first.String() == second.String() {
		t.Errorf("first %v, second %v, %v", first, second, ok)
	}

	successor := NewSlots(p)
	if !successor.Claim(second) || successor.Claim(second) {
		t.Error("a recovered slot is claimed once")
	}
	successor.Free(second.Number)
	if third, _ := successor.Lease(); third.Epoch <= second.Epoch {
		t.Errorf("epoch went from %d to %d", second.Epoch, third.Epoch)
	}
}

// Every address of a slot's /30 is the slot's, and no other address is anybody's.
func TestAnAddressLeadsToItsSlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plan()
		bits := rapid.IntRange(8, subnetBits).Draw(t, "bits")
		p.Pool = netip.PrefixFrom(netip.MustParseAddr("10.254.0.0"), bits).Masked()
		n := rapid.Uint32Range(0, p.Max()-1).Draw(t, "slot")
		for host := range uint32(subnetSize) {
			addr := p.address(n, host)
			if got, ok := p.SlotOf(addr); !ok || got != n {
				t.Fatalf("%s in pool %s leads to slot %d, %v, want %d", addr, p.Pool, got, ok, n)
			}
		}
		raw := rapid.Uint32().Draw(t, "any")
		addr := netip.AddrFrom4([4]byte{byte(raw >> 24), byte(raw >> 16), byte(raw >> 8), byte(raw)})
		if got, ok := p.SlotOf(addr); ok && !p.Subnet(got).Contains(addr) {
			t.Fatalf("%s leads to slot %d, which has %s", addr, got, p.Subnet(got))
		}
	})
	p := plan() // its pool has room for more slots than the uids and names have
	p.Pool = netip.MustParsePrefix("10.0.0.0/8")
	for _, nobodys := range []netip.Addr{
		{}, netip.MustParseAddr("10.255.255.253"), netip.MustParseAddr("11.0.0.1"), netip.MustParseAddr("9.255.255.255"),
		netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fd00::1"), p.address(p.Max(), 0),
	} {
		if n, ok := p.SlotOf(nobodys); ok {
			t.Errorf("%s leads to slot %d", nobodys, n)
		}
	}
}

// Slots that are asked for among those that are not, against a set of the held
// and the last epoch of each.
func TestASlotThatIsAskedForIsLeasedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := plan()
		p.Pool = netip.MustParsePrefix("10.254.0.0/28")
		slots, held, epochs := NewSlots(p), map[uint32]bool{}, map[uint32]uint32{}
		taken := func(t *rapid.T, s Slot) {
			if held[s.Number] || s.Epoch <= epochs[s.Number] {
				t.Fatalf("%s is leased, held %v, last epochs %v", s, held, epochs)
			}
			held[s.Number], epochs[s.Number] = true, s.Epoch
		}
		t.Repeat(map[string]func(*rapid.T){
			"asked for": func(t *rapid.T) {
				n := rapid.Uint32Range(0, p.Max()).Draw(t, "n")
				s, ok := slots.LeaseAt(n)
				if ok != (n < p.Max() && !held[n]) || ok && s.Number != n {
					t.Fatalf("slot %d: %s, %v, held %v", n, s, ok, held)
				}
				if ok {
					taken(t, s)
				}
			},
			"any": func(t *rapid.T) {
				count := rapid.IntRange(1, int(p.Max())+1).Draw(t, "count")
				next := slots.Next(count)
				if free := int(p.Max()) - len(held); len(next) != min(count, free) {
					t.Fatalf("%d are next of %d, %d are free", len(next), count, free)
				}
				for i := range count {
					s, ok := slots.Lease()
					if ok != (i < len(next)) || ok && s.Number != next[i] {
						t.Fatalf("%s, %v, but next were %v; held %v", s, ok, next, held)
					}
					if ok {
						taken(t, s)
					}
				}
			},
			"free": func(t *rapid.T) {
				n := rapid.Uint32Range(0, p.Max()).Draw(t, "n")
				slots.Free(n)
				delete(held, n)
			},
			"": func(t *rapid.T) {
				if slots.Held() != len(held) {
					t.Fatalf("%d are held, want %v", slots.Held(), held)
				}
			},
		})
	})
}
