package network

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/deacon-agent/deacon/isolation"
)

// What passes in a few hundred milliseconds is what the rate allows, each way,
// and the second limit counts, not the first.
func TestTrafficKeepsToItsRateEachWay(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("shape")})
	a := mappedTo(0, 61001)
	a.Bandwidth = isolation.Bandwidth{Rate: 100 << 10, Burst: 10 << 10}
	ns := w.attach(n, a)
	if in, out, set, err := n.Shaped(a, ns.file); err != nil || !set || in != a.Bandwidth || out != a.Bandwidth {
		t.Errorf("from the start it is %v in, %v out, %v, %v", in, out, set, err)
	}

	inward, outward := passage{nil, ns, "10.254.0.2:7000"}, passage{ns, w.outside, internet + ":7000"}
	for _, rate := range []uint64{4 << 20, 16 << 20} {
		a.Bandwidth = isolation.Bandwidth{Rate: rate, Burst: 100_000}
		must(t, n.Shape(a, ns.file))
		in, out, set, err := n.Shaped(a, ns.file)
		if err != nil || !set || in != a.Bandwidth || out != a.Bandwidth {
			t.Errorf("reads back as %v in, %v out, %v, %v", in, out, set, err)
		}
		keepsTo(t, "received", a.Bandwidth, func() time.Duration { return inward.transfer(t, rate/2) })
		keepsTo(t, "sent", a.Bandwidth, func() time.Duration { return outward.transfer(t, rate/2) })
	}
}

// keepsTo says whether half a second's worth took as long as it should. A busy
// machine can make it slow, so that is tried again; nothing can make it fast.
func keepsTo(t *testing.T, way string, limit isolation.Bandwidth, half func() time.Duration) {
	t.Helper()
	const tolerance = 0.3
	var got float64
	for range 3 {
		got = (float64(limit.Rate)/2 - float64(limit.Burst)) / half().Seconds()
		t.Logf("%s: %.2f MB/s of %.2f", way, got/1e6, float64(limit.Rate)/1e6)
		if got > (1-tolerance)*float64(limit.Rate) {
			break
		}
	}
	if got < (1-tolerance)*float64(limit.Rate) || got > (1+tolerance)*float64(limit.Rate) {
		t.Errorf("%s at %.0f bytes/s, limited to %d", way, got, limit.Rate)
	}
}

// passage is where bytes go; a nil namespace is the node.
type passage struct {
	from, to *namespace
	address  string
}

// transfer sends so many bytes over TCP and returns how long that took, from
// the first byte to the last.
func (p passage) transfer(t *testing.T, size uint64) time.Duration {
	t.Helper()
	var listener net.Listener
	must(t, p.to.enter(func() (err error) { listener, err = net.Listen("tcp", p.address); return err }))
	defer listener.Close()
	sent := make(chan error, 1)
	go func() {
		sent <- p.from.enter(func() error {
			conn, err := net.Dial("tcp", p.address)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(make([]byte, size))
			return err
		})
	}()
	conn, err := listener.Accept()
	must(t, err)
	defer conn.Close()
	begun := time.Now()
	got, err := io.Copy(io.Discard, conn)
	must(t, err)
	took := time.Since(begun)
	must(t, <-sent)
	if uint64(got) != size {
		t.Fatalf("%d of %d bytes arrived", got, size)
	}
	return took
}

// The original dropped every full-size packet then.
func TestABurstBelowTheMTUIsRaised(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("burst"), MTU: 1400})
	a := mappedTo(0, 61001)
	ns := w.attach(n, a)
	a.Bandwidth = isolation.Bandwidth{Rate: 1 << 20, Burst: 1}

	must(t, n.Shape(a, ns.file))

	want := isolation.Bandwidth{Rate: 1 << 20, Burst: 1414}
	if in, out, _, err := n.Shaped(a, ns.file); err != nil || in != want || out != want {
		t.Errorf("reads back as %v in, %v out, %v", in, out, err)
	}
	passage{ns, w.outside, internet + ":7000"}.transfer(t, 100_000)
	passage{nil, ns, "10.254.0.2:7000"}.transfer(t, 100_000)
}

func TestLimitsReadBackAsTheyWereSet(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("reads")})
	a := mappedTo(0, 61001)
	ns := w.attach(n, a)
	if _, _, set, err := n.Shaped(a, ns.file); err != nil || set {
		t.Errorf("without a limit: %v, %v", set, err)
	}
	for _, limit := range []isolation.Bandwidth{
		{Rate: 1, Burst: 1 << 20}, // a burst as long as twelve days
		{Rate: 1000, Burst: 1_000_000},
		{Rate: 1 << 30, Burst: 12_345_678},
		{Rate: 100 << 30, Burst: 1<<32 - 1},
	} {
		a.Bandwidth = limit
		must(t, n.Shape(a, ns.file))
		if in, out, set, err := n.Shaped(a, ns.file); err != nil || !set || in != limit || out != limit {
			t.Errorf("%v reads back as %v in, %v out, %v, %v", limit, in, out, set, err)
		}
	}
	// As a reader sees it who doesn't know what was meant.
	a.Bandwidth = isolation.Bandwidth{Rate: 1_000_000, Burst: 50_000}
	must(t, n.Shape(a, ns.file))
	a.Bandwidth = isolation.Bandwidth{}
	if in, _, _, err := n.Shaped(a, ns.file); err != nil || in != (isolation.Bandwidth{Rate: 1_000_000, Burst: 50_000}) {
		t.Errorf("reads as %v, %v", in, err)
	}
}

func TestALimitThatStopsAllIsRefused(t *testing.T) {
	n := &Network{config: Config{Plan: testPlan("wrong"), MTU: 1500}}
	for want, limit := range map[string]isolation.Bandwidth{
		"a rate of 0 bytes":       {Burst: 1000},
		"burst of 4294967296 byt": {Rate: 1, Burst: 1 << 32},
	} {
		if err := n.Shape(Attachment{Bandwidth: limit}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

func TestBothEndsHaveTheMTU(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("mtumt"), MTU: 1280})
	a := mappedTo(0, 61001)
	ns := w.attach(n, a)
	for name, links := range map[string]*netlink.Handle{n.config.Plan.Link(a.Slot): w.node, PeerName: ns.link} {
		if link, err := links.LinkByName(name); err != nil || link.Attrs().MTU != 1280 {
			t.Errorf("%s: %+v, %v", name, link, err)
		}
	}
}
