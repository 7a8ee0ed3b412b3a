package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// packet is one that a container sends, beginning something new.
type packet struct {
	protocol   string // tcp, udp, icmp, or the number of another
	to         string
	port       int
	kind, code byte // of icmp
}

func (p packet) String() string {
	switch p.protocol {
	case "icmp":
		return fmt.Sprintf("icmp %d/%d to %s", p.kind, p.code, p.to)
	case "tcp", "udp":
		return fmt.Sprintf("%s to %s:%d", p.protocol, p.to, p.port)
	}
	return fmt.Sprintf("protocol %s to %s", p.protocol, p.to)
}

func tcp(to string, port int) packet          { return packet{protocol: "tcp", to: to, port: port} }
func udp(to string, port int) packet          { return packet{protocol: "udp", to: to, port: port} }
func icmpTo(to string, kind, code int) packet { return packet{"icmp", to, 0, byte(kind), byte(code)} }

// odd is of a protocol that no rule can name (RFC 3692 keeps it for experiments).
const odd = "253"

func oddTo(to string) packet { return packet{protocol: odd, to: to} }

// gazer sees what arrives outside, whatever becomes of it there.
type gazer struct {
	icmp, other net.PacketConn
}

func (w *world) gaze() gazer {
	return gazer{w.outside.listen("ip4:icmp", "0.0.0.0"), w.outside.listen("ip4:"+odd, "0.0.0.0")}
}

// passes says whether a packet arrives outside. One that doesn't must be refused
// at once, in the way that its protocol has; wrong is anything else.
func (g gazer) passes(from *namespace, p packet) (passed bool, wrong string) {
	var got string
	switch p.protocol {
	case "tcp", "udp":
		got = from.reach(p.protocol, fmt.Sprintf("%s:%d", p.to, p.port), whileAnOkIsDue)
		if strings.HasPrefix(got, "outside to "+uplink) || strings.HasPrefix(got, "s1.1 to ") {
			return true, ""
		}
	default:
		seen := g.icmp
		if p.protocol != "icmp" {
			seen = g.other
		}
		var arrived bool
		if got, arrived = from.throw(p, seen); arrived {
			return true, ""
		}
	}
	refused := map[string]string{"tcp": reset_, "udp": forbidden}
	if want := refused[p.protocol]; want != "" && got != want || want == "" && got != forbidden {
		return false, fmt.Sprintf("%s came to %q, neither passed nor refused", p, got)
	}
	return false, ""
}

// mark numbers what is thrown, so that nothing late is taken for the next.
var mark uint32

// throw sends a packet of its own making and says whether it came to where seen
// looks, or else what was heard of it.
func (ns *namespace) throw(p packet, seen net.PacketConn) (outcome string, arrived bool) {
	mark++
	body := p.bytes(mark)
	errs := ns.listen("ip4:icmp", "0.0.0.0")
	defer errs.Close()
	err := ns.enter(func() error {
		conn, err := net.Dial("ip4:"+p.protocol, p.to)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(body)
		return err
	})
	if err != nil {
		return err.Error(), false
	}
	told := make(chan string, 2)
	look := func(conn net.PacketConn, what string, sees func([]byte) bool) {
		buffer := make([]byte, 512)
		for {
			n, _, err := conn.ReadFrom(buffer)
			if err != nil {
				told <- ""
				return
			}
			if sees(buffer[:n]) {
				told <- what
				return
			}
		}
	}
	ours := func(b []byte) bool {
		return len(b) >= len(body) && string(b[marked:len(body)]) == string(body[marked:])
	}
	for _, conn := range []net.PacketConn{seen, errs} {
		conn.SetReadDeadline(time.Now().Add(whileAnOkIsDue))
	}
	go look(seen, "arrived", ours)
	go look(errs, forbidden, func(b []byte) bool { return len(b) >= 8 && b[0] == 3 && b[1] == 13 })
	first := <-told
	for _, conn := range []net.PacketConn{seen, errs} {
		conn.SetReadDeadline(time.Unix(1, 0))
	}
	<-told
	if first == "" {
		first = silence
	}
	return first, first == "arrived"
}

// marked is where the mark is in a packet that was thrown.
const marked = 8

// bytes are the packet without its IP header: as long as the longest ICMP query.
func (p packet) bytes(mark uint32) []byte {
	b := make([]byte, 20)
	b[0], b[1] = p.kind, p.code
	binary.BigEndian.PutUint16(b[4:], uint16(mark)) // a query of its own to connection tracking
	binary.BigEndian.PutUint32(b[marked:], mark)
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum>>16 + sum)
}

func icmpRule(first, last string, kind, code int) isolation.EgressRule {
	r := rangeOf("icmp", first, last)
	r.ICMPType, r.ICMPCode = kind, code
	return r
}

func logged(r isolation.EgressRule) isolation.EgressRule { r.Log = true; return r }

// ruled is a container whose rules are replaced.
type ruled struct {
	*world
	gazer
	n  *Network
	a  Attachment
	ns *namespace
}

func (w *world) ruled(n *Network, a Attachment) *ruled {
	w.t.Helper()
	return &ruled{w, w.gaze(), n, a, w.attach(n, a)}
}

// rule gives the container these rules and no others. What was allowed before is
// forgotten: it is asked what begins now.
func (r *ruled) rule(rules []isolation.EgressRule) {
	r.t.Helper()
	r.a.Spec.Egress = rules
	must(r.t, r.n.Restrict(r.a))
	must(r.t, r.n.forgetConnections([]Attachment{r.a}))
}

func (r *ruled) judge(p packet, want bool) {
	r.t.Helper()
	passed, wrong := r.passes(r.ns, p)
	switch {
	case wrong != "":
		r.t.Error(wrong)
	case passed != want:
		r.t.Errorf("%s: passed %v, want %v", p, passed, want)
	}
}

func rules(all ...isolation.EgressRule) []isolation.EgressRule { return all }

// lastAddress is the last of IPv4's.
const lastAddress = "255.255.255.255"

// egressTable is that of wire/dea.md (h): rules, what they let pass, and what is
// just beside it.
var egressTable = []struct {
	name    string
	rules   []isolation.EgressRule
	allowed []packet
	refused []packet
}{
	{"no rule", nil, nil, []packet{tcp(internet, 80), udp(internet, 9000), icmpTo(internet, 8, 0), oddTo(internet)}},
	{"tcp, all ports", rules(rangeOf("tcp", internet, internet)),
		[]packet{tcp(internet, 53), tcp(internet, 80), tcp(internet, 9000)},
		[]packet{udp(internet, 80), icmpTo(internet, 8, 0), oddTo(internet), tcp(neighbour, 80)}},
	{"udp, all ports", rules(rangeOf("udp", internet, internet)),
		[]packet{udp(internet, 53), udp(internet, 80), udp(internet, 9000)},
		[]packet{tcp(internet, 80), icmpTo(internet, 8, 0), oddTo(internet), udp(neighbour, 80)}},
	{"all", rules(rangeOf("all", internet, internet)),
		[]packet{tcp(internet, 80), udp(internet, 80), icmpTo(internet, 8, 0), icmpTo(internet, 17, 0), oddTo(internet)},
		[]packet{tcp(neighbour, 80), udp(neighbour, 80), icmpTo(neighbour, 8, 0), oddTo(neighbour)}},
	{"one port", rules(rangeOf("tcp", internet, internet, span(80, 80))),
		[]packet{tcp(internet, 80)}, []packet{tcp(internet, 81), udp(internet, 80)}},
	{"ports one by one", rules(rangeOf("udp", internet, internet, span(53, 53), span(9000, 9000))),
		[]packet{udp(internet, 53), udp(internet, 9000)}, []packet{udp(internet, 80), tcp(internet, 53)}},
	{"a range of ports", rules(rangeOf("tcp", internet, internet, span(80, 81))),
		[]packet{tcp(internet, 80), tcp(internet, 81)}, []packet{tcp(internet, 53), tcp(internet, 8080)}},
	{"ranges and ports", rules(rangeOf("tcp", internet, internet, span(53, 53), span(81, 8079), span(9000, 65535))),
		[]packet{tcp(internet, 53), tcp(internet, 81), tcp(internet, 9000)},
		[]packet{tcp(internet, 80), tcp(internet, 8080)}},
	{"ranges that overlap", rules(rangeOf("tcp", internet, internet, span(1, 80), span(79, 81), span(80, 80))),
		[]packet{tcp(internet, 53), tcp(internet, 80), tcp(internet, 81)}, []packet{tcp(internet, 8080)}},
	{"a range of addresses", rules(rangeOf("all", internet, neighbour)),
		[]packet{tcp(internet, 80), udp(neighbour, 80)}, []packet{tcp(third, 80), udp(third, 80), oddTo(third)}},
	{"a network", rules(rangeOf("tcp", "198.51.100.2", "198.51.100.3")), // /31
		[]packet{tcp(neighbour, 80), tcp(third, 80)}, []packet{tcp(internet, 80)}},
	{"icmp, all types", rules(icmpRule(internet, internet, -1, -1)),
		[]packet{icmpTo(internet, 8, 0), icmpTo(internet, 13, 0), icmpTo(internet, 15, 0), icmpTo(internet, 17, 0)},
		[]packet{icmpTo(neighbour, 8, 0), tcp(internet, 80), udp(internet, 80), oddTo(internet)}},
	{"an icmp type, any code", rules(icmpRule(internet, internet, 8, -1)),
		[]packet{icmpTo(internet, 8, 0), icmpTo(internet, 8, 3)},
		[]packet{icmpTo(internet, 13, 0), icmpTo(internet, 15, 0), icmpTo(internet, 17, 0), icmpTo(neighbour, 8, 0)}},
	{"an icmp type and code", rules(icmpRule(internet, internet, 13, 2)),
		[]packet{icmpTo(internet, 13, 2)}, []packet{icmpTo(internet, 13, 0), icmpTo(internet, 8, 2)}},
	{"icmp type 15", rules(icmpRule(internet, internet, 15, 0)),
		[]packet{icmpTo(internet, 15, 0)}, []packet{icmpTo(internet, 17, 0), icmpTo(internet, 15, 1)}},
	{"icmp type 17", rules(icmpRule(internet, internet, 17, 0)),
		[]packet{icmpTo(internet, 17, 0)}, []packet{icmpTo(internet, 15, 0), icmpTo(internet, 8, 0)}},
	{"several rules", rules(rangeOf("tcp", internet, internet, span(80, 80)), icmpRule(third, third, 8, 0),
		logged(rangeOf("udp", neighbour, neighbour, span(9000, 9000)))),
		[]packet{tcp(internet, 80), icmpTo(third, 8, 0), udp(neighbour, 9000)},
		[]packet{tcp(third, 80), icmpTo(internet, 8, 0), udp(neighbour, 80), tcp(neighbour, 9000)}},
	{"logged", rules(logged(rangeOf("tcp", internet, internet, span(80, 81), span(9000, 9000)))),
		[]packet{tcp(internet, 80), tcp(internet, 81), tcp(internet, 9000)}, []packet{tcp(internet, 53), udp(internet, 80)}},
	{"all the world", rules(rangeOf("all", "0.0.0.0", lastAddress)),
		[]packet{tcp(internet, 80), udp(third, 9000), icmpTo(neighbour, 8, 0), oddTo(third)},
		[]packet{tcp(metadata, 80), udp(metadata, 9000), icmpTo(metadata, 8, 0), // doesn't mean these
			tcp("10.254.0.6", 8080), tcp("10.254.0.250", 80), tcp("10.254.0.1", 22), tcp(uplink, 22), udp(uplink, 53)}},
	{"more than link-local", rules(rangeOf("all", "169.253.255.255", "169.254.255.255")),
		nil, []packet{tcp(metadata, 80), tcp(internet, 80)}},
	{"the metadata address by name", rules(rangeOf("tcp", metadata, metadata, span(80, 80))),
		[]packet{tcp(metadata, 80)},
		[]packet{tcp(metadata, 81), udp(metadata, 80), icmpTo(metadata, 8, 0), tcp(internet, 80), tcp(resolver, 80)}},
	{"the metadata address and the world",
		rules(rangeOf("all", "0.0.0.0", lastAddress), rangeOf("udp", metadata, metadata)),
		[]packet{udp(metadata, 9000), tcp(internet, 80)}, []packet{tcp(metadata, 80)}},
}

// What each rule of the table allows is seen to pass, and what is just beside it to
// be refused, on one living container whose rules are replaced.
func TestEachRuleAllowsWhatItSaysAndNothingBeside(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("table"), Egress: Reject})
	w.attach(n, mappedTo(1, 61002)) // somebody to be kept from
	r := w.ruled(n, mappedTo(0, 61001))
	for _, c := range egressTable {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.rule(c.rules)
			for _, p := range c.allowed {
				r.judge(p, true)
			}
			for _, p := range c.refused {
				r.judge(p, false)
			}
		})
	}
}

// The order of the node's networks and a container's rules, each seen to win over
// what stands below it.
func TestWhatIsLookedAtFirstDecides(t *testing.T) {
	w := newWorld(t)
	config := Config{
		Plan: testPlan("order"), Egress: Allow, Resolvers: []netip.Addr{netip.MustParseAddr(third)},
		Denied:  prefixes("198.51.100.2/31", "169.254.0.0/16"), // neighbour and third
		Allowed: prefixes(neighbour+"/32", "0.0.0.0/5"),
	}
	n := w.open(config)
	r := w.ruled(n, mappedTo(0, 61001))
	check := func(rules []isolation.EgressRule, allowed, refused []packet) {
		t.Helper()
		r.rule(rules)
		for _, p := range allowed {
			r.judge(p, true)
		}
		for _, p := range refused {
			r.judge(p, false)
		}
	}
	check(nil,
		[]packet{tcp(third, 53), udp(third, 53), // the resolver's
			tcp(neighbour, 80), icmpTo(neighbour, 8, 0), // allowed, though denied
			tcp(internet, 80)}, // the default
		[]packet{tcp(third, 80), icmpTo(third, 8, 0), // denied
			tcp(metadata, 80), udp(resolver, 53)})
	check(rules(rangeOf("tcp", third, third, span(80, 80)), rangeOf("udp", metadata, metadata)),
		[]packet{tcp(third, 80), tcp(third, 53), udp(metadata, 80)}, // rules, though denied
		[]packet{tcp(third, 81), udp(third, 80), tcp(metadata, 80)})
}

// What the node allows to all may be link-local too, where it says just that.
func TestTheNodeAllowsTheMetadataAddressByName(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("alloc"), Egress: Reject, Allowed: prefixes("168.0.0.0/7", resolver+"/32")})
	r := w.ruled(n, mappedTo(0, 61001))
	r.judge(tcp(resolver, 80), true)
	r.judge(icmpTo(resolver, 8, 0), true)
	r.judge(tcp(metadata, 80), false)
	r.judge(tcp(internet, 80), false)
}
