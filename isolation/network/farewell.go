package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// linkGoneMax is how long links may take to follow their namespaces: some
// 30 ms for one, more when many namespaces end at once, of which the kernel
// frees about 250 a second.
const linkGoneMax = 10 * time.Second

// errHeld is why the wait for links that don't go by themselves ends.
var errHeld = errors.New("the namespace is held open")

// awaitGone waits for links that go with their namespaces. One that is still
// there when the time is up stands in a namespace that somebody outside holds
// open; it is deleted, because its slot is needed.
func (n *Network) awaitGone(ctx context.Context, names []string) error {
	// Listening before looking: no end is missed between the two.
	ends, err := listenLinks()
	if err != nil {
		return err
	}
	defer ends.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, n.goneMax, errHeld)
	defer cancel()
	defer context.AfterFunc(ctx, func() { ends.SetReadDeadline(time.Unix(1, 0)) })()

	message := make([]byte, 4096)
	for {
		if names, err = n.present(names); err != nil || len(names) == 0 {
			return err
		}
		// What the message says doesn't matter: something about links changed.
		// ENOBUFS means that there were more changes than room for them.
		_, err := ends.Read(message)
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			break
		}
	}
	if err := context.Cause(ctx); err != errHeld {
		return fmt.Errorf("wait for %d links to go: %w", len(names), err)
	}
	var failed error
	for _, name := range names {
		failed = errors.Join(failed, n.removeLink(name))
	}
	return failed
}

// present keeps those names that are links.
func (n *Network) present(names []string) ([]string, error) {
	var there []string
	for _, name := range names {
		_, err := n.wire.index(name)
		switch {
		case err == nil:
			there = append(there, name)
		case !errors.Is(err, unix.ENODEV):
			return nil, fmt.Errorf("look for link %s: %w", name, err)
		}
	}
	return there, nil
}

// listenLinks opens a socket on which the kernel tells of changed links.
func listenLinks() (*os.File, error) {
	kind := unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_NETLINK, kind, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("listen for links: %w", err)
	}
	links := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}
	if err := unix.Bind(fd, links); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen for links: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// dumpTries bounds how often connection tracking is listed anew because it
// changed under the listing; what changes then is other people's.
const dumpTries = 5

// forgetConnections drops what connection tracking knows of the containers'
// addresses, so that no late packet of theirs reaches the slot's next tenant.
func (n *Network) forgetConnections(gone []Attachment) error {
	filter := addressFilter{}
	for _, a := range gone {
		filter[n.config.Plan.PeerIP(a.Slot.Number)] = true
	}
	var err error
	for range dumpTries {
		_, err = n.links.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, filter)
		if err == nil || !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("flush connection tracking: %w", err)
	}
	return nil
}

// addressFilter matches connections from or to one of its addresses, before or
// after translation.
type addressFilter map[netip.Addr]bool

// MatchConntrackFlow is netlink's interface.
func (f addressFilter) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, ip := range []net.IP{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
		if address, ok := netip.AddrFromSlice(ip); ok && f[address.Unmap()] {
			return true
		}
	}
	return false
}
