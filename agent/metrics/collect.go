package metrics

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/deacon-agent/deacon/messaging"
)

// collector reads everything anew at each scrape.
type collector struct {
	sources Sources
	log     hclog.Logger
}

// Describe tells of all metrics, so that two can't have one name.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range all {
		to <- m.desc
	}
}

// Collect measures. What can't be had is missing, and no zero.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := scrape{to: to, log: c.log}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeMax)
	defer cancel()
	begun := time.Now()
	report := c.sources.Report(ctx)
	s.tell(measureTook, time.Since(begun).Seconds())
	s.node(report, c.sources.Ready() == nil)
	s.instances(report.Instances)
	s.actors(c.sources)
	s.nats(c.sources)
	stalls, err := c.sources.Pressure()
	if err != nil {
		c.log.Debug("pressure can't be read", "error", err)
	}
	for _, stall := range stalls {
		s.tell(stalled, stall.Total.Seconds(), stall.Scope, stall.Resource, stall.Kind)
	}
}

// scrape is one answer.
type scrape struct {
	to  chan<- prometheus.Metric
	log hclog.Logger
}

// tell makes labels what they have to be: applications' ids are any bytes.
func (s scrape) tell(m metric, value float64, labels ...string) {
	for i, label := range labels {
		labels[i] = strings.ToValidUTF8(label, "\uFFFD")
	}
	told, err := prometheus.NewConstMetric(m.desc, m.kind, value, labels...)
	if err != nil {
		s.log.Debug("a metric can't be told", "error", err)
		return
	}
	s.to <- told
}

const mib = 1 << 20

func (s scrape) node(r messaging.Report, ready bool) {
	s.tell(nodeInfo, 1, r.Node.ID, r.Node.Version, r.Zone)
	s.tell(nodeReady, oneIf(ready))
	s.tell(nodeStarted, seconds(r.Component.Started))
	if r.Slots.Capacity > 0 { // else the book could not be asked
		s.share(memoryCapacity, memoryReserved, r.MemoryMiB, mib)
		s.share(diskCapacity, diskReserved, r.DiskMiB, mib)
		s.share(slotsCapacity, slotsReserved, r.Slots, 1)
		s.share(portsCapacity, portsReserved, r.Ports, 1)
	}
	s.tell(containersHeld, float64(len(r.Containers)))
	for level, count := range r.Logged {
		s.tell(loggedTotal, float64(count), level)
	}
}

func (s scrape) share(capacity, reserved metric, share messaging.Share, unit int64) {
	s.tell(capacity, float64(share.Capacity*unit))
	s.tell(reserved, float64(share.Promised*unit))
}

var states = []messaging.State{
	messaging.Born, messaging.Starting, messaging.Running, messaging.Evacuating, messaging.Stopping,
	messaging.Stopped, messaging.Crashed,
}

func (s scrape) instances(list []messaging.InstanceReport) {
	count := map[messaging.State]int{}
	var memory, disk int64
	for _, i := range list {
		count[i.State]++
		if i.State != messaging.Crashed && i.State != messaging.Stopped {
			s.instance(i)
		}
		if i.Usage != nil {
			memory, disk = memory+i.Usage.MemoryBytes, disk+i.Usage.DiskBytes
		}
	}
	for _, state := range states {
		s.tell(instancesByState, float64(count[state]), string(state))
	}
	s.tell(memoryUsed, float64(memory))
	s.tell(diskUsed, float64(disk))
}

func (s scrape) instance(i messaging.InstanceReport) {
	index := strconv.Itoa(i.Index)
	tell := func(m metric, value float64) { s.tell(m, value, i.Application, index, i.Instance) }
	tell(instanceSince, seconds(i.Since))
	tell(instanceMemMax, float64(i.Limits.MemoryMiB*mib))
	tell(instanceDiskMax, float64(i.Limits.DiskMiB*mib))
	tell(instanceRestarts, float64(i.Restarts))
	u := i.Usage
	if u == nil {
		return
	}
	tell(instanceCPU, u.CPU.Seconds())
	tell(instanceMemory, float64(u.MemoryBytes))
	tell(instanceDisk, float64(u.DiskBytes))
	tell(instanceTasks, float64(u.Processes))
	tell(instanceOOM, float64(u.OOMKills))
	tell(instanceReceived, float64(u.ReceivedBytes))
	tell(instanceSent, float64(u.SentBytes))
}

func (s scrape) actors(from Sources) {
	type standing struct{ living, failed, waiting, longest int }
	kinds := map[string]standing{}
	for _, a := range from.Actors() {
		k := kinds[a.Kind]
		k.living, k.waiting, k.longest = k.living+1, k.waiting+a.Mailbox, max(k.longest, a.Mailbox)
		if a.Failed {
			k.failed++
		}
		kinds[a.Kind] = k
	}
	for kind, k := range kinds {
		s.tell(actorsLiving, float64(k.living), kind)
		s.tell(actorsFailed, float64(k.failed), kind)
		s.tell(actorWaiting, float64(k.waiting), kind)
		s.tell(actorLongest, float64(k.longest), kind)
	}
	failures := from.Failures()
	for kind := range failures {
		if _, living := kinds[kind]; !living {
			kinds[kind] = standing{}
		}
	}
	for kind := range kinds { // 0 is told too, before it happens
		s.tell(actorRestarts, float64(failures[kind].Restarts), kind)
		s.tell(actorsForsaken, float64(failures[kind].GivenUp), kind)
	}
}

func (s scrape) nats(from Sources) {
	b, ok := from.Bus()
	if !ok {
		return
	}
	s.tell(natsConnected, oneIf(b.Connected))
	s.tell(natsConnections, float64(b.Connections))
	s.tell(natsWaiting, float64(b.Waiting))
	s.tell(natsUnheard, float64(b.Unheard))
	s.tell(natsLost, float64(b.Lost))
	s.tell(natsHeard, float64(b.Heard))
	s.tell(natsTold, float64(b.Told))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func seconds(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
