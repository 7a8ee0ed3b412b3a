package network

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/slot"
)

// table is the node's table with its sets, as they are named in doc.go. It
// does not change; its methods return what a transaction is filled with.
type table struct {
	config                     Config
	table                      *nftables.Table
	tenants, ports, resting    *nftables.Set
	denied, allowed, resolvers *nftables.Set
	egress, nearby, local      *nftables.Set
	defaults                   *nftables.Set
}

func newTable(config Config) *table {
	own := &nftables.Table{Name: config.Plan.Table(), Family: nftables.TableFamilyINet}
	t := &table{config: config, table: own}
	t.tenants = &nftables.Set{Name: "tenants", Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, nftables.TypeIPAddr)}
	t.ports = &nftables.Set{Name: "ports", IsMap: true, KeyType: nftables.TypeInetService,
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)}
	t.resting = &nftables.Set{Name: "resting", KeyType: nftables.TypeInetService}
	t.denied = &nftables.Set{Name: "denied", Interval: true, KeyType: nftables.TypeIPAddr}
	t.resolvers = &nftables.Set{Name: "resolvers", KeyType: nftables.TypeIPAddr}
	t.egress, t.nearby, t.local = verdictMap("egress"), verdictMap("nearby"), verdictMap("local")
	t.defaults = verdictMap("defaults")
	t.allowed = &nftables.Set{Name: "allowed", Interval: true, KeyType: nftables.TypeIPAddr}
	for i, set := range t.sets() {
		// The library numbers a set that has no number when it is added, for
		// its own use within a transaction; then this value would change.
		set.Table, set.ID = t.table, uint32(i+1)
	}
	return t
}

// verdictMap says of a link what becomes of what comes from there.
func verdictMap(name string) *nftables.Set {
	return &nftables.Set{Name: name, IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeVerdict}
}

func (t *table) sets() []*nftables.Set {
	return []*nftables.Set{
		t.tenants, t.ports, t.resting, t.denied, t.allowed, t.resolvers, t.egress, t.nearby, t.local, t.defaults,
	}
}

// rewrite replaces the table in one transaction.
func (t *table) rewrite(live []Attachment) func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error {
		if err := t.remove()(conn); err != nil {
			return err
		}
		conn.AddTable(t.table)
		for _, set := range t.sets() {
			if err := conn.AddSet(set, nil); err != nil {
				return err
			}
		}
		if err := add(conn, t.denied, intervals(disjoint(t.config.Denied))); err != nil {
			return err
		}
		if err := add(conn, t.allowed, intervals(disjoint(t.config.Allowed))); err != nil {
			return err
		}
		if err := add(conn, t.resolvers, addressKeys(t.config.Resolvers)); err != nil {
			return err
		}
		t.addNodeLog(conn)
		t.addRules(conn)
		return t.admit(live...)(conn)
	}
}

// remove deletes the table. Adding it first makes the deletion succeed whether
// or not there was one.
func (t *table) remove() func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error {
		conn.AddTable(t.table)
		conn.DelTable(t.table)
		return nil
	}
}

// disjoint leaves out each prefix that is within another: an interval set takes
// no overlaps. Two prefixes either have nothing in common or one holds the other.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range prefixes {
		all = append(all, p.Masked())
	}
	slices.SortStableFunc(all, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })
	var kept []netip.Prefix
	for _, p := range all {
		if !slices.ContainsFunc(kept, func(wider netip.Prefix) bool { return wider.Contains(p.Addr()) }) {
			kept = append(kept, p)
		}
	}
	return kept
}

// intervals gives prefixes as an interval set's pairs of elements.
func intervals(prefixes []netip.Prefix) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, p := range prefixes {
		first := p.Addr().As4()
		elements = append(elements, nftables.SetElement{Key: first[:]})
		end := uint64(binary.BigEndian.Uint32(first[:])) + 1<<(32-p.Bits())
		if end <= 1<<32-1 { // a range up to the last address has no end element
			elements = append(elements, nftables.SetElement{
				Key: binary.BigEndian.AppendUint32(nil, uint32(end)), IntervalEnd: true})
		}
	}
	return elements
}

func addressKeys(addresses []netip.Addr) (elements []nftables.SetElement) {
	for _, a := range addresses {
		elements = append(elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return elements
}

// admit adds containers' elements, and a chain for each that has egress rules.
func (t *table) admit(attachments ...Attachment) func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error {
		var tenants, ports, defaults []nftables.SetElement
		for _, a := range attachments {
			tenants = append(tenants, t.tenant(a.Slot))
			ports = append(ports, t.mapped(a)...)
			defaults = append(defaults, t.defaultOf(a)...)
		}
		// Before the container may send at all.
		if err := add(conn, t.defaults, defaults); err != nil {
			return err
		}
		if err := add(conn, t.tenants, tenants); err != nil {
			return err
		}
		if err := add(conn, t.ports, ports); err != nil {
			return err
		}
		for _, a := range attachments {
			if err := t.addEgress(conn, a); err != nil {
				return err
			}
		}
		return nil
	}
}

func (t *table) refuse(a Attachment) func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error { return add(conn, t.resting, restingPorts(a)) }
}

func (t *table) tenant(s slot.Slot) nftables.SetElement {
	address := t.config.Plan.PeerIP(s.Number).As4()
	return nftables.SetElement{Key: append(linkKey(t.config.Plan.Link(s)), address[:]...)}
}

// defaultOf is the container's own default; none where it is the node's.
func (t *table) defaultOf(a Attachment) []nftables.SetElement {
	verdict := &expr.Verdict{Kind: expr.VerdictAccept}
	switch Verdict(a.Spec.Default) {
	case "", t.config.Egress:
		return nil
	case Reject:
		verdict = &expr.Verdict{Kind: expr.VerdictGoto, Chain: refusal}
	}
	return []nftables.SetElement{{Key: linkKey(t.config.Plan.Link(a.Slot)), VerdictData: verdict}}
}

func (t *table) mapped(a Attachment) (elements []nftables.SetElement) {
	address := t.config.Plan.PeerIP(a.Slot.Number).As4()
	for _, p := range a.Spec.Ports {
		// Every part of a concatenation is padded to four bytes.
		target := binary.BigEndian.AppendUint16(address[:len(address):len(address)], p.Container)
		elements = append(elements, nftables.SetElement{Key: portKey(p.Host), Val: append(target, 0, 0)})
	}
	return elements
}

func restingPorts(a Attachment) (elements []nftables.SetElement) {
	for _, p := range a.Spec.Ports {
		elements = append(elements, nftables.SetElement{Key: portKey(p.Host)})
	}
	return elements
}

func portKey(port uint16) []byte { return binaryutil.BigEndian.PutUint16(port) }

// linkKey is a link's name as the kernel compares it: 16 bytes, zero-filled.
func linkKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// elementsMax is how many elements go into one message: the list of them is an
// attribute, of at most 64 KiB, and none is longer than 128 bytes.
const elementsMax = 500

func add(conn *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) error {
	for part := range slices.Chunk(elements, elementsMax) {
		if err := conn.SetAddElements(set, part); err != nil {
			return err
		}
	}
	return nil
}

// expel deletes what there is of the containers in the table. The kernel
// refuses a whole transaction over one element that is gone, so it is asked
// first what exists. A port that another container has by now stays, and so
// does its rest.
func (t *table) expel(gone []Attachment) func(*nftables.Conn) error {
	return func(conn *nftables.Conn) error {
		var tenants, defaults, ports, resting []nftables.SetElement
		chosen := map[*nftables.Set][]nftables.SetElement{}
		var chains []string
		mapped, err := existing(conn, t.ports)
		if err != nil {
			return err
		}
		for _, a := range gone {
			tenants = append(tenants, t.tenant(a.Slot))
			for _, o := range t.everyOutlet(a) {
				chosen[o.set] = append(chosen[o.set], o.element(t.config.Plan.Link(a.Slot)))
				chains = append(chains, o.name)
			}
			chains = append(chains, t.logging(a))
			defaults = append(defaults, t.defaultOf(a)...)
			for _, e := range t.mapped(a) {
				if target, taken := mapped[string(e.Key)]; !taken || bytes.HasPrefix(target, e.Val) {
					ports = append(ports, e)
					resting = append(resting, nftables.SetElement{Key: e.Key})
				}
			}
		}
		led := 0
		for _, doomed := range []struct {
			set      *nftables.Set
			elements []nftables.SetElement
		}{
			{t.tenants, tenants}, {t.ports, ports}, {t.resting, resting}, {t.defaults, defaults},
			{t.egress, chosen[t.egress]}, {t.nearby, chosen[t.nearby]}, {t.local, chosen[t.local]},
		} {
			removed, err := remove(conn, doomed.set, doomed.elements)
			if err != nil {
				return err
			}
			if chosen[doomed.set] != nil {
				led += removed
			}
		}
		if led == 0 { // nobody has chains
			return nil
		}
		return t.dropChains(conn, chains)
	}
}

// remove deletes those of the elements that exist, and says how many.
func remove(conn *nftables.Conn, set *nftables.Set, elements []nftables.SetElement) (int, error) {
	if len(elements) == 0 {
		return 0, nil
	}
	present, err := existing(conn, set)
	if err != nil {
		return 0, err
	}
	elements = slices.DeleteFunc(elements, func(e nftables.SetElement) bool {
		_, there := present[string(e.Key)]
		delete(present, string(e.Key)) // the same container may be named twice
		return !there
	})
	for part := range slices.Chunk(elements, elementsMax) {
		if err := conn.SetDeleteElements(set, part); err != nil {
			return 0, err
		}
	}
	return len(elements), nil
}

// existing lists a set; one that somebody removed with the table has no elements.
func existing(conn *nftables.Conn, set *nftables.Set) (map[string][]byte, error) {
	elements, err := conn.GetSetElements(set)
	if err != nil {
		// The library's error has lost what the kernel said, so that is asked.
		tables, failed := conn.ListTablesOfFamily(set.Table.Family)
		if failed != nil || slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == set.Table.Name }) {
			return nil, errors.Join(err, failed)
		}
	}
	found := map[string][]byte{}
	for _, e := range elements {
		found[string(e.Key)] = e.Val
	}
	return found, nil
}
