package network

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// Traffic is limited by a token bucket where it enters the link: on the node's
// end for what the container receives, on the container's end for what it
// sends. Jobs can't take that one off: none has CAP_NET_ADMIN.

const (
	// shapeLatency is how long a packet may wait before packets are dropped.
	shapeLatency = 25 * time.Millisecond

	// frameHeader is Ethernet's: it counts as part of a packet.
	frameHeader = 14

	// tickLength is how fine the kernel tells a burst, as the time that it takes
	// at the bucket's rate (PSCHED_SHIFT).
	tickLength = 64 // ns
)

// ErrRate says that a limit has no rate.
var ErrRate = errors.New("a rate of 0 bytes a second would stop all traffic")

func checkBandwidth(b isolation.Bandwidth) error {
	if b.Rate == 0 {
		return fmt.Errorf("network: bandwidth: %w", ErrRate)
	}
	if b.Burst > math.MaxUint32 {
		return fmt.Errorf("network: bandwidth: a burst of %d bytes is more than %d", b.Burst, uint32(math.MaxUint32))
	}
	return nil
}

// Raised is the limit with a burst that the largest packet of a link fits in: a
// smaller one would drop every such packet.
func (n *Network) Raised(b isolation.Bandwidth) isolation.Bandwidth {
	b.Burst = max(b.Burst, uint64(n.config.MTU)+frameHeader)
	return b
}

// Shape limits an attached container's traffic each way, in place of earlier
// limits. The burst is raised as Raised says. inside is its network namespace, or a pidfd of a process in it.
func (n *Network) Shape(a Attachment, inside *os.File) error {
	if err := checkBandwidth(a.Bandwidth); err != nil {
		return err
	}
	limit := n.Raised(a.Bandwidth)
	// What the container sends comes first: that end is the one that can be gone.
	err := enter(inside, func() error { return shapeEnd(PeerName, limit) })
	if err == nil {
		err = shapeEnd(n.config.Plan.Link(a.Slot), limit)
	}
	if err != nil {
		return fmt.Errorf("network: shape %s: %w", a.Slot, err)
	}
	return nil
}

// Shaped reads back what is set on each end: what the container receives, and
// what it sends. The kernel keeps a burst as a time, which makes it inexact;
// one that is as near to the attachment's limit as can be told is that limit.
func (n *Network) Shaped(a Attachment, inside *os.File) (in, out isolation.Bandwidth, set bool, err error) {
	name := n.config.Plan.Link(a.Slot)
	in, inSet, err := n.readEnd(name, a.Bandwidth)
	if err != nil {
		return in, out, false, fmt.Errorf("network: bandwidth of %s: %w", a.Slot, err)
	}
	var outSet bool
	err = enter(inside, func() (err error) { out, outSet, err = n.readEnd(PeerName, a.Bandwidth); return err })
	if err != nil {
		return in, out, false, fmt.Errorf("network: bandwidth of %s: %w", a.Slot, err)
	}
	return in, out, inSet || outSet, nil
}

// shapeEnd sets or changes the bucket of one end. The usual library's request
// has the burst as a time only, which overflows for a slow and large bucket.
func shapeEnd(name string, limit isolation.Bandwidth) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	r := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	r.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(link.Attrs().Index), Parent: netlink.HANDLE_ROOT})
	r.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")))
	waiting := limit.Rate/uint64(time.Second/shapeLatency) + limit.Burst
	bucket := nl.TcTbfQopt{
		Rate:   nl.TcRateSpec{Rate: uint32(min(limit.Rate, math.MaxUint32))},
		Limit:  uint32(min(waiting, math.MaxUint32)),
		Buffer: ticks(limit),
	}
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, bucket.Serialize())
	options.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(uint32(limit.Burst)))
	if limit.Rate > math.MaxUint32 {
		options.AddRtAttr(nl.TCA_TBF_RATE64, nl.Uint64Attr(limit.Rate))
	}
	r.AddData(options)
	if _, err := r.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("link %s: limit its rate: %w", name, err)
	}
	return nil
}

// readEnd reads the bucket of one end.
func (n *Network) readEnd(name string, meant isolation.Bandwidth) (_ isolation.Bandwidth, set bool, err error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return isolation.Bandwidth{}, false, fmt.Errorf("link %s: %w", name, err)
	}
	all, err := netlink.QdiscList(link)
	if err != nil {
		return isolation.Bandwidth{}, false, fmt.Errorf("link %s: read its rate: %w", name, err)
	}
	for _, one := range all {
		if bucket, ok := one.(*netlink.Tbf); ok && bucket.Parent == netlink.HANDLE_ROOT {
			return n.reading(bucket.Rate, bucket.Buffer, meant), true, nil
		}
	}
	return isolation.Bandwidth{}, false, nil
}

// reading is what the kernel's figures stand for.
func (n *Network) reading(rate uint64, buffer uint32, meant isolation.Bandwidth) isolation.Bandwidth {
	const inexact = 16 // ticks
	meant = n.Raised(meant)
	if off := int32(buffer - ticks(meant)); meant.Rate == rate && -inexact <= off && off <= inexact {
		return meant
	}
	seconds := float64(buffer) * tickLength / float64(time.Second)
	return isolation.Bandwidth{Rate: rate, Burst: uint64(math.Round(seconds * float64(rate)))}
}

// ticks is a burst in the kernel's unit, which wraps as the kernel's does.
func ticks(b isolation.Bandwidth) uint32 {
	if b.Rate == 0 {
		return 0
	}
	high, low := bits.Mul64(b.Burst, uint64(time.Second))
	if high >= b.Rate {
		return math.MaxUint32
	}
	took, _ := bits.Div64(high, low, b.Rate)
	return uint32(took / tickLength)
}

// enter does something in another network namespace, on a thread that is thrown
// away afterwards: it is never unlocked. The first thread can't be thrown away,
// and it is what /proc/self shows: where the scheduler gives us that one, it is
// held while another does it.
func enter(namespace *os.File, act func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- enter(namespace, act)
			return
		}
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the container's network: %w", err)
			return
		}
		done <- act()
	}()
	return <-done
}
