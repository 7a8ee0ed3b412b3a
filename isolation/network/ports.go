package network

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// ErrPortTaken says that a port of the node leads to another container, or to
// another port of the same one. The error that it is part of names the port.
var ErrPortTaken = errors.New("the node's port is taken")

// Map adds a port to a living container that has been attached. Adding what it
// has is success.
func (n *Network) Map(a Attachment, port isolation.PortMap) error {
	a.Spec.Ports = []isolation.PortMap{port}
	if err := n.Vet(a); err != nil {
		return err
	}
	err := n.change(func(conn *nftables.Conn) error { return add(conn, n.table.ports, n.table.mapped(a)) })
	if err != nil {
		return fmt.Errorf("network: map a port to %s: %w", a.Slot, n.explain(a, err))
	}
	return nil
}

func hostPorts(a Attachment) string {
	var ports []string
	for _, p := range a.Spec.Ports {
		ports = append(ports, strconv.Itoa(int(p.Host)))
	}
	return strings.Join(ports, " or ")
}

// Refuse makes the container's mapped ports refuse new connections, at once.
func (n *Network) Refuse(a Attachment) error {
	if len(a.Spec.Ports) == 0 {
		return nil
	}
	err := n.change(n.table.refuse(a))
	if err != nil && !errors.Is(err, unix.ENOENT) { // without a table nothing is mapped
		return fmt.Errorf("network: refuse on ports of %s: %w", a.Slot, err)
	}
	return nil
}

// Settle leaves each port of the node to one container. Where several have it on
// record, an agent died before it could tell all but one that they don't get it:
// the one that the predecessor's table leads to.
func (n *Network) Settle(all []Attachment) ([]Attachment, error) {
	claims := map[uint16]int{}
	disputed := false
	for _, a := range all {
		for _, p := range a.Spec.Ports {
			claims[p.Host]++
			disputed = disputed || claims[p.Host] > 1
		}
	}
	if !disputed {
		return all, nil
	}
	mapped := map[string][]byte{}
	look := func(conn *nftables.Conn) (err error) { mapped, err = existing(conn, n.table.ports); return err }
	if err := n.deletions.run(look); err != nil {
		return nil, fmt.Errorf("network: look who has a port: %w", err)
	}
	settled := slices.Clone(all)
	given := map[uint16]bool{}
	for i, a := range settled {
		settled[i].Spec.Ports = slices.DeleteFunc(slices.Clone(a.Spec.Ports), func(p isolation.PortMap) bool {
			if claims[p.Host] == 1 {
				return false
			}
			element := n.table.mapped(Attachment{Slot: a.Slot, Spec: isolation.Network{Ports: []isolation.PortMap{p}}})[0]
			// Without a table nobody's mapping works any more; then the first has it.
			target, known := mapped[string(element.Key)]
			theirs := known && !bytes.HasPrefix(target, element.Val)
			if theirs || given[p.Host] {
				return true
			}
			given[p.Host] = true
			return false
		})
	}
	return settled, nil
}
