package network

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// base is a chain that hangs on one of the kernel's hooks.
type base struct {
	name     string
	hook     *nftables.ChainHook
	kind     nftables.ChainType
	priority *nftables.ChainPriority
}

// The table's own chains, beside those of the containers with egress rules.
var (
	spoofing = base{"prerouting", nftables.ChainHookPrerouting, filtering, nftables.ChainPriorityRaw}
	arriving = base{"nat_prerouting", nftables.ChainHookPrerouting, translating, nftables.ChainPriorityNATDest}
	leaving  = base{"nat_output", nftables.ChainHookOutput, translating, nftables.ChainPriorityNATDest}
	input    = base{"input", nftables.ChainHookInput, filtering, nftables.ChainPriorityFilter}
	output   = base{"output", nftables.ChainHookOutput, filtering, nftables.ChainPriorityFilter}
	forward  = base{"forward", nftables.ChainHookForward, filtering, nftables.ChainPriorityFilter}
	source   = base{"postrouting", nftables.ChainHookPostrouting, translating, nftables.ChainPriorityNATSource}
)

const (
	filtering   = nftables.ChainTypeFilter
	translating = nftables.ChainTypeNAT
)

// hookCount is how many of them there are.
const hookCount = 7

// The chains that those above go to.
const (
	refusal = "refuse"
	fromBox = "from_container"
	toBox   = "to_container"
)

var loopbackNet = netip.MustParsePrefix("127.0.0.0/8")

// addRules writes the static rules; doc.go has them in words. A packet that is
// none of ours passes one comparison in each hook.
func (t *table) addRules(conn *nftables.Conn) {
	// Chains come before the rules that name them.
	refuse, outward, inward := t.chain(conn, refusal), t.chain(conn, fromBox), t.chain(conn, toBox)
	t.addRefusal(conn, refuse)
	t.addSpoofing(conn)
	t.addPorts(conn, arriving)
	t.addPorts(conn, leaving)
	t.addInput(conn)
	t.addOutput(conn)
	t.addOutward(conn, outward)
	t.addInward(conn, inward)
	c := t.base(conn, forward)
	t.rule(conn, c, t.fromOurs(), is(goTo(fromBox)))
	t.rule(conn, c, t.toOurs(), is(goTo(toBox)))
	t.addMasquerade(conn)
}

// addRefusal answers, so that nobody waits for a time-out: TCP by a reset, the
// rest by "administratively prohibited".
func (t *table) addRefusal(conn *nftables.Conn, c *nftables.Chain) {
	t.rule(conn, c, protocol(unix.IPPROTO_TCP), is(reset()))
	t.rule(conn, c, is(prohibited()))
}

// addSpoofing drops without an answer: an answer would go to whom the sender
// pretends to be.
func (t *table) addSpoofing(conn *nftables.Conn) {
	c := t.base(conn, spoofing)
	t.rule(conn, c, t.notFromOurs(), is(accept()))
	t.rule(conn, c, ipv6(), is(drop()))
	t.rule(conn, c, linkAndSource(), without(t.tenants), is(drop()))
}

// addPorts translates connections to the node into ones to the container that
// has the port. One that rests is left to the node's own stack, which refuses.
func (t *table) addPorts(conn *nftables.Conn, where base) {
	c := t.base(conn, where)
	if where.name == leaving.name && !t.config.Loopback {
		t.rule(conn, c, to(loopbackNet), is(accept()))
	}
	toNode := slices.Concat(family(unix.NFPROTO_IPV4), protocol(unix.IPPROTO_TCP), localDestination(),
		is(destinationPort()))
	t.rule(conn, c, toNode, within(t.resting), is(accept()))
	t.rule(conn, c, toNode, translateBy(t.ports))
}

// addInput keeps containers from the node itself, by whatever address.
func (t *table) addInput(conn *nftables.Conn) {
	c := t.base(conn, input)
	t.rule(conn, c, t.notFromOurs(), is(accept()))
	t.rule(conn, c, established(), is(accept()))
	t.allowResolvers(conn, c)
	if t.config.HostAccess {
		for _, p := range append(slices.Clone(t.config.Denied), Metadata, loopbackNet) {
			t.rule(conn, c, to(p), is(goTo(refusal)))
		}
		t.rule(conn, c, is(accept()))
	}
	t.rule(conn, c, is(goTo(refusal)))
}

// addOutput keeps the node's own IPv6 off the links.
func (t *table) addOutput(conn *nftables.Conn) {
	t.rule(conn, t.base(conn, output), t.toOurs(), ipv6(), is(drop()))
}

// addOutward is for what containers send beyond the node. Established comes
// first: a mapped port's answer may go to a network that is denied.
func (t *table) addOutward(conn *nftables.Conn, c *nftables.Chain) {
	t.rule(conn, c, established(), is(accept()))
	// What connection tracking can make nothing of is not translated either,
	// and would leave the node with the pool's address.
	t.rule(conn, c, invalid(), is(drop()))
	t.rule(conn, c, t.toOurs(), link(), verdictOf(t.nearby))
	t.rule(conn, c, t.toOurs(), is(goTo(refusal)))
	t.rule(conn, c, to(t.config.Plan.Pool), is(goTo(refusal))) // of a slot that nobody has
	t.allowResolvers(conn, c)
	t.addLinkLocal(conn, c)
	t.rule(conn, c, link(), verdictOf(t.egress))
	t.rule(conn, c, is(ipv4(destinationOffset, reg1)), within(t.allowed), is(accept()))
	t.rule(conn, c, is(ipv4(destinationOffset, reg1)), within(t.denied), is(goTo(refusal)))
	t.rule(conn, c, link(), verdictOf(t.defaults))
	if t.config.Egress == Allow {
		t.rule(conn, c, is(accept()))
	}
	t.rule(conn, c, is(goTo(refusal)))
}

// addLinkLocal refuses link-local addresses but where a rule, or what the node
// allows to all, speaks of nothing else: whoever allows all the world means the
// world, not the node's credentials.
func (t *table) addLinkLocal(conn *nftables.Conn, c *nftables.Chain) {
	t.rule(conn, c, to(Metadata), link(), verdictOf(t.local))
	for _, p := range t.config.Allowed {
		if Metadata.Contains(p.Addr()) && p.Bits() >= Metadata.Bits() {
			t.rule(conn, c, to(p), is(accept()))
		}
	}
	t.rule(conn, c, to(Metadata), is(goTo(refusal)))
}

// addInward is for what comes to containers from beyond the node: answers and
// mapped ports. Nobody else has reason to know that they exist.
func (t *table) addInward(conn *nftables.Conn, c *nftables.Chain) {
	t.rule(conn, c, ipv6(), is(drop()))
	t.rule(conn, c, established(), is(accept()))
	t.rule(conn, c, mapped(), is(accept()))
	t.rule(conn, c, is(drop()))
}

func (t *table) allowResolvers(conn *nftables.Conn, c *nftables.Chain) {
	for _, p := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		t.rule(conn, c, is(ipv4(destinationOffset, reg1)), within(t.resolvers), protocol(p), toDNS(), is(accept()))
	}
}

func (t *table) addMasquerade(conn *nftables.Conn) {
	c := t.base(conn, source)
	v4 := family(unix.NFPROTO_IPV4)
	t.rule(conn, c, v4, from(t.config.Plan.Pool), t.notToOurs(), is(masquerade()))
	// The container could not answer to 127.0.0.1, which is its own.
	t.rule(conn, c, v4, from(loopbackNet), t.toOurs(), is(masquerade()))
}
