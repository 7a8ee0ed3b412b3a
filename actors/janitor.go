package actors

import (
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// How often the janitor looks, how long it rests between two audits, and how
// often it has unused droplets removed.
const (
	sweepEvery = 10 * time.Second
	auditEvery = 2 * time.Second
	evictEvery = time.Minute
)

// janitorMessage is everything that the janitor is told.
//
//sumtype:decl
type janitorMessage interface{ janitor() }

type (
	sweepDue struct{}
	evictDue struct{}
	listed   struct {
		specs []isolation.Spec
		err   error
	}
	auditDue struct{}
	audited  struct {
		found []isolation.Finding
		err   error
	}
)

func (auditDue) janitor() {}
func (audited) janitor()  {}
func (sweepDue) janitor() {}
func (evictDue) janitor() {}
func (listed) janitor()   {}

// janitor reclaims what has no owner: containers that no instance wants,
// promises for containers that are no more, crashes that are too old, droplets
// that nobody uses. What it finds for the first time it only remembers:
// somebody may be about to claim it.
//
// It also has the kernel's side compared, all the time, with what it had been
// made, and says what was found (janitor_audit.go).
type janitor struct {
	kit.Base[janitorMessage]
	w       *world
	parts   parts
	suspect map[string]bool            // containers without an owner at the last look; nil: the first one
	said    map[isolation.Finding]bool // what the last audit found
}

func (w *world) janitorKind(p parts) kit.Kind[janitorMessage] {
	return kit.Kind[janitorMessage]{Name: "janitor", Budget: w.Budget, New: func() kit.Actor[janitorMessage] {
		return &janitor{w: w, parts: p}
	}}
}

func (j *janitor) Up(c *kit.Context[janitorMessage]) error {
	c.Self().Tell(sweepDue{})
	c.After(evictEvery, evictDue{})
	c.After(auditEvery, auditDue{})
	return nil
}

func (j *janitor) Receive(c *kit.Context[janitorMessage], m janitorMessage) error {
	switch m := m.(type) {
	case sweepDue:
		j.parts.instances.Tell(forgetCrashes{})
		kit.Pipe(c, "list", j.w.Kernel.Containers,
			func(s []isolation.Spec, err error) janitorMessage { return listed{s, err} })
		c.After(sweepEvery, sweepDue{})
	case listed:
		if m.err != nil {
			c.Log().Warn("containers can't be listed; the next sweep tries again", "error", m.err)
			return nil
		}
		j.sweep(c, m.specs, j.w.promises.Load())
	case auditDue:
		kit.Pipe(c, "audit", j.w.Kernel.Audit,
			func(f []isolation.Finding, err error) janitorMessage { return audited{f, err} })
	case audited:
		j.report(c, m)
		c.After(auditEvery, auditDue{})
	case evictDue:
		j.evict()
		c.After(evictEvery, evictDue{})
	}
	return nil
}

func (j *janitor) sweep(c *kit.Context[janitorMessage], specs []isolation.Spec, asOf uint64) {
	known, crashed := map[string]bool{}, map[string]Record{}
	for _, r := range j.w.Store.All() {
		if r.State != messaging.Crashed { // nobody wants a crashed instance's container
			known[r.Placement.Container] = true
		} else {
			crashed[r.Placement.Container] = r
		}
	}
	first := j.suspect == nil // after a start nobody else is at work on them yet
	suspect := map[string]bool{}
	for _, spec := range specs {
		if !known[spec.ID] && spec.Owner == isolation.OwnerInstance {
			suspect[spec.ID] = true
			if first || j.suspect[spec.ID] {
				c.Log().Warn("a container that no instance on record wants is destroyed", "container", spec.ID,
					"instance", spec.Tenant)
				j.reclaim(spec, crashed[spec.ID].keeps())
			}
		}
		known[spec.ID] = true
	}
	j.suspect = suspect
	parts := j.parts
	audited := parts.audit
	if !parts.handles.IsZero() {
		audited = func(a audit) { parts.handles.Tell(wardenSwept{specs, a}) }
	}
	parts.containers.Tell(swept{audit{known, asOf}, audited})
}

// reclaim destroys a container that nobody wants.
func (j *janitor) reclaim(spec isolation.Spec, keep string) {
	j.parts.containers.Tell(containerOrder{
		id: spec.ID, goal: goalRemove, place: placementOf(spec), keep: keep, owner: func(containerFact) {},
		source: OutputSource{Container: spec.ID, Job: 1, Application: spec.Tenant, Instance: spec.ID},
	})
}

func placementOf(spec isolation.Spec) Placement {
	p := Placement{Instance: spec.Tenant, Container: spec.ID, Slot: spec.Slot, Epoch: spec.Epoch, Started: spec.Created}
	if len(spec.Network.Ports) > 0 {
		p.Port = spec.Network.Ports[0].Host
	}
	return p
}

func (j *janitor) evict() {
	var used []string
	for _, r := range j.w.Store.All() {
		if r.live() || r.State == messaging.Crashed {
			used = append(used, dropletKey(r.Start.Droplet))
		}
	}
	j.parts.droplets.Tell(evict{used})
}
