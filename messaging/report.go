package messaging

import (
	"net/netip"
	"time"
)

// Report is the node's account of itself at one moment, for whoever watches it.
type Report struct {
	Node      Node
	Zone      string
	Component Component // without an address where nobody is let in by HTTP
	At        time.Time
	Stacks    []string
	// What there is to promise; the book's, and zero where it can't be asked.
	MemoryMiB, DiskMiB Share
	Slots, Ports       Share
	Instances          []InstanceReport  // by application, index and instance
	Containers         []string          // ids of all that live
	Logged             map[string]uint64 // messages by level
	Agent              AgentUsage
	Config             any // without secrets; nil: not told
}

// Share is how much there is to promise of something, and how much is promised.
type Share struct{ Capacity, Promised int64 }

// Ratio is what is left to promise of what there is.
func (s Share) Ratio() float64 {
	if s.Capacity <= 0 {
		return 0
	}
	return max(0, 1-float64(s.Promised)/float64(s.Capacity))
}

// AgentUsage is what the agent itself takes.
type AgentUsage struct {
	Cores       int     // of the machine
	CPUPercent  float64 // of one core, since it began
	MemoryBytes int64   // resident
}

// InstanceReport is one instance of a Report.
type InstanceReport struct {
	Partition, Application, Name, Version string
	Instance, PrivateInstance, Container  string
	DropletSHA1, Stack                    string
	Index                                 int
	State                                 State
	Since                                 time.Time
	URIs                                  []string
	Limits                                ApplicationLimits
	Host                                  netip.Addr
	Port                                  uint16
	// Restarts are the starts of the same index of the application on this node
	// before this one, as far as the agent remembers.
	Restarts uint64
	Usage    *InstanceUsage // nil: it doesn't run, or can't be measured
}

// InstanceUsage is what an instance takes, by the kernel's counters.
type InstanceUsage struct {
	MemoryBytes, DiskBytes int64
	Processes              int64
	OOMKills               uint64
	CPU                    time.Duration // since its container was made
	// CPUShare is the part of one core since the report before, or since it began.
	CPUShare float64
	// Traffic as the instance sees it; both are 0 where its link can't be found.
	ReceivedBytes, SentBytes uint64
}
