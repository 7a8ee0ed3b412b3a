package actors

import (
	"context"
	"errors"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// usageMeasured is what every instance uses, as far as it could be measured.
type usageMeasured struct {
	event messaging.UsageDescribed
	err   error
}

// describeUsage adds what the node has promised, and tells.
type describeUsage struct{ event messaging.UsageDescribed }

func (usageMeasured) instances() {}
func (describeUsage) ledger()    {}

// usage measures all instances in one turn off the mailbox: a person looks at them
// every second, and each costs a few small reads.
func (s *instances) usage(c *kit.Context[instancesMessage], replyTo string) {
	event := messaging.UsageDescribed{
		ReplyTo: replyTo, Node: s.w.Node, Zone: s.w.Zone, Evacuating: !s.by.IsZero(), Since: s.w.began, At: c.Now(),
	}
	var containers []string
	for _, r := range s.w.Store.All() {
		state, since := r.outward(r.State)
		event.Instances = append(event.Instances, messaging.UsageRow{
			Application: r.Start.Application, Name: r.Start.Name, Instance: r.Named(), Index: r.Start.Index,
			State: state, Since: since,
			MemoryLimit: r.Start.Limits.MemoryMiB << 20, DiskLimit: r.Start.Limits.DiskMiB << 20,
		})
		container := ""
		if r.State == messaging.Running || r.State == messaging.Starting && !r.Placement.Started.IsZero() {
			container = r.Placement.Container
		}
		containers = append(containers, container)
	}
	kit.Pipe(c, "measure", func(ctx context.Context) (messaging.UsageDescribed, error) {
		var wrong []error
		for n, id := range containers {
			if id == "" {
				continue
			}
			used, err := s.w.Kernel.Usage(ctx, id)
			if err != nil { // one that is starting may have no container yet
				wrong = append(wrong, err)
				continue
			}
			row := &event.Instances[n]
			row.CPU, row.MemoryBytes, row.DiskBytes = used.CPU, used.MemoryBytes, used.DiskBytes
			row.Processes, row.Measured = used.Pids, true
		}
		return event, errors.Join(wrong...)
	}, func(e messaging.UsageDescribed, err error) instancesMessage { return usageMeasured{e, err} })
}

func (s *instances) usageMeasured(c *kit.Context[instancesMessage], m usageMeasured) {
	if m.err != nil {
		c.Log().Debug("not all that is used could be measured", "error", m.err)
	}
	s.parts.ledger.Tell(describeUsage{m.event})
}

func (l *ledger) describeUsage(m describeUsage) {
	b := l.w.book
	m.event.Memory = messaging.Account{Capacity: b.memory.capacity, Promised: b.memory.promised}
	m.event.Disk = messaging.Account{Capacity: b.disk.capacity, Promised: b.disk.promised}
	l.w.tell(m.event)
}
