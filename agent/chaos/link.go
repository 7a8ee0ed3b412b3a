package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

var linkDeleted = Fault{
	Name: "link-deleted", Harm: One, Shows: 25 * time.Second,
	Does:      "the link of one container is deleted",
	Heals:     "the node notices, and gives it back or ends the instance with the reason",
	Available: always,
	Inject: func(ctx context.Context, n *Node, o Order) (Injection, error) {
		status, err := n.victim(ctx, o)
		if err != nil {
			return Injection{}, err
		}
		name := n.Plan.Link(slotOf(status))
		link, err := netlink.LinkByName(name)
		if err != nil {
			return Injection{}, fmt.Errorf("find link %s: %w", name, err)
		}
		if err := netlink.LinkDel(link); err != nil {
			return Injection{}, fmt.Errorf("delete link %s: %w", name, err)
		}
		return Injection{Victim: victimOf(status), Note: name}, nil
	},
}
