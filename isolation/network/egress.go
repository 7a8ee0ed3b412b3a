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

	// logPrefix begins every line that the kernel logs of a container's
	// traffic; the kernel adds the link's name.
	logPrefix = "deacon egress "

	// logRate bounds these lines, a second for each rule: a container chooses
	// how many connections it makes, and the log is the node's.
	logRate = 100
)

// check says what is wrong with an attachment, so that the kernel never has to.
func (n *Network) check(a Attachment) error {
	if a.Slot.Number >= n.config.Plan.Max() {
		return fmt.Errorf("network: slot %d is beyond the pool's %d", a.Slot.Number, n.config.Plan.Max())
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

// egressChain is the chain of a container that has rules of its own. A chain
// is named after the link, so its name is never used twice.
func (t *table) egressChain(a Attachment) *nftables.Chain {
	return &nftables.Chain{Table: t.table, Name: "out_" + t.config.Plan.Link(a.Slot)}
}

func (t *table) egressElements(a Attachment) []nftables.SetElement {
	if len(a.Spec.Egress) == 0 {
		return nil
	}
	return []nftables.SetElement{{
		Key:         linkKey(t.config.Plan.Link(a.Slot)),
		VerdictData: &expr.Verdict{Kind: expr.VerdictJump, Chain: t.egressChain(a).Name},
	}}
}

// addEgress writes the container's chain. It is emptied first, where an
// attempt before this one had filled it.
func (t *table) addEgress(conn *nftables.Conn, a Attachment) error {
	if len(a.Spec.Egress) == 0 {
		return nil
	}
	chain := conn.AddChain(t.egressChain(a))
	conn.FlushChain(chain)
	for _, rule := range a.Spec.Egress {
		if len(rule.Ports) == 0 {
			t.addEgressRule(conn, chain, egressMatch(rule, nil), rule.Log)
		}
		for _, span := range rule.Ports {
			t.addEgressRule(conn, chain, egressMatch(rule, &span), rule.Log)
		}
	}
	return add(conn, t.egress, t.egressElements(a))
}

// addEgressRule logs in a rule of its own, so that what is too much for the
// log is allowed all the same.
func (t *table) addEgressRule(conn *nftables.Conn, c *nftables.Chain, match [][]expr.Any, log bool) {
	if log {
		t.rule(conn, c, append(slices.Clip(match), []expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: logRate, Unit: expr.LimitTimeSecond, Burst: logRate},
			&expr.Log{Key: 1 << unix.NFTA_LOG_PREFIX, Data: []byte(logPrefix)},
		})...)
	}
	t.rule(conn, c, append(slices.Clip(match), is(accept()))...)
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
		groups = append(groups, protocol(unix.IPPROTO_ICMP), icmp(0, rule.ICMPType), icmp(1, rule.ICMPCode))
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
		if len(a.Spec.Egress) > 0 {
			doomed[t.egressChain(a).Name] = true
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
