package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// Refused at once, though the container still runs; free for the next one
// after the release, which may be repeated at any time.
func TestAPortRestsAndIsUsedAgain(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("rests"), Loopback: true})
	first, second := mappedTo(0, 61001), mappedTo(1, 61001)
	ns := w.attach(n, first)
	w.check([]attempt{{w.outside, "tcp", uplink + ":61001", "s0.1"}})

	other := newNamespace(t)
	err := n.Attach(context.Background(), second, other.file)
	if err == nil || !strings.Contains(err.Error(), "61001") {
		t.Errorf("mapping a port twice: error is %v", err)
	}
	must(t, n.Refuse(first))
	must(t, n.Refuse(first))
	w.check([]attempt{
		{w.outside, "tcp", uplink + ":61001", reset_},
		{nil, "tcp", "127.0.0.1:61001", reset_},
	})

	ns.end()
	must(t, n.Release(context.Background(), []Attachment{first, first}))
	must(t, n.Attach(context.Background(), second, other.file))
	other.settle(n.config.Plan, second.Slot)
	w.serve(other, "successor", "", 8080)
	must(t, n.Release(context.Background(), []Attachment{first})) // late, and harmless
	w.check([]attempt{{w.outside, "tcp", uplink + ":61001", "successor"}})
}

func TestReleaseLeavesNothing(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("clean"), Egress: Reject})
	attachment := mappedTo(0, 61001)
	attachment.Spec.Default = string(Allow)
	attachment.Spec.Egress = []isolation.EgressRule{
		rangeOf("udp", internet, internet), rangeOf("udp", "10.254.0.6", "10.254.0.6"),
	}
	ns := newNamespace(t)
	must(t, n.Attach(context.Background(), attachment, ns.file))
	ns.settle(n.config.Plan, attachment.Slot)
	w.check([]attempt{{ns, "udp", internet + ":9000", "outside"}})
	if len(connections(t, "10.254.0.2")) == 0 {
		t.Fatal("connection tracking knows nothing of it")
	}
	must(t, n.Refuse(attachment))
	ns.end()

	must(t, n.Release(context.Background(), []Attachment{attachment}))

	if links, err := n.Links(); err != nil || len(links) != 0 {
		t.Errorf("links %v, %v", links, err)
	}
	if left := connections(t, "10.254.0.2"); len(left) != 0 {
		t.Errorf("connections %v", left)
	}
	own := n.table
	for _, set := range []*nftables.Set{own.tenants, own.ports, own.resting, own.egress, own.nearby, own.defaults} {
		if elements := w.elements(set); len(elements) != 0 {
			t.Errorf("set %s has %d elements", set.Name, len(elements))
		}
	}
	for _, name := range w.chains(n.table) {
		if strings.HasPrefix(name, "out_") || strings.HasPrefix(name, "near_") {
			t.Errorf("chain %s is left", name)
		}
	}
}

func connections(t *testing.T, address string) (found []string) {
	t.Helper()
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	must(t, err)
	for _, flow := range flows {
		if flow.Forward.SrcIP.String() == address || flow.Reverse.SrcIP.String() == address {
			found = append(found, flow.String())
		}
	}
	return found
}

func (w *world) elements(set *nftables.Set) []nftables.SetElement {
	w.t.Helper()
	conn, err := nftables.New()
	must(w.t, err)
	elements, err := conn.GetSetElements(set)
	must(w.t, err)
	return elements
}

func (w *world) chains(t *table) (names []string) {
	w.t.Helper()
	conn, err := nftables.New()
	must(w.t, err)
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	must(w.t, err)
	for _, chain := range chains {
		if chain.Table.Name == t.table.Name {
			names = append(names, chain.Name)
		}
	}
	return names
}

// Somebody else flushes the machine's rules: it is noticed, and restored for
// those that live.
func TestTheTableComesBack(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("flush")})
	n.tableMax = time.Millisecond
	attachment := mappedTo(0, 61001)
	attachment.Spec.Egress = []isolation.EgressRule{rangeOf("all", internet, internet)}
	a := w.attach(n, attachment)
	must(t, n.Check())
	conn, err := nftables.New()
	must(t, err)
	conn.FlushRuleset()
	must(t, conn.Flush())

	if err := n.Check(); !errors.Is(err, ErrTable) {
		t.Errorf("error is %v, want ErrTable", err)
	}
	err = n.Attach(context.Background(), mappedTo(1, 61002), newNamespace(t).file)
	if !errors.Is(err, ErrTable) {
		t.Errorf("error is %v, want ErrTable", err)
	}
	must(t, n.Refuse(attachment)) // nothing is mapped: it refuses
	must(t, n.Restore([]Attachment{attachment}))

	must(t, n.Check())
	w.check([]attempt{
		{w.outside, "tcp", uplink + ":61001", "s0.1"},
		{a, "tcp", internet + ":80", "outside"},
		{a, "tcp", metadata + ":80", reset_},
	})
}

// Whoever is just attached while the table is gone gets into the next one.
func TestAnAttachmentWaitsForTheNextTable(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("await")})
	n.tableMax = time.Minute
	must(t, n.Remove())
	ns := newNamespace(t)
	t.Cleanup(ns.end)
	attached := make(chan error, 1)
	go func() { attached <- n.Attach(t.Context(), mappedTo(0, 61001), ns.file) }()
	select { // it waits, or has not come so far
	case err := <-attached:
		t.Fatal("without a table it is attached:", err)
	case <-time.After(20 * time.Millisecond):
	}
	must(t, n.Restore(nil))
	must(t, <-attached)
	must(t, n.Check())
	if found := w.elements(n.table.tenants); len(found) != 1 {
		t.Errorf("%d may send, want the one that is attached", len(found))
	}
}

// An agent dies and its successor restores: connections live on.
func TestARestoreDisturbsNobody(t *testing.T) {
	w := newWorld(t)
	config := Config{Plan: testPlan("again")}
	n := w.open(config)
	attachment := mappedTo(0, 61001)
	ns := newNamespace(t)
	defer ns.end()
	must(t, n.Attach(context.Background(), attachment, ns.file))
	ns.settle(n.config.Plan, attachment.Slot)
	var listener net.Listener
	must(t, ns.enter(func() (err error) { listener, err = net.Listen("tcp", ":8080"); return err }))
	defer listener.Close()
	var client net.Conn
	must(t, w.outside.enter(func() (err error) { client, err = net.Dial("tcp", uplink+":61001"); return err }))
	defer client.Close()
	server, err := listener.Accept()
	must(t, err)
	defer server.Close()

	w.open(config, attachment)

	fmt.Fprint(server, "still here")
	client.SetDeadline(time.Now().Add(whileAnOkIsDue))
	buffer := make([]byte, 64)
	if count, err := client.Read(buffer); err != nil || string(buffer[:count]) != "still here" {
		t.Errorf("read %q, %v", buffer[:count], err)
	}
}

func TestAttachingAgainIsSuccess(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("twice"), Egress: Reject})
	attachment := mappedTo(0, 61001)
	attachment.Spec.Egress = []isolation.EgressRule{rangeOf("tcp", internet, internet)}
	ns := w.attach(n, attachment)

	must(t, n.Attach(context.Background(), attachment, ns.file))

	w.check([]attempt{{w.outside, "tcp", uplink + ":61001", "s0.1"}, {ns, "tcp", internet + ":80", "outside"}})
	err := n.Attach(context.Background(), attachment, newNamespace(t).file)
	if err == nil || !strings.Contains(err.Error(), "leads elsewhere") {
		t.Errorf("with another namespace the error is %v", err)
	}
}

// Two agents on one machine, with pools of their own.
func TestTwoNodesOnOneMachineStayApart(t *testing.T) {
	w := newWorld(t)
	other := testPlan("bbbbb")
	other.Pool = netip.MustParsePrefix("10.254.1.0/24")
	first, second := w.open(Config{Plan: testPlan("aaaaa")}), w.open(Config{Plan: other})
	a, b := w.attach(first, mappedTo(0, 61001)), w.attach(second, mappedTo(0, 61002))
	attempts := []attempt{
		{w.outside, "tcp", uplink + ":61001", "s0.1"},
		{w.outside, "tcp", uplink + ":61002", "s0.1"},
		{a, "tcp", internet + ":80", "outside to " + uplink},
		{b, "tcp", internet + ":80", "outside to " + uplink},
		{a, "tcp", metadata + ":80", reset_},
	}
	w.check(attempts)
	if got := a.reach("tcp", "10.254.1.2:8080", patience); strings.HasPrefix(got, "s0.1") {
		t.Error("a container of one reaches a container of the other")
	}

	must(t, second.Sweep(nil))
	must(t, second.Remove())
	must(t, second.Remove())
	w.check([]attempt{attempts[0], attempts[2], attempts[4]})
	if links, _ := second.Links(); len(links) != 0 {
		t.Errorf("links %v are left", links)
	}
}

func TestSweepTakesWhatNobodyOwns(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("sweep")})
	kept, orphan := mappedTo(0, 61001), mappedTo(1, 61002)
	w.attach(n, kept)
	w.attach(n, orphan)

	must(t, n.Sweep([]Attachment{kept}))

	if links, err := n.Links(); err != nil || !slices.Equal(links, []string{n.config.Plan.Link(kept.Slot)}) {
		t.Errorf("links %v, %v", links, err)
	}
	w.check([]attempt{{w.outside, "tcp", uplink + ":61001", "s0.1"}})
}

// A context that ends while a namespace is still held: nothing is deleted by
// force, and the same release may be tried again.
func TestReleaseWaitsNoLongerThanItsContext(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("ctxen")})
	attachment := mappedTo(0, 61001)
	w.attach(n, attachment)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()

	err := n.Release(ctx, []Attachment{attachment})

	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	if links, _ := n.Links(); len(links) != 1 {
		t.Errorf("links are %v: the namespace is still held", links)
	}
}

// Somebody outside holds the namespace open for ever: after its time the link
// is deleted, because its slot is needed.
func TestALinkThatIsHeldIsDeletedAfterItsTime(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("holds")})
	n.goneMax = 20 * time.Millisecond
	attachment := mappedTo(0, 61001)
	w.attach(n, attachment)

	must(t, n.Release(context.Background(), []Attachment{attachment}))

	if links, _ := n.Links(); len(links) != 0 {
		t.Errorf("links are %v", links)
	}
}

// The largest container there may be, and more containers than a node of this
// size has: the table is written in one transaction.
func TestTheTableHoldsTheMost(t *testing.T) {
	w := newWorld(t)
	plan := testPlan("large")
	plan.Pool = netip.MustParsePrefix("10.254.0.0/16")
	largest := mappedTo(0, 0)
	largest.Spec.Ports = nil
	for i := range PortsMax {
		port := isolation.PortMap{Host: uint16(50000 + i), Container: 8080}
		largest.Spec.Ports = append(largest.Spec.Ports, port)
	}
	for i := range EgressMax {
		port := uint16(i)
		largest.Spec.Egress = append(largest.Spec.Egress,
			rangeOf("tcp", internet, internet, span(port, port)))
	}
	live := []Attachment{largest}
	for i := range uint32(2000) {
		a := mappedTo(i+1, uint16(10000+i))
		a.Spec.Egress = []isolation.EgressRule{rangeOf("all", internet, internet), rangeOf("udp", third, third)}
		live = append(live, a)
	}
	n := w.open(Config{Plan: plan, Egress: Reject}, live...)

	if got := len(w.elements(n.table.ports)); got != PortsMax+2000 {
		t.Errorf("%d ports are mapped", got)
	}
	a := w.attach(n, largest)
	w.check([]attempt{{a, "tcp", internet + ":80", "outside"}, {a, "tcp", internet + ":9000", reset_}})
	must(t, n.deletions.run(n.table.expel(live)))
	if got := len(w.elements(n.table.tenants)); got != 0 {
		t.Errorf("%d tenants are left", got)
	}
}
