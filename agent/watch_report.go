package agent

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/messaging"
)

const (
	// reportKept is how old a report may be that is told again: a node of 500
	// instances reads some thousands of files for one.
	reportKept = time.Second
	// accountMax is how long the book is waited for.
	accountMax = 2 * time.Second
)

// cpuSample is what was measured last: the share of a core is a difference.
type cpuSample struct {
	at  time.Time
	cpu time.Duration
}

// report is the node's account of itself, at most reportKept old. One is made at a
// time; whoever asks meanwhile gets that.
func (w *watch) report(ctx context.Context) messaging.Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.parts != nil && now.Sub(w.last.At) < reportKept {
		return w.last
	}
	r := messaging.Report{
		Node: w.node, Zone: w.config.Node.Zone, Component: w.component, At: now, Stacks: stackNames(w.config.Stacks),
		Logged: w.logged.counts(), Agent: agentUsage(now.Sub(w.began)), Config: w.config.told(),
	}
	if w.parts == nil {
		return r
	}
	asking, cancel := context.WithTimeout(ctx, accountMax)
	defer cancel()
	if account, err := w.parts.tree.Account(asking); err != nil {
		w.log.Warn("the book can't be asked", "error", err)
	} else {
		r.MemoryMiB, r.DiskMiB, r.Slots, r.Ports = account.MemoryMiB, account.DiskMiB, account.Slots, account.Ports
	}
	r.Containers = w.parts.box.Held()
	r.Instances = w.instances(ctx, now)
	w.last = r
	return r
}

// instances measures those that run, until ctx ends.
func (w *watch) instances(ctx context.Context, now time.Time) []messaging.InstanceReport {
	traffic, err := w.parts.box.Traffic()
	if err != nil {
		w.log.Debug("traffic can't be read", "error", err)
	}
	samples := map[string]cpuSample{}
	var list []messaging.InstanceReport
	for _, record := range w.parts.store.All() {
		one := w.instance(record)
		one.Restarts = w.restarts.before(record.Start.Application, record.Start.Index)
		if record.State == messaging.Running && ctx.Err() == nil {
			usage, err := w.parts.box.Usage(ctx, record.Placement.Container)
			if err != nil {
				w.log.Debug("usage can't be measured", "instance", record.Instance, "error", err)
			} else {
				through := traffic[w.linkOf(record.Placement)]
				samples[record.Instance] = cpuSample{now, usage.CPU}
				one.Usage = usageOf(usage, through, now, w.sampleOf(record))
			}
		}
		list = append(list, one)
	}
	w.samples = samples
	return list
}

func (w *watch) sampleOf(r actors.Record) cpuSample {
	if sample, ok := w.samples[r.Instance]; ok {
		return sample
	}
	return cpuSample{at: r.Placement.Started}
}

func usageOf(u isolation.Usage, through isolation.Traffic, now time.Time, last cpuSample) *messaging.InstanceUsage {
	usage := &messaging.InstanceUsage{
		MemoryBytes: u.MemoryBytes, DiskBytes: u.DiskBytes, Processes: u.Pids, OOMKills: u.OOMKills, CPU: u.CPU,
		ReceivedBytes: through.Received, SentBytes: through.Sent,
	}
	if passed := now.Sub(last.at); passed > 0 {
		usage.CPUShare = max(0, float64(u.CPU-last.cpu)/float64(passed))
	}
	return usage
}

// instance leaves out whatever may hold a secret.
func (w *watch) instance(r actors.Record) messaging.InstanceReport {
	s := r.Start
	state, since := r.Outward()
	one := messaging.InstanceReport{
		Partition: s.Partition, Application: s.Application, Name: s.Name, Version: s.Version, Instance: r.Named(),
		PrivateInstance: r.PrivateInstance, Container: r.Placement.Container, DropletSHA1: s.Droplet.SHA1,
		Stack: cmp.Or(s.Stack, w.config.Stacks[0].Name),
		Index: s.Index, State: state, Since: since, URIs: r.URIs, Limits: s.Limits, Host: w.node.Address,
	}
	if r.State == messaging.Running {
		one.Port = r.Placement.Port
	}
	return one
}

func slotOf(p actors.Placement) slot.Slot { return slot.Slot{Number: p.Slot, Epoch: p.Epoch} }

// agentUsage is what this process takes; what the kernel doesn't say is zero.
func agentUsage(uptime time.Duration) messaging.AgentUsage {
	u := messaging.AgentUsage{Cores: runtime.NumCPU()}
	var spent unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &spent) == nil && uptime > 0 {
		u.CPUPercent = 100 * float64(spent.Utime.Nano()+spent.Stime.Nano()) / float64(uptime)
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			u.MemoryBytes = pages * int64(os.Getpagesize())
		}
	}
	return u
}
