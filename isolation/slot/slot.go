package slot

import (
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
)

// Slot is a place for one container and the number of its present tenant.
type Slot struct {
	Number uint32
	Epoch  uint32
}

func (s Slot) String() string { return fmt.Sprintf("s%d.%d", s.Number, s.Epoch) }

// Parse reads what String wrote, as found in the kernel or on disk.
func Parse(name string) (Slot, bool) {
	var s Slot
	_, err := fmt.Sscanf(name, "s%d.%d", &s.Number, &s.Epoch)
	return s, err == nil && s.String() == name
}

// Fixed sizes that names and pools follow from.
const (
	UIDsPerSlot   = 1 << 16
	subnetBits    = 30
	subnetSize    = 1 << (32 - subnetBits)
	TagLength     = 5
	idLength      = 11
	linkNameMax   = 15 // IFNAMSIZ less the terminating zero
	linkPrefix    = "dcn"
	slotDigits    = 4 // hexadecimal
	epochDigits   = 3 // base 32
	slotsMax      = 1 << (4 * slotDigits)
	groupPrefix   = "deacon-"
	tablePrefix   = "deacon_"
	highestUID    = 1<<32 - 2 // the last two are reserved for "no such id"
	alphabet      = "abcdefghijklmnopqrstuvwxyz234567"
	epochsInAName = 1 << (5 * epochDigits)
)

var digits = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Plan is what all slots of one node have in common.
type Plan struct {
	// Tag names the node's state in the kernel, so that two agents on one
	// machine never touch each other's objects.
	Tag     string
	Pool    netip.Prefix // cut into /30s
	UIDBase uint32       // first id of slot 0
}

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	if len(p.Tag) != TagLength {
		return fmt.Errorf("slot: tag %q has not %d characters", p.Tag, TagLength)
	}
	if !p.Pool.IsValid() || !p.Pool.Addr().Is4() || p.Pool.Bits() > subnetBits {
		return fmt.Errorf("slot: pool %s is not an IPv4 network of at least a /%d", p.Pool, subnetBits)
	}
	if p.Pool != p.Pool.Masked() {
		return fmt.Errorf("slot: pool %s has host bits set; did you mean %s?", p.Pool, p.Pool.Masked())
	}
	if p.UIDBase < UIDsPerSlot {
		return fmt.Errorf("slot: uid base %d would give a container ids of the node's own users", p.UIDBase)
	}
	if p.Max() == 0 {
		return errors.New("slot: no slot fits between the uid base and the highest uid")
	}
	return nil
}

// Max is how many slots there are: the smallest of what the pool, the uids and
// the names have room for.
func (p Plan) Max() uint32 {
	subnets := uint64(1) << (subnetBits - p.Pool.Bits())
	uids := (uint64(highestUID) + 1 - uint64(p.UIDBase)) / UIDsPerSlot
	return uint32(min(subnets, uids, slotsMax))
}

// Subnet is slot n's /30.
func (p Plan) Subnet(n uint32) netip.Prefix { return netip.PrefixFrom(p.address(n, 0), subnetBits) }

// HostIP is the node's end of slot n's veth, the container's way out.
func (p Plan) HostIP(n uint32) netip.Addr { return p.address(n, 1) }

// PeerIP is the container's end of slot n's veth.
func (p Plan) PeerIP(n uint32) netip.Addr { return p.address(n, 2) }

func (p Plan) address(n, host uint32) netip.Addr {
	a := p.Pool.Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+n*subnetSize+host)
	return netip.AddrFrom4(a)
}

// SlotOf is the slot whose /30 an address lies in; false where no slot's does.
func (p Plan) SlotOf(addr netip.Addr) (uint32, bool) {
	if !addr.Is4() || !p.Pool.Contains(addr) {
		return 0, false
	}
	base, within := p.Pool.Addr().As4(), addr.As4()
	n := (binary.BigEndian.Uint32(within[:]) - binary.BigEndian.Uint32(base[:])) / subnetSize
	return n, n < p.Max()
}

// UID is the first of slot n's UIDsPerSlot user ids; group ids are the same numbers.
func (p Plan) UID(n uint32) uint32 { return p.UIDBase + n*UIDsPerSlot }

// Link is the name of the node's end of the slot's veth. The epoch is in it,
// folded, so that a link that dies slowly never bears its successor's name.
func (p Plan) Link(s Slot) string {
	epoch := s.Epoch % epochsInAName
	folded := []byte{alphabet[epoch>>10&31], alphabet[epoch>>5&31], alphabet[epoch&31]}
	return fmt.Sprintf("%s%04x%s", p.LinkPrefix(), s.Number, folded)
}

// LinkPrefix is what all of the node's links begin with, and no other.
func (p Plan) LinkPrefix() string { return linkPrefix + p.Tag }

// Group is the node's parent cgroup; Cgroup the slot's below it.
func (p Plan) Group() string { return groupPrefix + p.Tag }

// Cgroup is the name of the slot's cgroup below Group.
func (p Plan) Cgroup(s Slot) string { return s.String() }

// Table is the node's nftables table.
func (p Plan) Table() string { return tablePrefix + p.Tag }

// Disk is the name of the slot's upper folder.
func (p Plan) Disk(s Slot) string { return s.String() }

// TagOf derives a node's tag from its id.
func TagOf(nodeID string) string {
	h := fnv.New64a()
	io.WriteString(h, nodeID)
	return digits.EncodeToString(h.Sum(nil))[:TagLength]
}

// NewID draws a container's or a node's id: 55 random bits as 11 base-32 digits.
func NewID(random io.Reader) string {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		panic(fmt.Sprintf("slot: the source of randomness failed: %v", err)) // never on Linux
	}
	return digits.EncodeToString(b[:])[:idLength]
}

// ValidID says whether s has the form of an id; a folder of another name is
// not ours.
func ValidID(s string) bool {
	if len(s) != idLength {
		return false
	}
	_, err := digits.DecodeString(s + "aa")
	return err == nil
}
