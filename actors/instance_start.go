package actors

import (
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

func (i *instance) demand() demand {
	s := i.record.Start
	return demand{
		instance: i.id, application: s.Application, container: i.record.Placement.Container,
		memory: s.Limits.MemoryMiB, disk: s.Limits.DiskMiB, port: true, extra: extraPortsOf(s),
	}
}

func (w *world) healthTimeout(s messaging.StartInstance) time.Duration {
	if s.HealthCheckTimeout > 0 {
		return s.HealthCheckTimeout
	}
	return w.Settings.HealthCheckTimeout
}

// run plans the container and asks for it.
func (i *instance) run(c *kit.Context[instanceMessage]) {
	spec, job, err := i.w.Planner.Plan(i.record.Placement, i.record.Start, i.droplet)
	if err != nil {
		i.unfit(c, err)
		return
	}
	first, err := i.w.hooked(i.record.Placement, i.record.Start, BeforeStart)
	if err != nil {
		i.unfit(c, err)
		return
	}
	o := containerOrder{goal: goalRun, spec: spec, job: job, hooks: first, fresh: i.never()}
	if i.record.probed() {
		o.probe = i.record.Placement.Started.Add(i.w.healthTimeout(i.record.Start))
	}
	i.order(c, o)
}
