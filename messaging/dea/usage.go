package dea

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// SubjectUsage is where every node is asked what it and its instances use.
const SubjectUsage = ownPrefix + "usage"

type nodeUsageMessage struct {
	NodeID     string            `json:"node"`
	Address    netip.Addr        `json:"address"`
	Version    string            `json:"version"`
	Zone       string            `json:"zone"`
	Evacuating bool              `json:"evacuating"`
	Since      time.Time         `json:"since"`
	At         time.Time         `json:"at"`
	Memory     accountMessage    `json:"memory_mib"`
	Disk       accountMessage    `json:"disk_mib"`
	Instances  []usageRowMessage `json:"instances"`
}

type accountMessage struct {
	Capacity int64 `json:"capacity"`
	Promised int64 `json:"promised"`
}

type usageRowMessage struct {
	Application string          `json:"application"`
	Name        string          `json:"name"`
	Instance    string          `json:"instance"`
	Index       int             `json:"index"`
	State       messaging.State `json:"state"`
	Since       time.Time       `json:"since"`
	CPU         float64         `json:"cpu_seconds"`
	MemoryBytes int64           `json:"memory_bytes"`
	MemoryLimit int64           `json:"memory_limit_bytes"`
	DiskBytes   int64           `json:"disk_bytes"`
	DiskLimit   int64           `json:"disk_limit_bytes"`
	Processes   int64           `json:"processes"`
	Measured    bool            `json:"measured"`
}

func usage(e messaging.UsageDescribed) nodeUsageMessage {
	m := nodeUsageMessage{
		NodeID: e.Node.ID, Address: e.Node.Address, Version: e.Node.Version, Zone: e.Zone, Evacuating: e.Evacuating,
		Since: e.Since, At: e.At, Memory: accountMessage(e.Memory), Disk: accountMessage(e.Disk),
		Instances: make([]usageRowMessage, 0, len(e.Instances)),
	}
	for _, i := range e.Instances {
		m.Instances = append(m.Instances, usageRowMessage{
			i.Application, i.Name, i.Instance, i.Index, i.State, i.Since, i.CPU.Seconds(),
			i.MemoryBytes, i.MemoryLimit, i.DiskBytes, i.DiskLimit, i.Processes, i.Measured,
		})
	}
	return m
}

func decodeUsage(body []byte) (messaging.Command, error) {
	return messaging.DescribeUsage{}, openOrEmpty(body).in.wrong
}

func decodeUsageDescribed(body []byte) (messaging.Event, error) {
	m, err := read[nodeUsageMessage](body)
	e := messaging.UsageDescribed{
		Node: messaging.Node{ID: m.NodeID, Address: m.Address, Version: m.Version}, Zone: m.Zone, Evacuating: m.Evacuating,
		Since: m.Since, At: m.At, Memory: messaging.Account(m.Memory), Disk: messaging.Account(m.Disk),
	}
	for _, i := range m.Instances {
		e.Instances = append(e.Instances, messaging.UsageRow{
			Application: i.Application, Name: i.Name, Instance: i.Instance, Index: i.Index, State: i.State, Since: i.Since,
			CPU: time.Duration(i.CPU * float64(time.Second)), MemoryBytes: i.MemoryBytes, MemoryLimit: i.MemoryLimit,
			DiskBytes: i.DiskBytes, DiskLimit: i.DiskLimit, Processes: i.Processes, Measured: i.Measured,
		})
	}
	return e, cmp.Or(err, missing("node", m.NodeID))
}
