package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

func prefixes(text ...string) (list []netip.Prefix) {
	for _, p := range text {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// The kernel takes no overlapping ranges, the configuration may well have them.
func TestDeniedNetworksDoNotOverlap(t *testing.T) {
	for _, c := range []struct{ denied, want []string }{
		{nil, nil},
		{[]string{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"}, []string{"10.0.0.0/8"}},
		{[]string{"169.254.169.254/32", "10.254.0.7/32"}, []string{"169.254.169.254/32", "10.254.0.7/32"}},
		{[]string{"172.16.9.9/12"}, []string{"172.16.0.0/12"}},
		{[]string{"10.0.0.0/8", "0.0.0.0/0"}, []string{"0.0.0.0/0"}},
	} {
		got := disjoint(prefixes(c.denied...))
		if !slices.Equal(got, prefixes(c.want...)) {
			t.Errorf("%v gives %v, want %v", c.denied, got, c.want)
		}
	}
}

func TestIntervalsEndWhereTheNextAddressBegins(t *testing.T) {
	var got []string
	for _, e := range intervals(prefixes("10.0.0.0/8", "255.0.0.0/8", "1.2.3.4/32")) {
		address, _ := netip.AddrFromSlice(e.Key)
		if e.IntervalEnd {
			got = append(got, "before "+address.String())
		} else {
			got = append(got, "from "+address.String())
		}
	}
	// The last address of all has none behind it.
	want := []string{"from 10.0.0.0", "before 11.0.0.0", "from 255.0.0.0", "from 1.2.3.4", "before 1.2.3.5"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestAWrongConfigurationIsNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"tag":      func(c *Config) { c.Plan.Tag = "" },
		"verdict":  func(c *Config) { c.Egress = "maybe" },
		"fd00::/8": func(c *Config) { c.Denied = prefixes("fd00::/8") },
		"allowed":  func(c *Config) { c.Allowed = prefixes("fd00::/8") },
		"resolver": func(c *Config) { c.Resolvers = []netip.Addr{netip.MustParseAddr("::1")} },
		"mtu":      func(c *Config) { c.MTU = 67 },
	} {
		config := Config{Plan: testPlan("wrong"), Egress: Allow}
		change(&config)
		if _, _, err := Open(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

func TestAWrongAttachmentIsNamedAndChangesNothing(t *testing.T) {
	rule := func(change func(*isolation.EgressRule)) func(*Attachment) {
		return func(a *Attachment) {
			r := isolation.EgressRule{Protocol: "tcp", First: netip.MustParseAddr("1.2.3.4"),
				Last: netip.MustParseAddr("1.2.3.5"), ICMPType: -1, ICMPCode: -1}
			change(&r)
			a.Spec.Egress = []isolation.EgressRule{r}
		}
	}
	n := &Network{config: Config{Plan: testPlan("wrong")}}
	for _, c := range []struct {
		want   string
		change func(*Attachment)
	}{
		{"slot 64", func(a *Attachment) { a.Slot.Number = 64 }},
		{"65 mapped ports", func(a *Attachment) { a.Spec.Ports = make([]isolation.PortMap, PortsMax+1) }},
		{"mapped port 0 to 1", func(a *Attachment) { a.Spec.Ports = []isolation.PortMap{{Host: 0, Container: 1}} }},
		{"mapped twice", func(a *Attachment) {
			a.Spec.Ports = []isolation.PortMap{{Host: 1, Container: 1}, {Host: 1, Container: 2}}
		}},
		{"egress rule 1: protocol \"sctp\"", rule(func(r *isolation.EgressRule) { r.Protocol = "sctp" })},
		{"range of IPv4", rule(func(r *isolation.EgressRule) { r.First = netip.Addr{} })},
		{"range of IPv4", rule(func(r *isolation.EgressRule) { r.First = netip.MustParseAddr("1.2.3.6") })},
		{"range of IPv4", rule(func(r *isolation.EgressRule) { r.Last = netip.MustParseAddr("fd00::1") })},
		{"range of ports", rule(func(r *isolation.EgressRule) { r.Ports = []isolation.PortSpan{span(2, 1)} })},
		{"has no ports", rule(func(r *isolation.EgressRule) {
			r.Protocol, r.Ports = "icmp", []isolation.PortSpan{span(1, 1)}
		})},
		{"icmp type", rule(func(r *isolation.EgressRule) { r.Protocol, r.ICMPType = "icmp", 256 })},
		{"default verdict \"maybe\"", func(a *Attachment) { a.Spec.Default = "maybe" }},
		{"burst", func(a *Attachment) { a.Bandwidth = isolation.Bandwidth{Rate: 1, Burst: 1 << 32} }},
		{"name \"xx", func(a *Attachment) { a.Name = strings.Repeat("x", logNameMax+1) }},
		{"1001 spans", rule(func(r *isolation.EgressRule) { r.Ports = make([]isolation.PortSpan, EgressMax+1) })},
	} {
		a := Attachment{Slot: slot.Slot{Number: 63, Epoch: 1}}
		if err := n.Vet(a); err != nil {
			t.Fatal(err)
		}
		c.change(&a)
		if err := n.Vet(a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want one with %q", err, c.want)
		}
	}
}

// A message's list of elements is an attribute, whose length has 16 bits.
func TestALongListTakesSeveralMessages(t *testing.T) {
	table := newTable(Config{Plan: testPlan("chunk")})
	var tenants []nftables.SetElement
	for i := range uint32(elementsMax) {
		tenants = append(tenants, table.tenant(slot.Slot{Number: i}))
	}
	if size := len(tenants) * (len(tenants[0].Key) + 100); size > 1<<16 {
		t.Errorf("a full message may have %d bytes", size)
	}
}
