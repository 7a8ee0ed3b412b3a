package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/slot"
)

// PeerName is the container's end of its veth, PeerIndex its number there.
const (
	PeerName  = "eth0"
	PeerIndex = 2
)

// defaultMTU is Ethernet's, and what the kernel gives a veth.
const defaultMTU = 1500

// routeLocalnet is IPV4_DEVCONF_ROUTE_LOCALNET of linux/ip.h: packets from and
// to 127.0.0.0/8 may pass this link.
const routeLocalnet = 26

// noAddress is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: the link makes no
// IPv6 address for itself. Writing disable_ipv6 would come to the same behind
// a table that drops all IPv6, but takes a lock by spinning for it.
const noAddress = 1

// vethInfoPeer is VETH_INFO_PEER of linux/veth.h.
const vethInfoPeer = 1

// addLink makes the pair, the peer straight inside netns, and gives the host
// end its address. PID 1 does the peer's. Two system calls: the second needs
// the number that the first was given. A pair that exists is completed.
func (n *Network) addLink(s slot.Slot, netns *os.File) error {
	name := n.config.Plan.Link(s)
	err := n.wire.send(n.newPair(name, netns))
	if errors.Is(err, unix.EEXIST) {
		err = n.samePair(name, netns)
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	index, err := n.wire.index(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := n.wire.send(n.settings(index), noIPv6(index), up(index), n.hostAddress(index, s)); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// newPair asks for one queue each way: by default there is one for each
// processor, each with its own entries in sysfs.
func (n *Network) newPair(name string, netns *os.File) request {
	r := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	r.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	for _, attribute := range n.endAttributes(name) {
		r.AddData(attribute)
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(unix.IFLA_INFO_KIND, []byte("veth"))
	peer := info.AddRtAttr(unix.IFLA_INFO_DATA, nil).AddRtAttr(vethInfoPeer, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC).Index = PeerIndex
	for _, attribute := range n.endAttributes(PeerName) {
		peer.AddChild(attribute)
	}
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(netns.Fd())))
	r.AddData(info)
	return request{NetlinkRequest: r, what: "make"}
}

func (n *Network) endAttributes(name string) []*nl.RtAttr {
	return []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(n.config.MTU))),
		nl.NewRtAttr(unix.IFLA_NUM_TX_QUEUES, nl.Uint32Attr(1)),
		nl.NewRtAttr(unix.IFLA_NUM_RX_QUEUES, nl.Uint32Attr(1)),
	}
}

func change(index int) (*nl.NetlinkRequest, *nl.IfInfomsg) {
	r, message := nl.NewNetlinkRequest(unix.RTM_SETLINK, 0), nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	r.AddData(message)
	return r, message
}

// settings let answers to 127.0.0.1 come back over the link, which would be
// martians without; or see to it that they don't.
func (n *Network) settings(index int) request {
	r, _ := change(index)
	value := uint32(0)
	if n.config.Loopback {
		value = 1
	}
	specific := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	specific.AddRtAttr(unix.AF_INET, nil).AddRtAttr(unix.IFLA_INET_CONF, nil).
		AddRtAttr(routeLocalnet, nl.Uint32Attr(value))
	r.AddData(specific)
	return request{NetlinkRequest: r, what: "set route_localnet"}
}

// noIPv6 comes before the link is up, which is when it would get an address. A
// kernel without IPv6 says so.
func noIPv6(index int) request {
	r, _ := change(index)
	specific := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	specific.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{noAddress})
	r.AddData(specific)
	return request{NetlinkRequest: r, what: "keep IPv6 off", tolerated: []unix.Errno{unix.EAFNOSUPPORT}}
}

func up(index int) request {
	r, message := change(index)
	message.Flags, message.Change = unix.IFF_UP, unix.IFF_UP
	return request{NetlinkRequest: r, what: "bring up"}
}

func (n *Network) hostAddress(index int, s slot.Slot) request {
	return n.address(index, s, n.config.Plan.HostIP(s.Number))
}

// address gives one end of a slot's link its address.
func (n *Network) address(index int, s slot.Slot, ip netip.Addr) request {
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	message := nl.NewIfAddrmsg(unix.AF_INET)
	message.Prefixlen, message.Index = uint8(n.config.Plan.Subnet(s.Number).Bits()), uint32(index)
	r.AddData(message)
	address := ip.AsSlice()
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, address))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, address))
	return request{NetlinkRequest: r, what: "give its address", tolerated: []unix.Errno{unix.EEXIST}}
}

// samePair says whether the link that is there leads into netns, so that
// attaching again is success and a stranger's link is not taken for ours.
func (n *Network) samePair(name string, netns *os.File) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look at the one that exists: %w", err)
	}
	id, err := n.links.GetNetNsIdByFd(int(netns.Fd()))
	if err != nil {
		return fmt.Errorf("look for the namespace: %w", err)
	}
	if _, pair := link.(*netlink.Veth); !pair || id < 0 || link.Attrs().NetNsID != id {
		return errors.New("it exists and leads elsewhere")
	}
	return nil
}

func (n *Network) removeLink(name string) error {
	index, err := n.wire.index(name)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	r := nl.NewNetlinkRequest(unix.RTM_DELLINK, 0)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(index)
	r.AddData(message)
	gone := request{NetlinkRequest: r, what: "remove", tolerated: []unix.Errno{unix.ENODEV}}
	if err := n.wire.send(gone); err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	return nil
}

// Links lists this node's links.
func (n *Network) Links() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("network: list links: %w", err)
	}
	var ours []string
	for _, i := range all {
		if strings.HasPrefix(i.Name, n.config.Plan.LinkPrefix()) {
			ours = append(ours, i.Name)
		}
	}
	return ours, nil
}

// Sweep removes every link of this node that none of the living containers
// owns: what an agent left that died in the middle of a start.
func (n *Network) Sweep(live []Attachment) error {
	owned := map[string]bool{}
	for _, a := range live {
		owned[n.config.Plan.Link(a.Slot)] = true
	}
	links, failed := n.Links()
	for _, name := range links {
		if !owned[name] {
			failed = errors.Join(failed, n.removeLink(name))
		}
	}
	if failed != nil {
		return fmt.Errorf("network: sweep: %w", failed)
	}
	return nil
}
