package network

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

const (
	// PortsMax and EgressMax bound one container: its mapped ports, and its
	// egress rules counted with each of their spans of ports.
	PortsMax  = 64
	EgressMax = 1000

	// logNameMax bounds what a line of the kernel's log begins with.
	logNameMax = 100

	// logRate bounds these lines, a second for each rule: a container chooses
	// how many connections it makes, and the log is the node's.
	logRate = 100
)

// Vet says what is wrong with an attachment, so that the kernel never has to.
func (n *Network) Vet(a Attachment) error {
	if a.Slot.Number >= n.config.Plan.Max() {
		return fmt.Errorf("network: slot %d is beyond the pool's %d", a.Slot.Number, n.config.Plan.Max())
	}
	if len(a.Name) > logNameMax {
		return fmt.Errorf("network: name %q is longer than %d", a.Name, logNameMax)
	}
	if d := Verdict(a.Spec.Default); d != "" && d != Allow && d != Reject {
		return fmt.Errorf("network: default verdict %q is neither %q nor %q", d, Allow, Reject)
	}
	if a.Bandwidth.Rate > 0 {
		if err := checkBandwidth(a.Bandwidth); err != nil {
			return err
		}
	}
	if len(a.Spec.Ports) > PortsMax {
		return fmt.Errorf("network: %d mapped ports are more than %d", len(a.Spec.Ports), PortsMax)
	}
	var seen []uint16
	for _, p := range a.Spec.Ports {
		if p.Host == 0 || p.Container == 0 || slices.Contains(seen, p.Host) {
			return fmt.Errorf("network: mapped port %d to %d: zero, or mapped twice", p.Host, p.Container)
		}
		seen = append(seen, p.Host)
	}
	count := 0
	for i, rule := range a.Spec.Egress {
		count += max(1, len(rule.Ports))
		if err := checkEgress(rule); err != nil {
			return fmt.Errorf("network: egress rule %d: %w", i+1, err)
		}
	}
	if count > EgressMax {
		return fmt.Errorf("network: egress rules with %d spans of ports are more than %d", count, EgressMax)
	}
	return nil
}

func checkEgress(rule isolation.EgressRule) error {
	if !slices.Contains([]string{"tcp", "udp", "icmp", "all"}, rule.Protocol) {
		return fmt.Errorf("protocol %q is none of tcp, udp, icmp and all", rule.Protocol)
	}
	if !rule.First.Is4() || !rule.Last.Is4() || rule.Last.Less(rule.First) {
		return fmt.Errorf("%s to %s is not a range of IPv4 addresses", rule.First, rule.Last)
	}
	if len(rule.Ports) > 0 && rule.Protocol != "tcp" && rule.Protocol != "udp" {
		return fmt.Errorf("protocol %s has no ports", rule.Protocol)
	}
	for _, span := range rule.Ports {
		if span.Last < span.First {
			return fmt.Errorf("%d to %d is not a range of ports", span.First, span.Last)
		}
	}
	if rule.Protocol == "icmp" && (!octet(rule.ICMPType) || !octet(rule.ICMPCode)) {
		return errors.New("icmp type and code are -1 (any) to 255")
	}
	return nil
}

func octet(n int) bool { return n >= -1 && n <= 255 }

// outlet is a chain of a container that has rules of its own, and the map that
// leads to it. A chain is named after the link, so its name is never used twice.
type outlet struct {
	set   *nftables.Set
	name  string
	rules []isolation.EgressRule
}

// outlets are the container's; those that have no rules don't exist. Only a rule
// that speaks of nothing but the pool lets one container reach another: one that
// allows everything doesn't mean that.
func (t *table) outlets(a Attachment) []outlet {
	link := t.config.Plan.Link(a.Slot)
	beyond, nearby := outlet{set: t.egress, name: "out_" + link}, outlet{set: t.nearby, name: "near_" + link}
	for _, rule := range a.Spec.Egress {
		if pool := t.config.Plan.Pool; pool.Contains(rule.First) && pool.Contains(rule.Last) {
			nearby.rules = append(nearby.rules, rule)
		} else {
			beyond.rules = append(beyond.rules, rule)
		}
	}
	return slices.DeleteFunc([]outlet{beyond, nearby}, func(o outlet) bool { return len(o.rules) == 0 })
}

func (t *table) chainOf(o outlet) *nftables.Chain {
	return &nftables.Chain{Table: t.table, Name: o.name}
}

func (o outlet) element(link string) nftables.SetElement {
	return nftables.SetElement{
		Key: linkKey(link), VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: o.name},
	}
}

// addEgress writes the container's chains. Each is emptied first: it has the
// former rules, or those of an attempt that failed.
func (t *table) addEgress(conn *nftables.Conn, a Attachment) error {
	for _, o := range t.outlets(a) {
		chain := conn.AddChain(t.chainOf(o))
		conn.FlushChain(chain)
		for _, rule := range o.rules {
			for _, one := range egressRules(a.Name, rule) {
				t.rule(conn, chain, one...)
			}
		}
		if err := add(conn, o.set, []nftables.SetElement{o.element(t.config.Plan.Link(a.Slot))}); err != nil {
			return err
		}
	}
	return nil
}

// Allow replaces an attached container's egress rules by those that it has now,
// with no moment in between. Rules are few, and all of them anew costs hardly
// more than one; then the kernel has what is on record whatever went before.
func (n *Network) Allow(a Attachment) error {
	if err := n.Vet(a); err != nil {
		return err
	}
	if err := n.change(func(conn *nftables.Conn) error { return n.table.addEgress(conn, a) }); err != nil {
		return fmt.Errorf("network: egress rules of %s: %w", a.Slot, n.explain(a, err))
	}
	return nil
}

// egressRules are the kernel's for one of ours: one for each span of ports, and
// one before it that logs, so that what is too much for the log is allowed all
// the same. Only what begins a connection comes this far.
func egressRules(name string, rule isolation.EgressRule) (all [][][]expr.Any) {
	spans := []*isolation.PortSpan{nil}
	if len(rule.Ports) > 0 {
		spans = nil
	}
	for i := range rule.Ports {
		spans = append(spans, &rule.Ports[i])
	}
	for _, span := range spans {
		match := egressMatch(rule, span)
		if rule.Log {
			all = append(all, append(slices.Clip(match), []expr.Any{
				&expr.Limit{Type: expr.LimitTypePkts, Rate: logRate, Unit: expr.LimitTimeSecond, Burst: logRate},
				&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(name + " ")},
			}))
		}
		all = append(all, append(slices.Clip(match), is(accept())))
	}
	return all
}

// egressMatch matches one protocol to one range of addresses and of ports.
func egressMatch(rule isolation.EgressRule, span *isolation.PortSpan) [][]expr.Any {
	first, last := rule.First.As4(), rule.Last.As4()
	groups := [][]expr.Any{{
		ipv4(destinationOffset, reg1),
		&expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: first[:], ToData: last[:]},
	}}
	switch rule.Protocol {
	case "tcp":
		groups = append(groups, protocol(unix.IPPROTO_TCP))
	case "udp":
		groups = append(groups, protocol(unix.IPPROTO_UDP))
	case "icmp":
		groups = append(groups, protocol(unix.IPPROTO_ICMP))
		if rule.ICMPType >= 0 { // a code means nothing without its type
			groups = append(groups, icmp(0, rule.ICMPType), icmp(1, rule.ICMPCode))
		}
	}
	if span != nil {
		groups = append(groups, []expr.Any{
			destinationPort(),
			&expr.Range{Op: expr.CmpOpEq, Register: reg1, FromData: binaryutil.BigEndian.PutUint16(span.First),
				ToData: binaryutil.BigEndian.PutUint16(span.Last)},
		})
	}
	return groups
}

// icmp matches one byte of the ICMP header; -1 matches any.
func icmp(offset uint32, value int) []expr.Any {
	if value < 0 {
		return nil
	}
	return []expr.Any{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{byte(value)}},
	}
}

// dropEgressChains deletes the chains of containers that are gone, where they exist.
func (t *table) dropEgressChains(conn *nftables.Conn, gone []Attachment) error {
	doomed := map[string]bool{}
	for _, a := range gone {
		for _, o := range t.outlets(a) {
			doomed[o.name] = true
		}
	}
	if len(doomed) == 0 {
		return nil
	}
	chains, err := conn.ListChainsOfTableFamily(t.table.Family)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	for _, chain := range chains {
		if chain.Table.Name == t.table.Name && doomed[chain.Name] {
			conn.FlushChain(chain)
			conn.DelChain(chain)
		}
	}
	return nil
}
