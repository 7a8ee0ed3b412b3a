package agent

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/isolation"
)

// poolBitsMax leaves room for one container.
const poolBitsMax = 30

// unfit are networks that no container can have an address of.
var unfit = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

func (b *networkBlock) checkPool(r *settings.Reader, n Network) {
	if b.Pool != nil {
		if n.Pool.Bits() > poolBitsMax {
			r.Fault(b.Pool, "The pool is too small", "\"pool\" is cut into /30s, one a container; "+
				"%s holds none.", n.Pool)
		}
		for _, p := range unfit {
			if p.Overlaps(n.Pool) {
				r.Fault(b.Pool, "The pool can't be used", "%s overlaps %s, which has a meaning of its own.", n.Pool, p)
			}
		}
	}
	for _, p := range n.Denied {
		switch {
		case p.Bits() == 0:
			r.Warn(b.Denied, "network.denied has %s: containers reach only what their rules and network.allowed open, "+
				"which network.egress = \"reject\" says better", p)
		case p.Overlaps(n.Pool):
			r.Warn(b.Denied, "network.denied has %s, which overlaps the pool %s: "+
				"containers never reach one another, it needn't be said", p, n.Pool)
		}
	}
}

func (b *networkBlock) checkAllowed(r *settings.Reader, n Network) {
	for _, allowed := range n.Allowed {
		if allowed.Overlaps(n.Pool) && allowed.Bits() > 0 {
			r.Warn(b.Allowed, "network.allowed has %s, which overlaps the pool %s: "+
				"containers never reach one another all the same", allowed, n.Pool)
		}
		for _, denied := range n.Denied {
			// The other way about it is a hole in what is denied.
			if denied.Overlaps(allowed) && allowed.Bits() <= denied.Bits() {
				r.Warn(b.Allowed, "network.allowed has %s and network.denied has %s: what both have is allowed",
					allowed, denied)
			}
		}
	}
}

func (b *networkBlock) checkPorts(r *settings.Reader, n Network) {
	if b.PortFirst == nil && b.PortLast == nil {
		return
	}
	if n.PortFirst > n.PortLast {
		r.Fault(given(b.PortFirst, b.PortLast), "Bounds crossed", "port_first %d is above port_last %d.",
			n.PortFirst, n.PortLast)
		return
	}
	e := ephemeralPorts()
	if n.PortFirst <= e.Last && e.First <= n.PortLast {
		r.Warn(given(b.PortFirst, b.PortLast), "ports %d to %d overlap those that the kernel "+
			"gives to connections (%d to %d, net.ipv4.ip_local_port_range): "+
			"a port may be taken when an application should get it",
			n.PortFirst, n.PortLast, e.First, e.Last)
	}
}

// ephemeralPorts are those that the kernel gives to outgoing connections: as
// this machine has them, else as it is by default.
func ephemeralPorts() isolation.PortSpan {
	span := isolation.PortSpan{First: 32768, Last: 60999}
	body, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return span
	}
	var first, last uint16
	if _, err := fmt.Sscan(string(body), &first, &last); err == nil && first <= last {
		span = isolation.PortSpan{First: first, Last: last}
	}
	return span
}
