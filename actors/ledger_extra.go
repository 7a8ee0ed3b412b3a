package actors

import (
	"net/netip"
	"slices"

	"github.com/deacon-agent/deacon/messaging"
)

// The first era's applications may have two ports more: for a debugger, and for
// a console (wire/dea.md a.2).

type portUse uint8

const (
	forDebugger portUse = iota
	forConsole
)

// extraPortsOf are what a start asks for beside the application's own port.
func extraPortsOf(s messaging.StartInstance) (uses []portUse) {
	if s.First == nil {
		return nil
	}
	if s.First.Debug != "" {
		uses = append(uses, forDebugger)
	}
	if s.First.Console {
		uses = append(uses, forConsole)
	}
	return uses
}

// extra is the place of such a port in a placement.
func (p *Placement) extra(use portUse) *uint16 {
	if use == forDebugger {
		return &p.DebugPort
	}
	return &p.ConsolePort
}

func (p Placement) extraPorts() (ports []uint16) {
	for _, port := range []uint16{p.DebugPort, p.ConsolePort} {
		if port != 0 {
			ports = append(ports, port)
		}
	}
	return ports
}

// leaseExtra takes all of them or none.
func (b *book) leaseExtra(p *Placement, uses []portUse) error {
	for _, use := range uses {
		port, ok := b.ports.Lease()
		if !ok {
			for _, leased := range p.extraPorts() {
				b.ports.Free(uint32(leased))
			}
			return &noRoomError{"ports", 1, 0}
		}
		*p.extra(use) = uint16(port)
	}
	return nil
}

// knowExtra takes from a record what the ports are for that a container was seen
// to have.
func (e *entry) knowExtra(p Placement) {
	for _, use := range []portUse{forDebugger, forConsole} {
		port := *p.extra(use)
		if at := slices.Index(e.ports, port); port != 0 && at >= 0 {
			e.ports = slices.Delete(e.ports, at, at+1)
			*e.placement.extra(use) = port
		}
	}
}

// letIn is where somebody reaches such a port; zero: nowhere.
func letIn(n messaging.Node, port uint16) netip.AddrPort {
	if port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(n.Address, port)
}
