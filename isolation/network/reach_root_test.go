package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

func mappedTo(number uint32, host uint16) Attachment {
	return Attachment{Slot: slot.Slot{Number: number, Epoch: 1},
		Spec: isolation.Network{Ports: []isolation.PortMap{{Host: host, Container: 8080}}}}
}

// The matrix of the default configuration: who reaches whom, by what, and how
// everybody else is told no.
func TestWhoReachesWhom(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("matrx"), Loopback: true, Denied: prefixes(third + "/32")})
	a, b := w.attach(n, mappedTo(0, 61001)), w.attach(n, mappedTo(1, 61002))
	const gateway, otherGateway, peer = "10.254.0.1", "10.254.0.5", "10.254.0.6"

	t.Run("outward", func(t *testing.T) {
		w.t = t
		w.check([]attempt{
			{a, "tcp", internet + ":80", "outside to " + uplink}, // masqueraded
			{a, "udp", internet + ":9000", "outside to " + uplink},
			{a, "icmp", internet, "pong"},
			{a, "tcp", internet + ":4444", reset_}, // by itself
			{a, "tcp", metadata + ":80", reset_},
			{a, "udp", metadata + ":9000", forbidden},
			{a, "icmp", metadata, forbidden},
			{a, "tcp", third + ":80", reset_},
			{a, "udp", resolver + ":53", forbidden},
		})
	})
	t.Run("to other containers", func(t *testing.T) {
		w.t = t
		w.check([]attempt{
			{a, "tcp", peer + ":8080", reset_},
			{a, "udp", peer + ":8080", forbidden},
			{a, "icmp", peer, forbidden},
			{a, "tcp", uplink + ":61002", reset_}, // through its mapped port
			{a, "tcp", uplink + ":61001", reset_}, // through one's own
			{a, "tcp", gateway + ":61002", reset_},
			{a, "tcp", "10.254.0.250:8080", reset_}, // nobody has that slot
			{b, "tcp", "10.254.0.2:8080", reset_},
		})
	})
	t.Run("to the node", func(t *testing.T) {
		w.t = t
		w.check([]attempt{
			{a, "tcp", gateway + ":22", reset_},
			{a, "udp", gateway + ":22", forbidden},
			{a, "icmp", gateway, forbidden},
			{a, "tcp", otherGateway + ":22", reset_},
			{a, "tcp", uplink + ":22", reset_},
			{a, "udp", uplink + ":53", forbidden},
			{a, "icmp", uplink, forbidden},
		})
	})
	t.Run("from outside", func(t *testing.T) {
		w.t = t
		w.check([]attempt{
			{w.outside, "tcp", uplink + ":61001", "s0.1 to " + internet}, // with the client's address
			{w.outside, "tcp", uplink + ":61002", "s1.1"},
			{w.outside, "tcp", uplink + ":22", "node"}, // the node's own is not touched
			{w.outside, "icmp", uplink, "pong"},
			{w.outside, "tcp", "10.254.0.2:8080", silence},
			{w.outside, "udp", "10.254.0.2:8080", silence},
			{w.outside, "icmp", "10.254.0.2", silence},
		})
	})
	t.Run("from the node", func(t *testing.T) {
		w.t = t
		w.check([]attempt{
			{nil, "tcp", "127.0.0.1:61001", "s0.1 to " + gateway},
			{nil, "tcp", uplink + ":61001", "s0.1"},
			{nil, "tcp", "10.254.0.2:8080", "s0.1"},
			{nil, "tcp", metadata + ":80", "outside"},
			{nil, "tcp", internet + ":61001", reset_}, // only its own addresses are mapped
		})
	})
}

// A mapped port's client may come from a network that is denied: it has to get
// its answers.
func TestADeniedNetworkMayAsk(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("asker"), Denied: prefixes("198.51.100.0/24")})
	a := w.attach(n, mappedTo(0, 61001))
	w.check([]attempt{
		{w.outside, "tcp", uplink + ":61001", "s0.1"},
		{a, "tcp", internet + ":80", reset_},
	})
}

func TestWithoutLoopbackTheNodeRefuses(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("noloo")})
	w.attach(n, mappedTo(0, 61001))
	w.check([]attempt{
		{nil, "tcp", "127.0.0.1:61001", reset_},
		{nil, "tcp", uplink + ":61001", "s0.1"},
	})
}

func TestResolversPassWhereAllElseIsDenied(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("resol"), Egress: Reject,
		Resolvers: []netip.Addr{netip.MustParseAddr(resolver), netip.MustParseAddr(uplink)}})
	a := w.attach(n, mappedTo(0, 61001))
	w.check([]attempt{
		{a, "udp", resolver + ":53", "outside"},
		{a, "tcp", resolver + ":53", "outside"},
		{a, "tcp", resolver + ":80", reset_},
		{a, "udp", resolver + ":9000", forbidden},
		{a, "udp", metadata + ":53", forbidden},
		{a, "udp", uplink + ":53", "node"}, // a resolver on the node
		{a, "udp", uplink + ":22", forbidden},
	})
}

// Packets with addresses that the container was not given never leave the
// node. That is seen from outside: an answer would go astray in any case.
func TestNobodyPretendsToBeAnother(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("spoof"), Loopback: true})
	a := w.attach(n, mappedTo(0, 61001))
	w.attach(n, mappedTo(1, 61002))
	arrived := w.outside.listen("udp4", neighbour+":9100")
	send := func(as string) {
		must(t, a.enter(func() error {
			conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(as)}, udpAddress(neighbour+":9100"))
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = fmt.Fprint(conn, as)
			return err
		}))
	}

	send("10.254.0.2")
	if got := heard(arrived, whileAnOkIsDue); got != "10.254.0.2" {
		t.Fatalf("the container's own packet: heard %q", got)
	}
	for _, pretended := range []string{"10.254.0.6", "10.254.0.1", "198.51.100.77", uplink} {
		a.give("lo", pretended+"/32")
		send(pretended)
	}
	if got := heard(arrived, patience); got != "" {
		t.Errorf("a packet left as %s", got)
	}
}

func udpAddress(address string) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address))
}

// What connection tracking calls invalid is not masqueraded, so it must not
// leave: here a TCP segment that begins, ends and resets all at once.
func TestNothingLeavesWithThePoolsAddress(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("inval")})
	a := w.attach(n, mappedTo(0, 61001))
	arrived := w.outside.listen("ip4:tcp", neighbour)
	sender := a.listen("ip4:tcp", "10.254.0.2")
	const sourcePort = 40000
	segment := func(flags byte) []byte {
		s := make([]byte, 20)
		binary.BigEndian.PutUint16(s, sourcePort)
		binary.BigEndian.PutUint16(s[2:], 80)
		s[12], s[13] = 5<<4, flags
		return s
	}

	if _, err := sender.WriteTo(segment(0x07), &net.IPAddr{IP: net.ParseIP(neighbour)}); err != nil {
		t.Fatal(err)
	}

	if got := heard(arrived, patience); got != "" {
		t.Errorf("the outside heard %q", got)
	}
	if got := a.reach("tcp", neighbour+":80", whileAnOkIsDue); !strings.HasPrefix(got, "outside") {
		t.Fatal(got)
	}
	if heard(arrived, whileAnOkIsDue) == "" {
		t.Error("the outside doesn't even hear a good connection")
	}
}

// With route_localnet a container could send to the node's 127.0.0.1, had the
// node no rule against it: the container gives up its own and routes 127.0.0.1
// to its gateway.
func TestTheNodesLoopbackIsOutOfReach(t *testing.T) {
	for _, access := range []bool{false, true} {
		t.Run(fmt.Sprint("host access ", access), func(t *testing.T) { loopbackIsOutOfReach(t, access) })
	}
}

func loopbackIsOutOfReach(t *testing.T, access bool) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("loopb"), Loopback: true, HostAccess: access})
	a := w.attach(n, mappedTo(0, 61001))
	lo, err := a.link.LinkByName("lo")
	must(t, err)
	own, err := a.link.AddrList(lo, unix.AF_INET)
	must(t, err)
	must(t, a.link.AddrDel(lo, &own[0]))
	must(t, a.enter(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/conf/"+PeerName+"/route_localnet", []byte("1"), 0)
	}))
	_, loopback, err := net.ParseCIDR("127.0.0.1/32")
	must(t, err)
	must(t, a.link.RouteAdd(&netlink.Route{Dst: loopback, Gw: net.ParseIP("10.254.0.1")}))
	w.check([]attempt{
		{a, "tcp", "127.0.0.1:6000", reset_},
		{a, "tcp", "127.0.0.1:61001", reset_},
		{a, "udp", "127.0.0.1:6000", forbidden},
	})
}

func TestIPv6GoesNowhere(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("ipsix")})
	s := mappedTo(0, 61001)
	a := w.attach(n, s)
	name := n.config.Plan.Link(s.Slot)
	link, err := w.node.LinkByName(name)
	must(t, err)
	addresses, err := w.node.AddrList(link, unix.AF_INET6)
	if err != nil || len(addresses) != 0 {
		t.Errorf("the host end has IPv6 addresses %v, %v", addresses, err)
	}

	// Even with addresses, given by somebody's mistake.
	giveAddresses(t, w.node, name, "fd01::1/64")
	a.give(PeerName, "fd01::2/64")
	a.route("fd01::1")
	w.check([]attempt{
		{a, "tcp", "[fd01::1]:22", silence},
		{a, "tcp", "[fd00::1]:80", silence},
		{a, "tcp", "[fd00::fe]:22", silence},
		{nil, "tcp", "[fd01::2]:8080", silence},
	})
}

func rangeOf(protocol, first, last string, ports ...isolation.PortSpan) isolation.EgressRule {
	return isolation.EgressRule{Protocol: protocol, Ports: ports, ICMPType: -1, ICMPCode: -1,
		First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

func span(first, last uint16) isolation.PortSpan { return isolation.PortSpan{First: first, Last: last} }

// A container's own rules where everything else is rejected, and a neighbour
// that has none.
func TestEgressRulesAllowExactlyWhatTheySay(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("egres"), Egress: Reject})
	attachment := mappedTo(0, 61001)
	echo := rangeOf("icmp", internet, internet)
	echo.ICMPType, echo.ICMPCode = 8, 0
	logged := rangeOf("udp", internet, neighbour, span(9000, 9000))
	logged.Log = true
	attachment.Spec.Egress = []isolation.EgressRule{
		rangeOf("tcp", internet, neighbour, span(80, 81), span(8080, 8080)),
		logged, echo,
		rangeOf("icmp", neighbour, neighbour),
		rangeOf("all", third, third),
	}
	a, bare := w.attach(n, attachment), w.attach(n, mappedTo(1, 61002))
	w.check([]attempt{
		{a, "tcp", internet + ":80", "outside"},
		{a, "tcp", neighbour + ":81", "outside"},
		{a, "tcp", internet + ":8080", "outside"},
		{a, "tcp", internet + ":82", reset_},
		{a, "tcp", internet + ":53", reset_},
		{a, "udp", internet + ":80", forbidden},
		{a, "udp", internet + ":9000", "outside"},
		{a, "icmp", internet, "pong"},
		{a, "icmp-timestamp", internet, forbidden},
		{a, "icmp-timestamp", neighbour, "pong"},
		{a, "tcp", third + ":53", "outside"},
		{a, "udp", third + ":9000", "outside"},
		{a, "icmp", third, "pong"},
		{a, "tcp", metadata + ":80", reset_},
		{bare, "tcp", internet + ":80", reset_},
		{bare, "icmp", internet, forbidden},
		{w.outside, "tcp", uplink + ":61002", "s1.1"},
	})
}
