package messaging

import "time"

// DescribeUsage is deacon's own question for `deacon nodes` and `deacon top`; one
// UsageDescribed answers it.
type DescribeUsage struct{ ReplyTo string }

// UsageDescribed answers DescribeUsage.
type UsageDescribed struct {
	ReplyTo    string
	Node       Node
	Zone       string
	Evacuating bool
	Since      time.Time // when the agent began
	At         time.Time // of the measurement
	Memory     Account   // MiB
	Disk       Account   // MiB
	Instances  []UsageRow
}

// Account is what the node may promise, and what it has.
type Account struct{ Capacity, Promised int64 }

// UsageRow is what one instance uses and is allowed. What could not be
// measured, and what nothing runs of, is zero.
type UsageRow struct {
	Application string
	Name        string
	Instance    string
	Index       int
	State       State
	Since       time.Time
	CPU         time.Duration // since its container was made: who asks twice knows the share
	MemoryBytes int64
	MemoryLimit int64 // bytes
	DiskBytes   int64
	DiskLimit   int64 // bytes
	Processes   int64
	Measured    bool
}

func (DescribeUsage) command() {}
func (UsageDescribed) event()  {}
