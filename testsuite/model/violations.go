package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
)

// examine looks for what is promised twice when a container is made.
func (k *Kernel) examine(spec isolation.Spec) {
	for _, other := range k.containers {
		if other.spec.Slot == spec.Slot {
			k.violate("slot %d given to %s while %s has it", spec.Slot, spec.ID, other.spec.ID)
		}
		for _, port := range spec.Network.Ports {
			k.collide(other, spec.ID, port)
		}
	}
	if spec.Tenant == "" {
		return
	}
	first, made := k.tenants[spec.Tenant]
	if made && first.container != spec.ID && first.boot == k.boots {
		k.violate("%s is started a second time: in %s after %s", spec.Tenant, spec.ID, first.container)
	}
	k.tenants[spec.Tenant] = tenancy{spec.ID, k.boots}
}

// collide looks for a port of the node that somebody else has.
func (k *Kernel) collide(other *container, id string, port isolation.PortMap) {
	has := func(p isolation.PortMap) bool { return p.Host == port.Host }
	if port.Host != 0 && other.spec.ID != id && slices.ContainsFunc(other.spec.Network.Ports, has) {
		k.violate("port %d given to %s while %s has it", port.Host, id, other.spec.ID)
	}
}

// weigh looks for memory that there isn't.
func (k *Kernel) weigh(made *container) {
	var promised int64
	for _, c := range k.containers {
		if c.alive && c.spec.Owner == isolation.OwnerInstance {
			promised += c.spec.Limits.MemoryBytes
		}
	}
	if k.Memory > 0 && promised > k.Memory {
		k.violate("with %s %d bytes of memory are promised, and there are %d", made.spec.ID, promised, k.Memory)
	}
}

func (k *Kernel) violate(format string, args ...any) {
	k.violations = append(k.violations, fmt.Sprintf(format, args...))
}

// Violations are the promises that the tree broke.
func (k *Kernel) Violations() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.violations)
}

// Broken says whether there are any.
func (k *Kernel) Broken() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.violations) > 0
}

// Residents are what Containers lists, for who is not on the machine.
func (k *Kernel) Residents() []isolation.Spec {
	k.mu.Lock()
	defer k.mu.Unlock()
	var specs []isolation.Spec
	for _, c := range k.containers {
		specs = append(specs, c.spec)
	}
	slices.SortFunc(specs, func(a, b isolation.Spec) int { return cmp.Compare(a.ID, b.ID) })
	return specs
}

// Resident is what there is to see of one container from outside.
type Resident struct {
	Spec    isolation.Spec
	Lives   bool            // PID 1 does
	Running []uint32        // jobs
	Exit    *isolation.Exit // of the job that it was made with
	Jobs    map[uint32]Job  // further ones, forgotten or not
	Said    int             // lines that its first job wrote
}

// Job is a further job as there is to see of it.
type Job struct {
	Words string          // that it was started with
	Exit  *isolation.Exit // nil: it runs, or its end is lost
}

// Look shows one container; false: there is none.
func (k *Kernel) Look(id string) (r Resident, ok bool) {
	k.with(id, func(c *container) { r, ok = c.resident(), true })
	return r, ok
}

func (c *container) resident() Resident {
	r := Resident{
		Spec: c.spec, Lives: c.alive, Exit: c.exit, Said: c.output.written, Jobs: map[uint32]Job{},
	}
	if c.begun && c.exit == nil && c.alive {
		r.Running = append(r.Running, c.job)
	}
	for number, j := range c.forgotten {
		r.Jobs[number] = Job{strings.Join(j.argv, " "), j.exit}
	}
	for number, j := range c.jobs {
		r.Jobs[number] = Job{strings.Join(j.argv, " "), j.exit}
		if j.exit == nil && c.alive {
			r.Running = append(r.Running, number)
		}
	}
	slices.Sort(r.Running)
	return r
}
