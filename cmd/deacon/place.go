package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/messaging"
)

// need is what one instance asks of a node.
type need struct {
	application string
	memoryMiB   int64
	diskMiB     int64
	stack       string // empty: any
}

// place chooses a node for each of count instances, as a cloud controller
// does: among those with room and the stack the one that runs fewest of the
// application, and among these the one with most memory. What it gives away
// it subtracts from its own copy of the offers, because the next offers come
// seconds later.
func place(offers []messaging.Advertised, n need, count int) ([]string, error) {
	left := slices.Clone(offers)
	given := map[string]int{}
	var nodes []string
	for range count {
		best := -1
		for i, offer := range left {
			if fits(offer, n) && (best < 0 || better(offer, left[best], n.application, given)) {
				best = i
			}
		}
		if best < 0 {
			return nil, noRoom(left, n, len(nodes), count)
		}
		left[best].MemoryMiB -= n.memoryMiB
		left[best].DiskMiB -= n.diskMiB
		given[left[best].NodeID]++
		nodes = append(nodes, left[best].NodeID)
	}
	return nodes, nil
}

func fits(offer messaging.Advertised, n need) bool {
	return offer.MemoryMiB >= n.memoryMiB && offer.DiskMiB >= n.diskMiB && hasStack(offer, n.stack)
}

func hasStack(offer messaging.Advertised, stack string) bool {
	return stack == "" || slices.Contains(offer.Stacks, stack)
}

func better(a, b messaging.Advertised, application string, given map[string]int) bool {
	instances := func(offer messaging.Advertised) int {
		return offer.ApplicationCount[application] + given[offer.NodeID]
	}
	return cmp.Or(
		cmp.Compare(instances(a), instances(b)),
		cmp.Compare(b.MemoryMiB, a.MemoryMiB),
		strings.Compare(a.NodeID, b.NodeID)) < 0
}

// noRoom says what is missing, in figures that can be acted on.
func noRoom(offers []messaging.Advertised, n need, placed, count int) error {
	var memory, disk int64
	var stacks []string
	for _, offer := range offers {
		stacks = append(stacks, offer.Stacks...)
		if hasStack(offer, n.stack) {
			memory, disk = max(memory, offer.MemoryMiB), max(disk, offer.DiskMiB)
		}
	}
	slices.Sort(stacks)
	if n.stack != "" && !slices.Contains(stacks, n.stack) {
		return fail(exitNoRoom, "choose one that there is by --stack",
			"no node has the stack %q; there is %s", n.stack, strings.Join(slices.Compact(stacks), ", "))
	}
	which := ""
	if count > 1 {
		which = fmt.Sprintf(" for instance %d of %d", placed+1, count)
	}
	return fail(exitNoRoom, "ask for less with --memory and --disk, or stop something (deacon ps)",
		"no node has room%s: it needs %d MiB of memory and %d MiB of disk; the most that one has is %d and %d MiB",
		which, n.memoryMiB, n.diskMiB, memory, disk)
}
