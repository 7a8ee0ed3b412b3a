package box

import (
	"errors"
	"slices"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/network"
)

// What can be seen of all containers at once, without asking one of them.

// Held are the ids of the containers that the agent has a hold on, sorted.
func (b *Box) Held() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]string, 0, len(b.live))
	for id := range b.live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Pressure is how long processes stood still for want of something: the machine's,
// and the containers' where the kernel accounts for them.
func (b *Box) Pressure() ([]isolation.Stall, error) {
	machine, err := cgroup.MachinePressure()
	containers, failed := b.cgroups.Pressure()
	return append(machine, containers...), errors.Join(err, failed)
}

// Traffic is what went through the containers' links, by their names.
func (b *Box) Traffic() (map[string]isolation.Traffic, error) {
	return network.Traffic(b.config.Plan.LinkPrefix())
}
