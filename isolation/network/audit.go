package network

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"time"

	"github.com/google/nftables"
	mdlayher "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/slot"
)

// Harm is what somebody took from containers, in words, by slot.
type Harm map[slot.Slot][]string

func (h Harm) add(s slot.Slot, format string, args ...any) {
	h[s] = append(h[s], fmt.Sprintf(format, args...))
}

// TableHarm says what the living containers, all of them, lack in the table. An error that is
// ErrTable says that the table itself is gone, or that its rules are not as
// they were written. Where nobody has touched the machine's rules since nothing
// was found the last time, that is all that is looked at.
func (n *Network) TableHarm(live []Attachment) (Harm, error) {
	now, err := generation()
	if err != nil {
		return nil, err
	}
	if n.quiet.Load() == uint64(now) {
		return nil, nil
	}
	if err := n.Check(); err != nil {
		return nil, err
	}
	harm, err := n.Lacking(live)
	if err == nil && len(harm) == 0 {
		n.quiet.Store(uint64(now))
	}
	return harm, err
}

// Lacking is what some of the living containers lack in the table.
func (n *Network) Lacking(some []Attachment) (Harm, error) {
	harm := Harm{}
	err := n.deletions.run(func(conn *nftables.Conn) error { return n.table.compare(conn, some, harm) })
	if err != nil {
		return nil, fmt.Errorf("network: compare the table with the containers: %w", err)
	}
	return harm, nil
}

// compare finds elements that are not there.
func (t *table) compare(conn *nftables.Conn, live []Attachment, harm Harm) error {
	tenant := func(a Attachment) []nftables.SetElement { return []nftables.SetElement{t.tenant(a.Slot)} }
	for _, part := range []struct {
		set  *nftables.Set
		of   func(Attachment) []nftables.SetElement
		what string
	}{
		{t.tenants, tenant, "its right to send"},
		{t.ports, t.mapped, "the mapping of port"},
		{t.defaults, t.defaultOf, "what becomes of traffic without a rule"},
		{t.egress, t.outletsIn(t.egress), "the way to its egress rules"},
		{t.nearby, t.outletsIn(t.nearby), "the way to its rules for neighbours"},
		{t.local, t.outletsIn(t.local), "the way to its rules for link-local addresses"},
	} {
		there, err := existing(conn, part.set)
		if err != nil {
			return err
		}
		for _, a := range live {
			for _, e := range part.of(a) {
				value, found := there[string(e.Key)]
				what := part.what
				if part.set == t.ports {
					what = fmt.Sprintf("%s %d", what, binary.BigEndian.Uint16(e.Key))
				}
				switch {
				case !found:
					harm.add(a.Slot, "%s is not in the table's %s any more", what, part.set.Name)
				case part.set == t.ports && !bytes.HasPrefix(value, e.Val):
					harm.add(a.Slot, "%s leads elsewhere", what)
				}
			}
		}
	}
	return t.countRules(live, harm)
}

// countRules finds containers' chains that have more or fewer rules than they were
// given. A chain that is not there, or that nothing leads to, is harm already.
func (t *table) countRules(live []Attachment, harm Harm) error {
	live = slices.DeleteFunc(slices.Clone(live), func(a Attachment) bool {
		return len(a.Spec.Egress) == 0 || len(harm[a.Slot]) > 0
	})
	if len(live) == 0 {
		return nil
	}
	uses, err := t.chainUses()
	if err != nil {
		return err
	}
	for _, a := range live {
		for _, c := range t.chainsOf(a) {
			if use, there := uses[c.name]; there && use != c.rules+c.led {
				harm.add(a.Slot, "its egress rules in %s are %d and were %d", c.name, use-c.led, c.rules)
				break // what its rules led to, they lead to no more
			}
		}
	}
	return nil
}

// chainUses is by how many rules and elements each chain of the table is used: its
// own rules, and what leads to it. To list the rules would take many times as long.
func (t *table) chainUses() (map[string]int, error) {
	answers, err := ask(unix.NFT_MSG_GETCHAIN, mdlayher.Dump, unix.NFPROTO_INET)
	if err != nil {
		return nil, fmt.Errorf("network: ask for the chains: %w", err)
	}
	uses := map[string]int{}
	for _, answer := range answers {
		decoder, err := mdlayher.NewAttributeDecoder(answer.Data[4:])
		if err != nil {
			return nil, fmt.Errorf("network: the chains: %w", err)
		}
		var table, name string
		var use uint32
		for decoder.Next() {
			switch decoder.Type() {
			case unix.NFTA_CHAIN_TABLE:
				table = decoder.String()
			case unix.NFTA_CHAIN_NAME:
				name = decoder.String()
			case unix.NFTA_CHAIN_USE:
				use = binary.BigEndian.Uint32(decoder.Bytes())
			}
		}
		if table == t.table.Name {
			uses[name] = int(use)
		}
	}
	return uses, nil
}

// ask makes one request of nftables that its library doesn't have.
func ask(kind mdlayher.HeaderType, flags mdlayher.HeaderFlags, family byte) ([]mdlayher.Message, error) {
	conn, err := mdlayher.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Execute(mdlayher.Message{
		Header: mdlayher.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | kind, Flags: mdlayher.Request | flags},
		Data:   []byte{family, unix.NFNETLINK_V0, 0, 0},
	})
}

func (t *table) outletsIn(set *nftables.Set) func(Attachment) []nftables.SetElement {
	return func(a Attachment) (elements []nftables.SetElement) {
		for _, o := range t.outlets(a) {
			if o.set == set {
				elements = append(elements, o.element(t.config.Plan.Link(a.Slot)))
			}
		}
		return elements
	}
}

// generation counts the changes of the rules of this network namespace.
func generation() (uint32, error) {
	answers, err := ask(unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC)
	if err != nil {
		return 0, fmt.Errorf("network: ask for the rules' generation: %w", err)
	}
	for _, answer := range answers {
		decoder, err := mdlayher.NewAttributeDecoder(answer.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("network: the rules' generation: %w", err)
		}
		for decoder.Next() {
			if value := decoder.Bytes(); decoder.Type() == unix.NFTA_GEN_ID && len(value) == 4 {
				return binary.BigEndian.Uint32(value), nil
			}
		}
	}
	return 0, errors.New("network: the kernel doesn't tell the rules' generation")
}

// LinkHarm says what living containers lack of their links: of the node's ends,
// as nobody inside may touch the other.
func (n *Network) LinkHarm(live []Attachment) (Harm, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("network: list links: %w", err)
	}
	byName := map[string]net.Interface{}
	for _, link := range links {
		byName[link.Name] = link
	}
	addresses, err := n.links.AddrList(nil, unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("network: list addresses: %w", err)
	}
	given := map[string]bool{}
	for _, a := range addresses {
		given[fmt.Sprint(a.LinkIndex, " ", a.IP)] = true
	}
	harm := Harm{}
	for _, a := range live {
		name := n.config.Plan.Link(a.Slot)
		link, there := byName[name]
		switch {
		case !there:
			harm.add(a.Slot, "its link %s is gone", name)
			continue
		case link.Flags&net.FlagUp == 0:
			harm.add(a.Slot, "its link %s is down", name)
		}
		if address := n.config.Plan.HostIP(a.Slot.Number); !given[fmt.Sprint(link.Index, " ", address)] {
			harm.add(a.Slot, "its link %s has lost the address %s", name, address)
		}
	}
	return harm, nil
}

// Rewrite is Restore while others attach and release: they wait. live is asked
// once nobody else changes the table.
func (n *Network) Rewrite(live func() ([]Attachment, error)) error {
	n.whole.Lock()
	defer n.whole.Unlock()
	all, err := live()
	if err != nil {
		return err
	}
	return n.restore(all)
}

// Mend gives an attached container again what Attach gave it and PID 1 made of
// that. What it has already stays as it is. inside is its network namespace,
// holder a hold on it that enter takes.
func (n *Network) Mend(a Attachment, inside, holder *os.File) error {
	if err := n.Vet(a); err != nil {
		return err
	}
	if err := n.addLink(a.Slot, inside); err != nil {
		return fmt.Errorf("network: mend %s: %w", a.Slot, err)
	}
	if err := enter(holder, func() error { return n.dress(a.Slot) }); err != nil {
		return fmt.Errorf("network: mend the container's end of %s: %w", a.Slot, err)
	}
	if a.Bandwidth.Rate > 0 {
		if err := n.Shape(a, holder); err != nil {
			return err
		}
	}
	if err := n.change(n.table.admit(a)); err != nil {
		return fmt.Errorf("network: mend %s: %w", a.Slot, n.explain(a, err))
	}
	return nil
}

// dress does to the container's end what PID 1 did (cmd/deacon-init).
func (n *Network) dress(s slot.Slot) error {
	w, err := openWire()
	if err != nil {
		return err
	}
	defer w.close()
	index, err := w.index(PeerName)
	if err != nil {
		return err
	}
	way := netlink.Route{LinkIndex: index, Gw: n.config.Plan.HostIP(s.Number).AsSlice()}
	if err := w.send(noIPv6(index), n.address(index, s, n.config.Plan.PeerIP(s.Number)), up(index)); err != nil {
		return err
	}
	if err := netlink.RouteAdd(&way); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add the way out: %w", err)
	}
	return nil
}

// change makes a transaction that adds to the table.
func (n *Network) change(fill func(*nftables.Conn) error) error {
	n.whole.RLock()
	defer n.whole.RUnlock()
	return n.additions.run(fill)
}

// tableMax is how long an attachment waits for a table that somebody took away.
const tableMax = 5 * time.Second

// admit lets a container into the table, or into the next one where somebody
// has just taken it away.
func (n *Network) admit(ctx context.Context, a Attachment) error {
	n.renewal.Lock()
	renewed := n.renewed
	n.renewal.Unlock()
	err := n.change(n.table.admit(a))
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, n.tableMax)
	defer cancel()
	select {
	case <-renewed:
		return n.change(n.table.admit(a))
	case <-ctx.Done():
		return err
	}
}

// restore is Restore for whoever has the table alone.
func (n *Network) restore(live []Attachment) error {
	for _, a := range live {
		if err := n.Vet(a); err != nil {
			return err
		}
	}
	if err := n.deletions.run(n.table.rewrite(live)); err != nil {
		return fmt.Errorf("network: write the table: %w", err)
	}
	var counted map[string]int
	err := n.deletions.run(func(conn *nftables.Conn) (err error) { counted, err = n.table.counts(conn); return err })
	if err != nil {
		return fmt.Errorf("network: read the table back: %w", err)
	}
	n.renewal.Lock()
	defer n.renewal.Unlock()
	n.counts = counted
	close(n.renewed)
	n.renewed = make(chan struct{})
	return nil
}

// counts is how many rules each of the table's own chains has; nil where one of
// them, or the table, is not there.
func (t *table) counts(conn *nftables.Conn) (map[string]int, error) {
	chains, err := conn.ListChainsOfTableFamily(t.table.Family)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return nil, err
	}
	counts := map[string]int{}
	hooks := 0
	for _, chain := range chains {
		if chain.Table.Name != t.table.Name {
			continue
		}
		if chain.Hooknum != nil {
			hooks++
		} else if !slices.Contains([]string{refusal, fromBox, toBox}, chain.Name) {
			continue // a container's
		}
		rules, err := conn.GetRules(t.table, chain)
		if err != nil {
			return nil, err
		}
		counts[chain.Name] = len(rules)
	}
	if hooks != hookCount {
		return nil, nil
	}
	return counts, nil
}

// asWritten says whether the table has the rules that restore gave it. Before
// that nobody knows, and the hooks are enough.
func (n *Network) asWritten() (bool, error) {
	var counted map[string]int
	err := n.deletions.run(func(conn *nftables.Conn) (err error) { counted, err = n.table.counts(conn); return err })
	if err != nil {
		return false, err
	}
	n.renewal.Lock()
	defer n.renewal.Unlock()
	return counted != nil && (n.counts == nil || maps.Equal(n.counts, counted)), nil
}
