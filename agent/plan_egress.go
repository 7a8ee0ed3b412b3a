package agent

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/messaging"
)

// Egress reads rules as Plan does.
func (p *Planner) Egress(rules []messaging.EgressRule) ([]isolation.EgressRule, error) {
	read, err := planEgress(rules)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	return read, nil
}

// planEgress reads the message's rules. Those that are logged go last, so that
// what another rule allows is not logged (wire/dea.md h). It ends at the rule that
// is one too many: it is the node's time.
func planEgress(rules []messaging.EgressRule) ([]isolation.EgressRule, error) {
	var quiet, logged []isolation.EgressRule
	count := 0
	for i, rule := range rules {
		read, err := readEgress(rule)
		if err != nil {
			return nil, fmt.Errorf("egress rule %d: %w", i+1, err)
		}
		if count += max(1, len(read.Ports)); count > network.EgressMax {
			return nil, fmt.Errorf("egress rule %d: with each of their spans of ports, these are more than %d rules",
				i+1, network.EgressMax)
		}
		if read.Log {
			logged = append(logged, read)
		} else {
			quiet = append(quiet, read)
		}
	}
	return append(quiet, logged...), nil
}

func readEgress(rule messaging.EgressRule) (_ isolation.EgressRule, err error) {
	read := isolation.EgressRule{Protocol: rule.Protocol, Log: rule.Log, ICMPType: -1, ICMPCode: -1}
	if read.First, read.Last, err = readDestination(rule.Destination); err != nil {
		return isolation.EgressRule{}, err
	}
	switch rule.Protocol {
	case "tcp", "udp":
		if read.Ports, err = readPorts(rule.Ports); err != nil {
			return isolation.EgressRule{}, err
		}
		return read, nil
	case "icmp":
		for name, value := range map[string]int{"type": rule.Type, "code": rule.Code} {
			if value < -1 || value > 255 {
				return isolation.EgressRule{}, fmt.Errorf("icmp %s %d is not between -1 (any) and 255", name, value)
			}
		}
		read.ICMPType, read.ICMPCode = rule.Type, rule.Code
	case "all":
	default:
		return isolation.EgressRule{}, fmt.Errorf("protocol %q is none of tcp, udp, icmp and all", rule.Protocol)
	}
	if rule.Ports != "" {
		return isolation.EgressRule{}, fmt.Errorf("protocol %s has no ports, but %q is given",
			rule.Protocol, rule.Ports)
	}
	return read, nil
}

// readDestination reads "10.0.0.0/8", "10.0.0.1" or "10.0.0.1-10.0.0.9".
func readDestination(text string) (first, last netip.Addr, err error) {
	refused := fmt.Errorf("destination %q is no IPv4 network, address or range a-b", text)
	text = strings.TrimSpace(text)
	if from, to, isRange := strings.Cut(text, "-"); isRange {
		first, err = netip.ParseAddr(strings.TrimSpace(from))
		if err == nil {
			last, err = netip.ParseAddr(strings.TrimSpace(to))
		}
		if err != nil || !first.Is4() || !last.Is4() || last.Less(first) {
			return netip.Addr{}, netip.Addr{}, refused
		}
		return first, last, nil
	}
	if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
		return address, address, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || !prefix.Addr().Is4() {
		return netip.Addr{}, netip.Addr{}, refused
	}
	prefix = prefix.Masked()
	return prefix.Addr(), lastOf(prefix), nil
}

func lastOf(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(bytes)
}

// readPorts reads "80", "80,443", "8000-9000" or combinations; "" is all.
func readPorts(text string) ([]isolation.PortSpan, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var spans []isolation.PortSpan
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := readPort(from)
		if err != nil {
			return nil, fmt.Errorf("ports %q: %w", text, err)
		}
		last, err := readPort(to)
		if err != nil {
			return nil, fmt.Errorf("ports %q: %w", text, err)
		}
		if last < first {
			return nil, fmt.Errorf("ports %q: %d is above %d", text, first, last)
		}
		spans = append(spans, isolation.PortSpan{First: first, Last: last})
	}
	return spans, nil
}

func readPort(text string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no port", text)
	}
	return uint16(n), nil
}
