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

// patience is how long the application may take until it is seen to run; 0: it is
// not looked at (wire/dea.md b.2).
func (i *instance) patience() time.Duration {
	switch {
	case i.droplet.StateFile != "" && i.record.Start.Suspended():
		return forever // it begins when somebody has it begin
	case i.droplet.StateFile != "":
		return i.w.Settings.StateFileTimeout
	case i.record.probed():
		return i.w.healthTimeout(i.record.Start)
	}
	return 0
}

const forever = 100 * 365 * 24 * time.Hour

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
	if patience := i.patience(); patience > 0 {
		o.probe, o.state = i.record.Placement.Started.Add(patience), i.droplet.StateFile
	}
	i.order(c, o)
}
