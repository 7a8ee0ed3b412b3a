package actors

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// The wire's words for how an instance ended (wire/dea.md a.9).
const (
	appExited     = "app instance exited"
	ranOutOfMem   = "out of memory"
	neverAccepted = "failed to accept connections within health check timeout"
	noCommand     = "missing start command"
	failedToStart = "failed to start"
	unknownEnd    = "unknown"
)

// statusOfSignal is what the wire has for a job that a signal ended: the exit
// status of Warden's shell client, which had none to pass on.
const statusOfSignal = 255

// ending is how an instance ended, in the wire's words.
type ending struct {
	status int
	signal string
	words  string
}

func endingOf(e isolation.Exit, oom bool) ending {
	end := ending{status: e.Code, signal: e.SignalName(), words: appExited}
	if e.Signal != 0 {
		end.status = statusOfSignal
	}
	switch {
	case oom || e.OOMKills > 0:
		end.words = ranOutOfMem
	case e.Lost:
		end = ending{status: -1, words: unknownEnd}
	}
	return end
}

// failureWords hide internals from users, as the wire does since 2013.
func failureWords(err error) string {
	if errors.Is(err, ErrNoStartCommand) {
		return noCommand
	}
	return failedToStart
}

// Named is the id that the wire knows the instance by.
func (r Record) Named() string { return cmp.Or(r.Renamed, r.Instance) }

// probed says that the application has a port that it opens: it was started with
// uris. Those of an update come too late to tell.
func (r Record) probed() bool { return len(r.Start.URIs) > 0 }

// routed says that routers are to know of the instance.
func (r Record) routed() bool { return len(r.URIs) > 0 }

// live says that the instance is neither over nor crashed.
func (r Record) live() bool {
	return r.State != messaging.Stopped && r.State != messaging.Crashed
}

func (r Record) outputSource() OutputSource {
	return OutputSource{
		Container: r.Placement.Container, Job: 1,
		Application: r.Start.Application, Instance: r.Instance, Index: r.Start.Index,
	}
}

func (r Record) route(n messaging.Node) messaging.Route {
	return messaging.Route{
		NodeID: n.ID, Application: r.Start.Application, URIs: r.URIs, Host: n.Address, Port: r.Placement.Port,
		ComponentTag: n.ComponentTag(), PrivateInstance: r.PrivateInstance,
	}
}

func (r Record) beat() messaging.BeatInstance {
	state, since := r.Outward()
	return messaging.BeatInstance{
		Partition: r.Start.Partition, Application: r.Start.Application, Version: r.Start.Version,
		Instance: r.Named(), Index: r.Start.Index, State: state, Since: since,
	}
}

func (r Record) exited() messaging.InstanceExited {
	return messaging.InstanceExited{
		Partition: r.Start.Partition, Application: r.Start.Application, Version: r.Start.Version,
		Instance: r.Named(), Index: r.Start.Index, Reason: messaging.Crash,
		ExitStatus: r.ExitStatus, Description: r.Description, CrashedAt: r.Since,
	}
}

func (r Record) changed(n messaging.Node, from messaging.State) messaging.InstanceChanged {
	from, _ = r.outward(from)
	to, since := r.Outward()
	return messaging.InstanceChanged{
		NodeID: n.ID, Application: r.Start.Application, Instance: r.Named(), Index: r.Start.Index,
		From: from, To: to, ExitStatus: r.ExitStatus, Signal: r.Signal, Description: r.Description, At: since,
	}
}

func (r Record) row(n messaging.Node) messaging.InstanceRow {
	state, since := r.Outward()
	row := messaging.InstanceRow{
		Application: r.Start.Application, Name: r.Start.Name, Version: r.Start.Version, Instance: r.Named(),
		Container: r.Placement.Container, Index: r.Start.Index, State: state, Since: since, URIs: r.URIs,
		Host: n.Address, ExitStatus: r.ExitStatus, Description: r.Description,
	}
	if r.live() {
		row.Port = r.Placement.Port
	}
	return row
}

// found answers dea.find.droplet, without stats.
func (r Record) found(n messaging.Node, replyTo string) messaging.InstanceFound {
	state, since := r.Outward()
	return messaging.InstanceFound{
		ReplyTo: replyTo, NodeID: n.ID, Application: r.Start.Application, Version: r.Start.Version,
		Instance: r.Named(), Index: r.Start.Index, State: state, Since: since,
		DebugAt: letIn(n, r.Placement.DebugPort), ConsoleAt: letIn(n, r.Placement.ConsolePort),
	}
}

// sample is what was measured last: the share of a core is a difference.
type sample struct {
	at  time.Time
	cpu time.Duration
}

// share is the part of one core used since the sample, and the new sample.
func (s sample) share(now time.Time, cpu time.Duration) (float64, sample) {
	if passed := now.Sub(s.at); passed > 0 {
		return max(0, float64(cpu-s.cpu)/float64(passed)), sample{at: now, cpu: cpu}
	}
	return 0, s
}

// describe answers at once, or after a look at the kernel's counters.
func (i *instance) describe(c *kit.Context[instanceMessage], find messaging.FindInstances) {
	found := i.w.found(i.record, find)
	if !find.IncludeStats || i.state != instanceRunning {
		i.tell(found)
		return
	}
	i.measure(c, func(stats *messaging.InstanceStats) messaging.Event {
		found.Stats = stats
		return found
	})
}

// status tells what is used, or that nothing is known of it yet.
func (i *instance) status(c *kit.Context[instanceMessage], replyTo string) {
	i.measure(c, func(stats *messaging.InstanceStats) messaging.Event {
		if stats == nil {
			stats = i.allowed(c.Now())
		}
		return messaging.InstanceDescribed{ReplyTo: replyTo, Stats: *stats}
	})
}

// measure answers with what the kernel has counted, or with nil.
func (i *instance) measure(
	c *kit.Context[instanceMessage], answer func(*messaging.InstanceStats) messaging.Event,
) {
	container := i.record.Placement.Container
	kit.Pipe(c, "usage", func(ctx context.Context) (isolation.Usage, error) { return i.w.Kernel.Usage(ctx, container) },
		func(u isolation.Usage, err error) instanceMessage { return measured{answer, u, err} })
}

// report answers with what was measured; where that failed, without it.
func (i *instance) report(c *kit.Context[instanceMessage], m measured) {
	if m.err != nil {
		c.Log().Warn("usage can't be measured", "instance", i.id, "error", m.err)
		i.tell(m.answer(nil))
		return
	}
	if i.sample.at.IsZero() {
		i.sample.at = i.record.Placement.Started
	}
	now := c.Now()
	var cpu float64
	cpu, i.sample = i.sample.share(now, m.usage.CPU)
	stats := i.allowed(now)
	stats.CPU, stats.MemBytes, stats.DiskBytes = cpu, m.usage.MemoryBytes, m.usage.DiskBytes
	i.tell(m.answer(stats))
}

// allowed is all but what is used.
func (i *instance) allowed(now time.Time) *messaging.InstanceStats {
	s := i.record.Start
	return &messaging.InstanceStats{
		Name: s.Name, URIs: i.record.URIs, Host: i.w.Node.Address, Port: i.record.Placement.Port,
		Uptime: now.Sub(i.record.Since), MemQuota: s.Limits.MemoryMiB << 20, DiskQuota: s.Limits.DiskMiB << 20,
		FilesQuota: s.Limits.Files, MeasuredAt: now,
	}
}
