package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Verdict is what happens to traffic that no rule speaks of.
type Verdict string

// The verdicts. Rejecting answers, so that an application fails at once
// instead of waiting.
const (
	Allow  Verdict = "allow"
	Reject Verdict = "reject"
)

// Metadata is where clouds keep the node's own credentials, among other
// link-local services; nothing in a container has business there, but where
// somebody says so of these addresses alone.
var Metadata = netip.MustParsePrefix("169.254.0.0/16")

// Config is what all containers of a node have in common.
type Config struct {
	Plan slot.Plan
	// Denied is refused where neither a container's rules nor Allowed open it, also
	// to containers that are allowed all else.
	Denied []netip.Prefix
	// Allowed is reached without a rule, denied or not.
	Allowed []netip.Prefix
	// Resolvers answer DNS (port 53) to every container even where they are
	// denied, or addresses of the node itself.
	Resolvers []netip.Addr
	// HostAccess lets containers reach the node itself, but for its loopback and
	// what is denied.
	HostAccess bool

	Egress   Verdict // what no rule allows, where a container says nothing else
	Loopback bool    // mapped ports answer on 127.0.0.1 too
	MTU      int     // of the links; 0: Ethernet's
}

func (c Config) check() error {
	if err := c.Plan.Check(); err != nil {
		return err
	}
	for _, p := range c.Denied {
		if !p.IsValid() || !p.Addr().Is4() {
			return fmt.Errorf("network: denied network %s is not an IPv4 network", p)
		}
	}
	for _, p := range c.Allowed {
		if !p.IsValid() || !p.Addr().Is4() {
			return fmt.Errorf("network: allowed network %s is not an IPv4 network", p)
		}
	}
	for _, a := range c.Resolvers {
		if !a.Is4() {
			return fmt.Errorf("network: resolver %s is not an IPv4 address", a)
		}
	}
	if c.Egress != Allow && c.Egress != Reject {
		return fmt.Errorf("network: egress verdict %q is neither %q nor %q", c.Egress, Allow, Reject)
	}
	if c.MTU < mtuMin || c.MTU > mtuMax {
		return fmt.Errorf("network: mtu %d is not between %d and %d", c.MTU, mtuMin, mtuMax)
	}
	return nil
}

// What IPv4 and a veth allow.
const (
	mtuMin = 68
	mtuMax = 65535
)

// Attachment is one container's place in the network.
type Attachment struct {
	Slot slot.Slot
	Spec isolation.Network
	// Name is what the kernel's log calls the container.
	Name string
	// Bandwidth is for each way alike; no rate: no limit.
	Bandwidth isolation.Bandwidth
}

// Network is this node's table and links. It is safe for concurrent use.
type Network struct {
	config Config
	table  *table
	links  *netlink.Handle // for what is rare
	wire   *wire           // for what is on the way of a start
	// Deletions wait for grace periods. They have a socket of their own, so
	// that no start stands behind them.
	additions, deletions *transactions
	goneMax              time.Duration // linkGoneMax; tests have less of it
	tableMax             time.Duration // as the constant is; tests have less of it

	whole   sync.RWMutex  // the table is rewritten by who has it alone
	quiet   atomic.Uint64 // the rules' generation in which nothing was amiss; 0: none
	renewal sync.Mutex
	renewed chan struct{}  // closed, and made anew, when the table was rewritten
	counts  map[string]int // rules of its own chains then
}

// Open prepares the machine. A table that a predecessor left stays as it is,
// because containers live by it, until Restore replaces it; Restore has to come
// before the first Attach. The notes say what was changed on the machine.
//
// Everything happens in the network namespace of the calling thread.
func Open(config Config) (_ *Network, notes []string, err error) {
	if config.MTU == 0 {
		config.MTU = defaultMTU
	}
	if err := config.check(); err != nil {
		return nil, nil, err
	}
	n := &Network{
		config: config, table: newTable(config), goneMax: linkGoneMax, tableMax: tableMax, renewed: make(chan struct{}),
	}
	var undo isolation.Undo
	defer undo.OnError(&err)
	if n.links, err = netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER); err != nil {
		return nil, nil, fmt.Errorf("network: open netlink: %w", err)
	}
	undo.Push("netlink", func() error { n.links.Close(); return nil })
	if n.wire, err = openWire(); err != nil {
		return nil, nil, err
	}
	undo.Push("rtnetlink", n.wire.close)
	n.additions, n.deletions = &transactions{}, &transactions{}
	changed, err := enableForwarding()
	if err != nil {
		return nil, nil, err
	}
	if changed {
		notes = append(notes, "IPv4 forwarding was off on this machine; it is on now (net.ipv4.ip_forward)")
	}
	return n, notes, nil
}

const forwardingFile = "/proc/sys/net/ipv4/ip_forward"

func enableForwarding() (changed bool, err error) {
	now, err := os.ReadFile(forwardingFile)
	if err != nil {
		return false, fmt.Errorf("network: %w", err)
	}
	if strings.TrimSpace(string(now)) == "1" {
		return false, nil
	}
	if err := os.WriteFile(forwardingFile, []byte("1"), 0); err != nil {
		return false, fmt.Errorf("network: enable forwarding: %w", err)
	}
	return true, nil
}

// Restore rewrites the whole table in one transaction, with exactly the
// elements of the containers that live. There is no moment without rules.
//
// A port that several of them claim is an error; Settle comes first.
func (n *Network) Restore(live []Attachment) error {
	return n.Rewrite(func() ([]Attachment, error) { return live, nil })
}

// ErrTable says that the table is not there: Restore did not come first, or
// somebody flushed the machine's rules. Restore brings it back.
var ErrTable = errors.New("the nftables table is gone, or not as it was written")

// Check says ErrTable when somebody took the table away, or rules out of it or
// into it, and with that what keeps containers apart.
func (n *Network) Check() error {
	whole, err := n.asWritten()
	if err != nil {
		return fmt.Errorf("network: look for table %s: %w", n.config.Plan.Table(), err)
	}
	if !whole {
		return fmt.Errorf("network: %s: %w", n.config.Plan.Table(), ErrTable)
	}
	return nil
}

// Attach makes the container's link, with the peer end inside netns, and lets
// it into the table. Attaching what is attached is success. On error nothing
// of it is left but the link, which can send nothing and goes with netns. Where
// somebody has taken the table away, it waits for the next one for a while.
func (n *Network) Attach(ctx context.Context, a Attachment, netns *os.File) error {
	if err := n.Vet(a); err != nil {
		return err
	}
	if err := n.addLink(a.Slot, netns); err != nil {
		return fmt.Errorf("network: attach %s: %w", a.Slot, err)
	}
	if a.Bandwidth.Rate > 0 {
		if err := n.Shape(a, netns); err != nil {
			return err
		}
	}
	if err := n.admit(ctx, a); err != nil {
		return fmt.Errorf("network: attach %s: %w", a.Slot, n.explain(a, err))
	}
	return nil
}

// explain puts into words what the kernel says with a number.
func (n *Network) explain(a Attachment, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w (%w)", ErrTable, err)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %s: %w", ErrPortTaken, hostPorts(a), err)
	}
	return err
}

// Release takes containers out of the table, in one transaction, waits until
// their links are gone and flushes what connection tracking remembers of their
// addresses. Afterwards slots and ports may be used again. It may be repeated,
// also after others have the ports.
func (n *Network) Release(ctx context.Context, gone []Attachment) error {
	if len(gone) == 0 {
		return nil
	}
	n.whole.RLock()
	err := n.deletions.run(n.table.expel(gone))
	n.whole.RUnlock()
	if err != nil {
		return fmt.Errorf("network: release: %w", err)
	}
	var names []string
	for _, a := range gone {
		names = append(names, n.config.Plan.Link(a.Slot))
	}
	if err := n.awaitGone(ctx, names); err != nil {
		return fmt.Errorf("network: release: %w", err)
	}
	// At the very end: until then a late packet could make a new entry.
	if err := n.forgetConnections(gone); err != nil {
		return fmt.Errorf("network: release: %w", err)
	}
	return nil
}

// Close lets go of the sockets; table and links stay.
func (n *Network) Close() error {
	n.links.Close()
	return errors.Join(n.wire.close(), n.additions.close(), n.deletions.close())
}

// Remove takes the table away. Removing what is gone is success.
func (n *Network) Remove() error {
	if err := n.deletions.run(n.table.remove()); err != nil {
		return fmt.Errorf("network: remove the table: %w", err)
	}
	return nil
}

// Inside is what PID 1 has to give the container's end of a link.
type Inside struct {
	Name    string
	Index   int
	Address netip.Prefix
	Gateway netip.Addr
}

// InsideOf derives it from the slot.
func InsideOf(p slot.Plan, s slot.Slot) Inside {
	return Inside{
		Name:    PeerName,
		Index:   PeerIndex,
		Address: netip.PrefixFrom(p.PeerIP(s.Number), p.Subnet(s.Number).Bits()),
		Gateway: p.HostIP(s.Number),
	}
}
