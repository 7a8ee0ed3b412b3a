package network

import (
	"errors"
	"fmt"
	"slices"

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

// egressRules are the kernel's for one of ours: one for each span of ports. Only
// what begins a connection comes this far.
func egressRules(rule isolation.EgressRule, logging string) (all [][][]expr.Any) {
	verdict := is(accept())
	if rule.Log {
		verdict = is(goTo(logging))
	}
	spans := []*isolation.PortSpan{nil}
	if len(rule.Ports) > 0 {
		spans = nil
	}
	for i := range rule.Ports {
		spans = append(spans, &rule.Ports[i])
	}
	for _, span := range spans {
		all = append(all, append(egressMatch(rule, span), verdict))
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
