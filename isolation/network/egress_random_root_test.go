package network

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

var egressSeed = flag.Uint64("egress.seed", 0, "draw rules from this seed; 0: from the clock")

// oracle says in plain words what the table of a container's rules comes to: for
// each packet it goes through docs/egress.md from the top.
type oracle struct {
	config   Config
	rules    []isolation.EgressRule
	fallback Verdict
}

func (o oracle) passes(p packet) bool {
	to := netip.MustParseAddr(p.to)
	among := func(networks []netip.Prefix) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(to) })
	}
	within := func(network netip.Prefix) bool {
		return slices.ContainsFunc(o.rules, func(r isolation.EgressRule) bool {
			return network.Contains(r.First) && network.Contains(r.Last) && matches(r, p, to)
		})
	}
	switch {
	case o.config.Plan.Pool.Contains(to):
		return within(o.config.Plan.Pool)
	case slices.Contains(o.config.Resolvers, to) && p.port == 53:
		return true
	case Metadata.Contains(to):
		named := slices.DeleteFunc(slices.Clone(o.config.Allowed),
			func(n netip.Prefix) bool { return n.Bits() < Metadata.Bits() })
		return within(Metadata) || among(named)
	case slices.ContainsFunc(o.rules, func(r isolation.EgressRule) bool { return matches(r, p, to) }):
		return true
	case among(o.config.Allowed):
		return true
	case among(o.config.Denied):
		return false
	}
	return o.fallback == Allow
}

func matches(r isolation.EgressRule, p packet, to netip.Addr) bool {
	if to.Less(r.First) || r.Last.Less(to) || r.Protocol != "all" && r.Protocol != p.protocol {
		return false
	}
	if r.Protocol == "icmp" && r.ICMPType >= 0 {
		return r.ICMPType == int(p.kind) && (r.ICMPCode < 0 || r.ICMPCode == int(p.code))
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(s isolation.PortSpan) bool {
		return int(s.First) <= p.port && p.port <= int(s.Last)
	})
}

// What is drawn from: few enough that rules and packets meet.
var (
	drawnAddresses = []string{
		"0.0.0.0", "10.254.0.6", resolver, metadata, "169.254.255.255", internet, neighbour, third, "255.255.255.255",
	}
	sentTo     = []string{internet, neighbour, third, metadata, resolver, "10.254.0.6"}
	drawnPorts = []uint16{1, 53, 80, 81, 8080, 9000, 65535}
	drawnTypes = []int{-1, 8, 13, 15, 17}
)

type drawing struct{ *rand.Rand }

func one[T any](d drawing, from []T) T { return from[d.IntN(len(from))] }

// pair is two of a list in the order of the list, or twice the same.
func pair[T any](d drawing, from []T) (a, b T) {
	i, j := d.IntN(len(from)), d.IntN(len(from))
	return from[min(i, j)], from[max(i, j)]
}

func (d drawing) rule() isolation.EgressRule {
	first, last := pair(d, drawnAddresses)
	if d.IntN(2) == 0 {
		first = last
	}
	r := rangeOf(one(d, []string{"tcp", "tcp", "udp", "udp", "icmp", "all"}), first, last)
	r.Log = d.IntN(4) == 0
	switch r.Protocol {
	case "tcp", "udp":
		for range d.IntN(4) {
			r.Ports = append(r.Ports, span(pair(d, drawnPorts)))
		}
	case "icmp":
		r.ICMPType, r.ICMPCode = one(d, drawnTypes), d.IntN(3)-1
	}
	return r
}

func (d drawing) packet() packet {
	to := one(d, sentTo)
	if to == "10.254.0.6" { // a container's server has one port, and answers no odd thing
		return packet{protocol: one(d, []string{"tcp", "udp"}), to: to, port: 8080}
	}
	port := int(one(d, drawnPorts[1:6]))
	return one(d, []packet{tcp(to, port), tcp(to, port), udp(to, port), oddTo(to),
		icmpTo(to, one(d, drawnTypes[1:]), d.IntN(2))})
}

func (d drawing) networks() (all []netip.Prefix) {
	for range d.IntN(4) {
		address := netip.MustParseAddr(one(d, sentTo))
		all = append(all, netip.PrefixFrom(address, one(d, []int{4, 16, 31, 32})).Masked())
	}
	return all
}

func (d drawing) config() Config {
	c := Config{Plan: testPlan("rando"), Egress: one(d, []Verdict{Allow, Reject}), Denied: d.networks(), Allowed: d.networks()}
	if d.IntN(2) == 0 {
		c.Resolvers = []netip.Addr{netip.MustParseAddr(one(d, []string{third, resolver}))}
	}
	return c
}

// Whatever rules there are, whatever the node denies and allows: the packets that
// pass are those that the oracle lets pass, each really sent.
func TestRandomRulesAllowWhatTheOracleAllows(t *testing.T) {
	seed := cmp.Or(*egressSeed, uint64(time.Now().UnixNano()))
	t.Logf("replay: go test ./isolation/network -count 1 -run %s -egress.seed=%d", t.Name(), seed)
	d := drawing{rand.New(rand.NewPCG(seed, 0))}
	const worlds, lists, packets = 8, 15, 20
	passed := 0
	for number := range worlds {
		config, own := d.config(), one(d, []Verdict{"", Allow, Reject})
		t.Run(fmt.Sprint("world ", number), func(t *testing.T) {
			w := newWorld(t)
			n := w.open(config)
			w.attach(n, mappedTo(1, 61002))
			a := mappedTo(0, 61001)
			a.Spec.Default = string(own)
			r, o := w.ruled(n, a), oracle{config: config, fallback: cmp.Or(own, config.Egress)}
			for range lists {
				o.rules = nil
				for range d.IntN(8) {
					o.rules = append(o.rules, d.rule())
				}
				r.rule(o.rules)
				for range packets {
					p := d.packet()
					got, wrong := r.passes(r.ns, p)
					if got {
						passed++
					}
					if want := o.passes(p); got != want || wrong != "" {
						t.Fatalf("%s: passed %v, want %v; %s\nconfiguration %+v, own default %q, rules %+v",
							p, got, want, wrong, config, own, o.rules)
					}
				}
				must(t, n.forgetConnections([]Attachment{a}))
			}
		})
	}
	t.Logf("%d of %d packets passed", passed, worlds*lists*packets)
}
