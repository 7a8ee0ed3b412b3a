package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"github.com/deacon-agent/deacon/isolation"
)

// What changes of a container while it lives.

func TestAPortIsMappedWhileTheContainerLives(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("mapit"), Loopback: true})
	a := mappedTo(0, 61001)
	ns := w.attach(n, a)
	w.attach(n, mappedTo(1, 61002))
	w.check([]attempt{{w.outside, "tcp", uplink + ":61003", reset_}})

	port := isolation.PortMap{Host: 61003, Container: 8080}
	must(t, n.Map(a, port))
	must(t, n.Map(a, port))
	must(t, n.Map(a, isolation.PortMap{Host: 8080, Container: 8080}))

	w.check([]attempt{
		{w.outside, "tcp", uplink + ":61003", "s0.1 to " + internet},
		{nil, "tcp", uplink + ":61003", "s0.1"},
		{nil, "tcp", "127.0.0.1:61003", "s0.1"},
		{w.outside, "tcp", uplink + ":61001", "s0.1"},
		{ns, "tcp", internet + ":8080", "outside"}, // and not caught on its way out
	})
	for _, taken := range []isolation.PortMap{{Host: 61002, Container: 8080}, {Host: 61003, Container: 9090}} {
		err := n.Map(a, taken)
		if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), fmt.Sprint("taken: ", taken.Host)) {
			t.Errorf("port %d: error is %v, want ErrPortTaken", taken.Host, err)
		}
	}
	w.check([]attempt{{w.outside, "tcp", uplink + ":61002", "s1.1"}})
	if err := n.Map(a, isolation.PortMap{Host: 61004}); err == nil || errors.Is(err, ErrPortTaken) {
		t.Errorf("port 0 of the container: %v", err)
	}
}

// A port that two records claim is the one's to whom it leads: the other was
// never told that it got it.
func TestADisputedPortStaysWhereItLeads(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("dispu")})
	a, b := mappedTo(0, 61001), mappedTo(1, 61002)
	w.attach(n, a)
	w.attach(n, b)
	claimed := mappedTo(0, 61001)
	claimed.Spec.Ports = append(claimed.Spec.Ports, isolation.PortMap{Host: 61002, Container: 8080})

	settle := func() {
		t.Helper()
		settled, err := n.Settle([]Attachment{claimed, b})
		must(t, err)
		must(t, n.Restore(settled))
	}
	settle()
	w.check([]attempt{
		{w.outside, "tcp", uplink + ":61001", "s0.1"},
		{w.outside, "tcp", uplink + ":61002", "s1.1"},
	})
	must(t, n.Remove()) // and when nothing is left to see that by
	settle()
	w.check([]attempt{{w.outside, "tcp", uplink + ":61002", "s0.1"}})
	if len(claimed.Spec.Ports) != 2 {
		t.Errorf("the caller's own record was changed: %v", claimed.Spec.Ports)
	}
}

// A container's own default, whatever the node's is, and what the node allows
// to all.
func TestAContainersDefaultBeatsTheNodes(t *testing.T) {
	for node, own := range map[Verdict]Verdict{Allow: Reject, Reject: Allow} {
		t.Run(string(own), func(t *testing.T) {
			w := newWorld(t)
			n := w.open(Config{Plan: testPlan("defau"), Egress: node,
				Allowed: prefixes(neighbour + "/32"), Denied: prefixes(third + "/32")})
			a := mappedTo(0, 61001)
			a.Spec.Default = string(own)
			strict, free := w.attach(n, a), w.attach(n, mappedTo(1, 61002))
			if own == Allow {
				strict, free = free, strict
			}
			check := func() {
				t.Helper()
				w.check([]attempt{
					{strict, "tcp", internet + ":80", reset_},
					{strict, "udp", internet + ":9000", forbidden},
					{strict, "icmp", internet, forbidden},
					{strict, "tcp", neighbour + ":80", "outside"},
					{strict, "icmp", neighbour, "pong"},
					{strict, "tcp", metadata + ":80", reset_},
					{strict, "tcp", "10.254.0.1:22", reset_},
					{strict, "tcp", uplink + ":22", reset_},
					{free, "tcp", internet + ":80", "outside"},
					{free, "icmp", neighbour, "pong"},
					{free, "tcp", third + ":80", reset_},
					{free, "tcp", metadata + ":80", reset_},
				})
			}
			check()
			must(t, n.Restore([]Attachment{a, mappedTo(1, 61002)}))
			check()
			must(t, n.deletions.run(n.table.expel([]Attachment{a})))
			if left := w.elements(n.table.defaults); len(left) != 0 {
				t.Errorf("%d defaults are left", len(left))
			}
		})
	}
}

func TestTheNodeIsReachedWhereItLetsIn(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("hosta"), HostAccess: true, Loopback: true, Egress: Reject})
	a := w.attach(n, mappedTo(0, 61001))
	w.attach(n, mappedTo(1, 61002))
	w.check([]attempt{
		{a, "tcp", "10.254.0.1:22", "node"},
		{a, "tcp", uplink + ":22", "node"},
		{a, "udp", uplink + ":53", "node"},
		{a, "icmp", uplink, "pong"},
		{a, "tcp", internet + ":80", reset_},
		{a, "tcp", "10.254.0.6:8080", reset_},
		{a, "tcp", uplink + ":61002", reset_}, // that is the other container, not the node
	})
	denied := w.open(Config{Plan: testPlan("hostb"), HostAccess: true, Denied: prefixes(uplink + "/32")})
	must(t, n.Remove())
	a = w.attach(denied, mappedTo(2, 61003))
	w.check([]attempt{
		{a, "tcp", "10.254.0.9:22", "node"},
		{a, "tcp", uplink + ":22", reset_},
	})
}

// Rules come in front of the former ones, with all that they may say.
func TestEgressIsAllowedWhileTheContainerLives(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("allow")})
	a := mappedTo(0, 61001)
	a.Name, a.Spec.Default = "warden-aaaaaaaaaaa", string(Reject)
	ns := w.attach(n, a)
	allow := func(rule isolation.EgressRule) {
		t.Helper()
		a.Spec.Egress = slices.Insert(slices.Clone(a.Spec.Egress), 0, rule)
		must(t, n.Restrict(a))
	}
	w.check([]attempt{{ns, "tcp", internet + ":80", reset_}})
	allow(rangeOf("tcp", internet, neighbour, span(80, 81), span(8080, 8080)))
	logged := rangeOf("tcp", neighbour, neighbour, span(80, 80), span(53, 53))
	logged.Log = true
	allow(logged)
	echo := rangeOf("icmp", internet, internet)
	echo.ICMPType, echo.ICMPCode = 8, 0
	allow(echo)
	some := rangeOf("icmp", neighbour, neighbour)
	some.ICMPCode = 7 // of no type
	allow(some)
	allow(rangeOf("udp", third, third, span(9000, 9000)))
	allow(rangeOf("all", third, third))

	check := func() {
		t.Helper()
		w.check([]attempt{
			{ns, "tcp", internet + ":80", "outside"},
			{ns, "tcp", neighbour + ":81", "outside"},
			{ns, "tcp", internet + ":8080", "outside"},
			{ns, "tcp", internet + ":53", reset_},
			{ns, "tcp", neighbour + ":53", "outside"},
			{ns, "icmp", internet, "pong"},
			{ns, "icmp-timestamp", internet, forbidden},
			{ns, "icmp-timestamp", neighbour, "pong"},
			{ns, "udp", third + ":9000", "outside"},
			{ns, "tcp", third + ":53", "outside"},
			{ns, "udp", internet + ":9000", forbidden},
			{ns, "tcp", metadata + ":80", reset_},
		})
	}
	check()
	before := w.rules(n, a)
	if first := "accept " + third; before[0] != first {
		t.Errorf("the newest rule is %q, want %q", before[0], first)
	}
	lead := slices.DeleteFunc(slices.Clone(before), func(r string) bool { return !strings.HasPrefix(r, "log_") })
	if want := n.table.logging(a) + " " + neighbour; len(lead) != 2 || !strings.HasPrefix(lead[0], want) {
		t.Errorf("the rules that are logged are %q", lead)
	}
	logging := w.chain(n, n.table.logging(a))
	if want := []string{`log "warden-aaaaaaaaaaa "`, "accept"}; !slices.Equal(logging, want) {
		t.Errorf("they lead to %q", logging)
	}
	must(t, n.Restrict(a))
	if after := w.rules(n, a); !slices.Equal(before, after) {
		t.Errorf("again, that makes\n%q, not\n%q", after, before)
	}
	must(t, n.Restore([]Attachment{a}))
	if after := w.rules(n, a); !slices.Equal(before, after) {
		t.Errorf("a successor makes\n%q", after)
	}
	check()
}

// rules reads a container's chain back: what each does, by the kernel's words.
func (w *world) rules(n *Network, a Attachment) []string {
	return w.chain(n, n.table.outlets(a)[0].name)
}

func (w *world) chain(n *Network, name string) (text []string) {
	w.t.Helper()
	conn, err := nftables.New()
	must(w.t, err)
	rules, err := conn.GetRules(n.table.table, n.table.chainOf(name))
	must(w.t, err)
	for _, rule := range rules {
		words, where := "accept", ""
		for _, e := range rule.Exprs {
			switch e := e.(type) {
			case *expr.Log:
				words = `log "` + strings.TrimRight(string(e.Data), "\x00") + `"`
			case *expr.Verdict:
				if e.Chain != "" {
					words = e.Chain
				}
			case *expr.Range:
				where += " " + netip.AddrFrom4([4]byte(append(slices.Clone(e.FromData), 0, 0)[:4])).String()
			}
		}
		text = append(text, words+where)
	}
	return text
}

// A rule that speaks of the pool alone means containers, one that allows all
// the world doesn't.
func TestOneContainerReachesAnotherWhereARuleMeansIt(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("means")})
	a, b := mappedTo(0, 61001), mappedTo(1, 61002)
	wide := mappedTo(2, 61003)
	a.Spec.Egress = []isolation.EgressRule{rangeOf("tcp", "10.254.0.6", "10.254.0.6", span(8080, 8080))}
	wide.Spec.Egress = []isolation.EgressRule{rangeOf("all", "0.0.0.0", "255.255.255.255")}
	from, _, all := w.attach(n, a), w.attach(n, b), w.attach(n, wide)
	w.check([]attempt{
		{from, "tcp", "10.254.0.6:8080", "s1.1 to 10.254.0.2"},
		{from, "udp", "10.254.0.6:8080", forbidden},
		{from, "tcp", "10.254.0.10:8080", reset_},
		{from, "tcp", "10.254.0.5:22", reset_}, // the node's end is the node
		{all, "tcp", "10.254.0.6:8080", reset_},
		{all, "tcp", internet + ":80", "outside"},
		{all, "tcp", metadata + ":80", reset_},
	})
}
