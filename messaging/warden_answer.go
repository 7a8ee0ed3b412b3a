package messaging

import "net/netip"

// Answered is the one answer to a request of a Warden client.
type Answered struct {
	Ask    Ask
	Answer Answer
}

// AsksForgotten says that the node has lost track of what clients asked: whoever
// waits for an answer has to be sent away, and will ask again.
type AsksForgotten struct{}

func (Answered) event()      {}
func (AsksForgotten) event() {}

// Answer is everything that a Warden client may be answered. The set is closed.
//
//sumtype:decl
type Answer interface{ answer() }

type (
	// Failed is an error; clients match its text.
	Failed struct{ Text string }
	// Done answers what has nothing to tell.
	Done struct{}
	// ContainerCreated answers CreateContainer.
	ContainerCreated struct{ Handle string }
	// ContainersListed answers ListContainers, oldest first.
	ContainersListed struct{ Handles []string }
	// ContainerInspected answers InspectContainer.
	ContainerInspected struct{ Info ContainerInfo }
	// JobSpawned answers SpawnJob.
	JobSpawned struct{ Job uint32 }
	// JobLinked answers LinkJob and RunJob.
	JobLinked struct {
		Status         uint32 // 0..255; 255: a signal, the output's limit, or the node's own failure
		Stdout, Stderr []byte
		Info           ContainerInfo // after the job's end
	}
	// JobStreamed answers StreamJob, after the last chunk.
	JobStreamed struct {
		Status uint32
		Info   ContainerInfo // from when it was asked
	}
	// PortMapped answers MapPort.
	PortMapped struct{ Host, Container uint32 }
	// MemoryLimited answers LimitMemory.
	MemoryLimited struct{ Bytes uint64 }
	// CPULimited answers LimitCPU.
	CPULimited struct{ Shares uint64 }
	// DiskLimited answers LimitDisk; 0: no limit. Off: the node has no quotas.
	DiskLimited struct {
		Blocks, Inodes uint64
		Off            bool
	}
	// BandwidthLimited answers LimitBandwidth.
	BandwidthLimited struct{ Rate, Burst uint64 }
)

func (Failed) answer()             {}
func (Done) answer()               {}
func (ContainerCreated) answer()   {}
func (ContainersListed) answer()   {}
func (ContainerInspected) answer() {}
func (JobSpawned) answer()         {}
func (JobLinked) answer()          {}
func (JobStreamed) answer()        {}
func (PortMapped) answer()         {}
func (MemoryLimited) answer()      {}
func (CPULimited) answer()         {}
func (DiskLimited) answer()        {}
func (BandwidthLimited) answer()   {}

// ContainerInfo is what a Warden client may know of a container.
type ContainerInfo struct {
	State       string // active, stopped
	Events      []string
	HostIP      netip.Addr
	ContainerIP netip.Addr
	Path        string   // of its folder on the node
	Jobs        []uint32 // that have not ended
	Memory      MemoryUse
	CPU         CPUUse
	DiskBytes   uint64
	DiskInodes  uint64
	DiskOff     bool // the node has no quotas, and counts nothing
	Bandwidth   Bandwidth
}

// MemoryUse is cgroup v1's memory.stat: bytes, and counts of events. What the
// kernel doesn't tell (v2) is 0.
type MemoryUse struct {
	Cache, RSS, MappedFile, PgpgIn, PgpgOut, Swap, PgFault, PgMajFault          uint64
	InactiveAnon, ActiveAnon, InactiveFile, ActiveFile, Unevictable             uint64
	HierarchicalLimit, HierarchicalMemswLimit                                   uint64
	TotalCache, TotalRSS, TotalMappedFile, TotalPgpgIn, TotalPgpgOut, TotalSwap uint64
	TotalPgFault, TotalPgMajFault, TotalInactiveAnon, TotalActiveAnon           uint64
	TotalInactiveFile, TotalActiveFile, TotalUnevictable                        uint64
}

// CPUUse is what the jobs used: nanoseconds in all, and USER_HZ ticks (1/100 s)
// outside and inside of the kernel.
type CPUUse struct{ Usage, User, System uint64 }

// Bandwidth is the limit on traffic into and out of the container, in bytes a
// second and bytes; all ones: none.
type Bandwidth struct{ InRate, InBurst, OutRate, OutBurst uint64 }
