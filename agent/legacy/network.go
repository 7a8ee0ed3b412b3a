package legacy

import (
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"strings"
)

const (
	blockBits  = 30        // of a container's network
	blockSize  = 4         // addresses in it
	portsMin   = 1000      // fewer are refused by Warden
	portTop    = 65000     // where its own choice of ports ends
	portBottom = 1024      // below are the node's own
	portEnd    = 1<<16 - 1 //
)

// unfit are networks that no container can have an address of; the last of
// them ends where IPv4 does.
var unfit = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

func scanned(text string, into ...any) bool {
	n, err := fmt.Sscan(text, into...)
	return err == nil && n == len(into)
}

// addresses works out the pool and the networks that are always allowed.
func (d *document) addresses(w *warden) {
	older := w.poolStart.given() && w.poolSize.given()
	start, err := netip.ParseAddr(w.poolStart.value)
	if w.poolStart.given() && (err != nil || !start.Is4()) {
		d.fault(w.poolStart.line, "%s: %q is no IPv4 address", w.poolStart.path, w.poolStart.value)
		older = false
	}
	switch {
	case older:
		w.pool = d.fit(w.poolStart, start, blockBits-bits.Len64(w.poolSize.value-1))
		if w.poolNetwork.given() {
			d.note(w.poolNetwork.line, "%s is ignored: pool_start_address and pool_size win", w.poolNetwork.path)
		}
	case w.poolNetwork.given():
		d.poolNetwork(w)
	default:
		w.pool = netip.MustParsePrefix(poolDefault)
	}
	for _, lone := range []struct {
		line int
		path string
	}{{w.poolStart.line, w.poolStart.path}, {w.poolSize.line, w.poolSize.path}} {
		if lone.line > 0 && !older {
			d.note(lone.line, "%s is ignored: pool_start_address and pool_size mean something only together", lone.path)
		}
	}
	for _, given := range w.allowNetworks.value {
		network, ok := networkOf(given)
		if !ok {
			d.fault(w.allowNetworks.line, "%s: %q is no IPv4 address or network", w.allowNetworks.path, given)
			continue
		}
		w.allowed = append(w.allowed, network.String())
	}
}

func (d *document) poolNetwork(w *warden) {
	prefix, err := netip.ParsePrefix(w.poolNetwork.value)
	if err != nil || !prefix.Addr().Is4() || prefix.Bits() > blockBits {
		d.fault(w.poolNetwork.line, "%s: %q is no IPv4 network with a length of at most %d", w.poolNetwork.path,
			w.poolNetwork.value, blockBits)
		return
	}
	w.pool = d.fit(w.poolNetwork, prefix.Addr(), prefix.Bits())
}

// fit makes one network of a row of blocks. Warden begins a row at any block,
// a network begins where its length allows; then the half of the row that is
// one is taken, for the rest may be somebody else's addresses.
func (d *document) fit(from setting[string], start netip.Addr, length int) netip.Prefix {
	first := number(start) &^ (blockSize - 1)
	size := uint64(1) << (32 - length)
	for _, taken := range unfit {
		begin, addresses := number(taken.Addr()), uint64(1)<<(32-taken.Bits())
		if first < begin+addresses && begin < first+size {
			d.fault(from.line, "%s: containers can't have addresses of %s, which have a meaning of their own", from.path, taken)
			return netip.Prefix{}
		}
	}
	if first%size == 0 {
		return netip.PrefixFrom(address(first), length)
	}
	half := size / 2
	aligned := netip.PrefixFrom(address((first+half-1)/half*half), length+1)
	d.lose(from.line, "%s: %d networks from %s don't make one network; the pool is %s, with %d of them", from.path,
		size/blockSize, address(first), aligned, half/blockSize)
	return aligned
}

func number(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
}

func address(n uint64) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// networkOf reads what iptables takes for a network: an address, a length or a
// mask after it, and bits beyond that mean nothing.
func networkOf(text string) (netip.Prefix, bool) {
	host, length, has := strings.Cut(text, "/")
	if !has {
		length = "32"
	}
	if mask, err := netip.ParseAddr(length); err == nil && mask.Is4() {
		four := mask.As4()
		ones, all := net.IPMask(four[:]).Size()
		if all == 0 {
			return netip.Prefix{}, false // with holes
		}
		length = fmt.Sprint(ones)
	}
	prefix, err := netip.ParsePrefix(host + "/" + length)
	if err != nil || !prefix.Addr().Is4() {
		return netip.Prefix{}, false
	}
	return prefix.Masked(), true
}

// ports works out the ports that net_in gives away (wire/warden.md d).
func (d *document) ports(w *warden, m Machine) {
	first, last := w.portStart.value, uint64(portTop)
	if !w.portStart.given() {
		first = uint64(m.EphemeralLast) + 1
	}
	if w.portCount.given() {
		last = first + w.portCount.value - 1
	}
	w.portFirst, w.portLast, w.ephemeralTo = first, last, uint64(m.EphemeralLast)
	line, path := w.portCount.line, w.portCount.path
	if line == 0 {
		line, path = w.portStart.line, w.portStart.path
	}
	if line == 0 {
		path = "port.pool_start_port isn't set, and this machine gives its connections ports up to " +
			fmt.Sprint(m.EphemeralLast) + " (net.ipv4.ip_local_port_range)"
	}
	switch {
	case first < portBottom:
		d.fault(w.portStart.line, "%s: ports below %d are the node's own", w.portStart.path, portBottom)
	case last > portEnd:
		d.fault(line, "%s: the ports from %d to %d end beyond %d", path, first, last, portEnd)
	case last < first || last-first+1 < portsMin:
		d.fault(line, "%s: there must be at least %d ports; from %d to %d there are %d", path, portsMin, first, last,
			max(0, int64(last)-int64(first)+1))
	}
}
