package chaos

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/deacon-agent/deacon/isolation"
)

var linkDeleted = Fault{
	Name: "link-deleted", Harm: One,
	Does:      "the link of one container is deleted",
	Heals:     "the node notices, and gives it back or ends the instance with the reason",
	Available: always,
	Inject: ofOne(func(n *Node, victim isolation.Status) (string, error) {
		name := n.Plan.Link(slotOf(victim))
		link, err := netlink.LinkByName(name)
		if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
			return "", unableError("link " + name + " is gone already")
		}
		if err != nil {
			return "", fmt.Errorf("find link %s: %w", name, err)
		}
		if err := netlink.LinkDel(link); err != nil {
			return "", fmt.Errorf("delete link %s: %w", name, err)
		}
		return name, nil
	}),
}
