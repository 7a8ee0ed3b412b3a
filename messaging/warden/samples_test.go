package warden

import (
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// sampleRequest is what a client sends, and what is to be made of it.
type sampleRequest struct {
	file    string
	kind    Type
	request proto.Message
	command messaging.Command // nil: Local answers
}

var asker = messaging.Ask{Client: 7, Request: 3}

// odd is a handle as a client may choose it: any bytes.
const odd = "my/odd \xff\x00\u0082"

var allRlimits = &protocol.ResourceLimits{
	As: new(uint64(1)), Core: new(uint64(2)), Cpu: new(uint64(3)), Data: new(uint64(4)), Fsize: new(uint64(5)),
	Locks: new(uint64(6)), Memlock: new(uint64(7)), Msgqueue: new(uint64(8)), Nice: new(uint64(9)), Nofile: new(uint64(10)),
	Nproc: new(uint64(11)), Rss: new(uint64(12)), Rtprio: new(uint64(13)), Sigpending: new(uint64(math.MaxUint64)),
	Stack: new(uint64(0)),
}

var allRlimitsNamed = []messaging.Rlimit{
	{Name: "as", Value: 1}, {Name: "core", Value: 2}, {Name: "cpu", Value: 3}, {Name: "data", Value: 4},
	{Name: "fsize", Value: 5}, {Name: "locks", Value: 6}, {Name: "memlock", Value: 7}, {Name: "msgqueue", Value: 8},
	{Name: "nice", Value: 9}, {Name: "nofile", Value: 10}, {Name: "nproc", Value: 11}, {Name: "rss", Value: 12},
	{Name: "rtprio", Value: 13}, {Name: "sigpending", Value: math.MaxUint64}, {Name: "stack", Value: 0},
}

var sampleRequests = []sampleRequest{
	{"create_request_least", TypeCreate, &protocol.CreateRequest{}, messaging.CreateContainer{Ask: asker}},
	{"create_request", TypeCreate,
		&protocol.CreateRequest{
			BindMounts: []*protocol.CreateRequest_BindMount{
				{SrcPath: new("/s"), DstPath: new("/d"), Mode: protocol.CreateRequest_BindMount_RO.Enum()},
				{SrcPath: new("/tmp/a b"), DstPath: new("/e"), Mode: protocol.CreateRequest_BindMount_RW.Enum()},
			},
			GraceTime: new(uint32(0)), Handle: new(odd), Network: new("10.0.0.1"), Rootfs: new("/r"),
		},
		messaging.CreateContainer{
			Ask: asker, Handle: new(odd), Grace: new(time.Duration(0)), Network: "10.0.0.1", Rootfs: "/r",
			Binds: []messaging.BindMount{
				{Source: "/s", Target: "/d", ReadOnly: true}, {Source: "/tmp/a b", Target: "/e"},
			},
		}},
	{"create_request_longest_grace", TypeCreate,
		&protocol.CreateRequest{GraceTime: new(uint32(math.MaxUint32)), Handle: new("")},
		messaging.CreateContainer{Ask: asker, Handle: new(""), Grace: new(math.MaxUint32 * time.Second)}},
	{"stop_request", TypeStop,
		&protocol.StopRequest{Handle: new("h"), Background: new(true), Kill: new(true)},
		messaging.StopContainer{Ask: asker, Handle: "h", Background: true, Kill: true}},
	{"stop_request_least", TypeStop,
		&protocol.StopRequest{Handle: new("h")}, messaging.StopContainer{Ask: asker, Handle: "h"}},
	{"destroy_request", TypeDestroy,
		&protocol.DestroyRequest{Handle: new(odd)}, messaging.DestroyContainer{Ask: asker, Handle: odd}},
	{"info_request", TypeInfo,
		&protocol.InfoRequest{Handle: new("h")}, messaging.InspectContainer{Ask: asker, Handle: "h"}},
	{"list_request", TypeList, &protocol.ListRequest{}, messaging.ListContainers{Ask: asker}},
	{"spawn_request", TypeSpawn,
		&protocol.SpawnRequest{
			Handle: new("h"), Script: new("echo \xfe"), Privileged: new(true), Rlimits: allRlimits, LogTag: new("t"),
		},
		messaging.SpawnJob{Ask: asker, Handle: "h", Script: messaging.Script{
			Text: "echo \xfe", Privileged: true, Rlimits: allRlimitsNamed, LogTag: "t",
		}}},
	{"run_request", TypeRun,
		&protocol.RunRequest{
			Handle: new("h"), Script: new("s"), Privileged: new(false),
			Rlimits: &protocol.ResourceLimits{Nofile: new(uint64(1234))}, DiscardOutput: new(true), LogTag: new("t"),
		},
		messaging.RunJob{Ask: asker, Handle: "h", Script: messaging.Script{
			Text: "s", Rlimits: []messaging.Rlimit{{Name: "nofile", Value: 1234}}, Discard: true, LogTag: "t",
		}}},
	{"run_request_least", TypeRun,
		&protocol.RunRequest{Handle: new("h"), Script: new("")}, messaging.RunJob{Ask: asker, Handle: "h"}},
	{"link_request", TypeLink,
		&protocol.LinkRequest{Handle: new("h"), JobId: new(uint32(300))},
		messaging.LinkJob{Ask: asker, Handle: "h", Job: 300}},
	{"stream_request", TypeStream,
		&protocol.StreamRequest{Handle: new("h"), JobId: new(uint32(math.MaxUint32))},
		messaging.StreamJob{Ask: asker, Handle: "h", Job: math.MaxUint32}},
	{"net_in_request", TypeNetIn,
		&protocol.NetInRequest{Handle: new("h"), HostPort: new(uint32(80)), ContainerPort: new(uint32(8080))},
		messaging.MapPort{Ask: asker, Handle: "h", Host: new(uint32(80)), Container: new(uint32(8080))}},
	{"net_in_request_least", TypeNetIn,
		&protocol.NetInRequest{Handle: new("h")}, messaging.MapPort{Ask: asker, Handle: "h"}},
	{"net_out_request", TypeNetOut,
		&protocol.NetOutRequest{
			Handle: new("h"), Network: new("10.0.0.0/8"), Port: new(uint32(0)), PortRange: new("8080:9080"),
			Protocol: protocol.NetOutRequest_UDP.Enum(), Log: new(true),
		},
		messaging.AllowEgress{
			Ask: asker, Handle: "h", Network: "10.0.0.0/8", Port: new(uint32(0)), PortRange: "8080:9080",
			Protocol: "udp", Log: true,
		}},
	{"net_out_request_icmp", TypeNetOut,
		&protocol.NetOutRequest{
			Handle: new("h"), Protocol: protocol.NetOutRequest_ICMP.Enum(), IcmpType: new(int32(-1)), IcmpCode: new(int32(-1)),
		},
		messaging.AllowEgress{Ask: asker, Handle: "h", Protocol: "icmp", Type: new(int32(-1)), Code: new(int32(-1))}},
	{"net_out_request_all", TypeNetOut,
		&protocol.NetOutRequest{
			Handle: new("h"), Network: new("10.0.0.1-10.0.0.9"), Protocol: protocol.NetOutRequest_ALL.Enum(),
		},
		messaging.AllowEgress{Ask: asker, Handle: "h", Network: "10.0.0.1-10.0.0.9", Protocol: "all"}},
	{"net_out_request_least", TypeNetOut,
		&protocol.NetOutRequest{Handle: new("h")}, messaging.AllowEgress{Ask: asker, Handle: "h", Protocol: "tcp"}},
	{"copy_in_request", TypeCopyIn,
		&protocol.CopyInRequest{Handle: new("h"), SrcPath: new("/s/"), DstPath: new("/d")},
		messaging.CopyIn{Ask: asker, Handle: "h", Source: "/s/", Target: "/d"}},
	{"copy_out_request", TypeCopyOut,
		&protocol.CopyOutRequest{Handle: new("h"), SrcPath: new("/s"), DstPath: new("/d"), Owner: new("u:g")},
		messaging.CopyOut{Ask: asker, Handle: "h", Source: "/s", Target: "/d", Owner: "u:g"}},
	{"limit_memory_request", TypeLimitMemory,
		&protocol.LimitMemoryRequest{Handle: new("h"), LimitInBytes: new(uint64(0))},
		messaging.LimitMemory{Ask: asker, Handle: "h", Bytes: new(uint64(0))}},
	{"limit_memory_request_least", TypeLimitMemory,
		&protocol.LimitMemoryRequest{Handle: new("h")}, messaging.LimitMemory{Ask: asker, Handle: "h"}},
	{"limit_cpu_request", TypeLimitCPU,
		&protocol.LimitCpuRequest{Handle: new("h"), LimitInShares: new(uint64(1 << 40))},
		messaging.LimitCPU{Ask: asker, Handle: "h", Shares: new(uint64(1 << 40))}},
	{"limit_disk_request", TypeLimitDisk,
		&protocol.LimitDiskRequest{
			Handle:     new("h"),
			BlockLimit: new(uint64(1)), Block: new(uint64(2)), BlockSoft: new(uint64(3)), BlockHard: new(uint64(4)),
			InodeLimit: new(uint64(5)), Inode: new(uint64(6)), InodeSoft: new(uint64(7)), InodeHard: new(uint64(8)),
			ByteLimit: new(uint64(9)), Byte: new(uint64(10)), ByteSoft: new(uint64(11)), ByteHard: new(uint64(12)),
		},
		messaging.LimitDisk{Ask: asker, Handle: "h", Blocks: new(uint64(4)), Inodes: new(uint64(8))}},
	{"limit_bandwidth_request", TypeLimitBandwidth,
		&protocol.LimitBandwidthRequest{Handle: new("h"), Rate: new(uint64(0)), Burst: new(uint64(1500))},
		messaging.LimitBandwidth{Ask: asker, Handle: "h", Burst: 1500}},
	{"ping_request", TypePing, &protocol.PingRequest{}, nil},
	{"echo_request", TypeEcho, &protocol.EchoRequest{Message: new("hello \xff")}, nil},
}

// sampleAnswer is what the node answers to a request of a kind, and what a
// client is to hear.
type sampleAnswer struct {
	file     string
	kind     Type
	answer   messaging.Answer
	response proto.Message
}

var leastInfo = messaging.ContainerInfo{State: "stopped"}

// numbers are there even where they are 0.
var leastInfoHeard = &protocol.InfoResponse{
	State: new("stopped"),
	MemoryStat: &protocol.InfoResponse_MemoryStat{
		Cache: zero, Rss: zero, MappedFile: zero, Pgpgin: zero, Pgpgout: zero, Swap: zero, Pgfault: zero, Pgmajfault: zero,
		InactiveAnon: zero, ActiveAnon: zero, InactiveFile: zero, ActiveFile: zero, Unevictable: zero,
		HierarchicalMemoryLimit: zero, HierarchicalMemswLimit: zero,
		TotalCache: zero, TotalRss: zero, TotalMappedFile: zero, TotalPgpgin: zero, TotalPgpgout: zero, TotalSwap: zero,
		TotalPgfault: zero, TotalPgmajfault: zero, TotalInactiveAnon: zero, TotalActiveAnon: zero,
		TotalInactiveFile: zero, TotalActiveFile: zero, TotalUnevictable: zero,
	},
	CpuStat:       &protocol.InfoResponse_CpuStat{Usage: zero, User: zero, System: zero},
	DiskStat:      &protocol.InfoResponse_DiskStat{BytesUsed: zero, InodesUsed: zero},
	BandwidthStat: &protocol.InfoResponse_BandwidthStat{InRate: zero, InBurst: zero, OutRate: zero, OutBurst: zero},
}

var zero = new(uint64(0))

var exampleInfo = messaging.ContainerInfo{
	State:       "active",
	Events:      []string{"out of memory", "command exceeded maximum output"},
	HostIP:      netip.MustParseAddr("10.254.0.1"),
	ContainerIP: netip.MustParseAddr("10.254.0.2"),
	Path:        "/var/lib/deacon/containers/1j0shvimvsv",
	Jobs:        []uint32{1, 300},
	Memory: messaging.MemoryUse{
		Cache: 1, RSS: 2, MappedFile: 3, PgpgIn: 4, PgpgOut: 5, Swap: 6, PgFault: 7, PgMajFault: 8,
		InactiveAnon: 9, ActiveAnon: 10, InactiveFile: 11, ActiveFile: 12, Unevictable: 13,
		HierarchicalLimit: 14, HierarchicalMemswLimit: 9223372036854771712,
		TotalCache: 16, TotalRSS: 17, TotalMappedFile: 18, TotalPgpgIn: 19, TotalPgpgOut: 20, TotalSwap: 21,
		TotalPgFault: 22, TotalPgMajFault: 23, TotalInactiveAnon: 24, TotalActiveAnon: 25,
		TotalInactiveFile: 26, TotalActiveFile: 27, TotalUnevictable: 28,
	},
	CPU:        messaging.CPUUse{Usage: 1e9, User: 60, System: 40},
	DiskBytes:  4096,
	DiskInodes: 2,
	Bandwidth:  messaging.Bandwidth{InRate: math.MaxUint64, InBurst: math.MaxUint64, OutRate: 125000, OutBurst: 15000},
}

var exampleInfoHeard = &protocol.InfoResponse{
	State:         new("active"),
	Events:        []string{"out of memory", "command exceeded maximum output"},
	HostIp:        new("10.254.0.1"),
	ContainerIp:   new("10.254.0.2"),
	ContainerPath: new("/var/lib/deacon/containers/1j0shvimvsv"),
	MemoryStat: &protocol.InfoResponse_MemoryStat{
		Cache: new(uint64(1)), Rss: new(uint64(2)), MappedFile: new(uint64(3)), Pgpgin: new(uint64(4)), Pgpgout: new(uint64(5)),
		Swap: new(uint64(6)), Pgfault: new(uint64(7)), Pgmajfault: new(uint64(8)), InactiveAnon: new(uint64(9)),
		ActiveAnon: new(uint64(10)), InactiveFile: new(uint64(11)), ActiveFile: new(uint64(12)), Unevictable: new(uint64(13)),
		HierarchicalMemoryLimit: new(uint64(14)), HierarchicalMemswLimit: new(uint64(9223372036854771712)),
		TotalCache: new(uint64(16)), TotalRss: new(uint64(17)), TotalMappedFile: new(uint64(18)), TotalPgpgin: new(uint64(19)),
		TotalPgpgout: new(uint64(20)), TotalSwap: new(uint64(21)), TotalPgfault: new(uint64(22)), TotalPgmajfault: new(uint64(23)),
		TotalInactiveAnon: new(uint64(24)), TotalActiveAnon: new(uint64(25)), TotalInactiveFile: new(uint64(26)),
		TotalActiveFile: new(uint64(27)), TotalUnevictable: new(uint64(28)),
	},
	CpuStat:  &protocol.InfoResponse_CpuStat{Usage: new(uint64(1e9)), User: new(uint64(60)), System: new(uint64(40))},
	DiskStat: &protocol.InfoResponse_DiskStat{BytesUsed: new(uint64(4096)), InodesUsed: new(uint64(2))},
	BandwidthStat: &protocol.InfoResponse_BandwidthStat{
		InRate: new(uint64(0xffffffff)), InBurst: new(uint64(0xffffffff)),
		OutRate: new(uint64(125000)), OutBurst: new(uint64(15000)),
	},
	JobIds: []uint64{1, 300},
}

var sampleAnswers = []sampleAnswer{
	{"create_response", TypeCreate, messaging.ContainerCreated{Handle: odd}, &protocol.CreateResponse{Handle: new(odd)}},
	{"stop_response", TypeStop, messaging.Done{}, &protocol.StopResponse{}},
	{"destroy_response", TypeDestroy, messaging.Done{}, &protocol.DestroyResponse{}},
	{"info_response", TypeInfo, messaging.ContainerInspected{Info: exampleInfo}, exampleInfoHeard},
	{"info_response_least", TypeInfo, messaging.ContainerInspected{Info: leastInfo}, leastInfoHeard},
	{"list_response", TypeList,
		messaging.ContainersListed{Handles: []string{"h2", odd, ""}}, &protocol.ListResponse{Handles: []string{"h2", odd, ""}}},
	{"list_response_none", TypeList, messaging.ContainersListed{}, &protocol.ListResponse{}},
	{"spawn_response", TypeSpawn, messaging.JobSpawned{Job: 1}, &protocol.SpawnResponse{JobId: new(uint32(1))}},
	{"link_response", TypeLink,
		messaging.JobLinked{Status: 255, Stdout: []byte("out\xff\n"), Stderr: []byte("err\n"), Info: leastInfo},
		&protocol.LinkResponse{
			ExitStatus: new(uint32(255)), Stdout: new("out\xff\n"), Stderr: new("err\n"), Info: leastInfoHeard,
		}},
	{"run_response", TypeRun,
		messaging.JobLinked{Info: exampleInfo},
		&protocol.RunResponse{ExitStatus: new(uint32(0)), Stdout: new(""), Stderr: new(""), Info: exampleInfoHeard}},
	{"run_response_without_info", TypeRun,
		messaging.JobLinked{}, &protocol.RunResponse{ExitStatus: new(uint32(0)), Stdout: new(""), Stderr: new("")}},
	{"stream_response", TypeStream,
		messaging.JobStreamed{Info: leastInfo}, &protocol.StreamResponse{ExitStatus: new(uint32(0)), Info: leastInfoHeard}},
	{"net_in_response", TypeNetIn,
		messaging.PortMapped{Host: 61001, Container: 80},
		&protocol.NetInResponse{HostPort: new(uint32(61001)), ContainerPort: new(uint32(80))}},
	{"net_out_response", TypeNetOut, messaging.Done{}, &protocol.NetOutResponse{}},
	{"copy_in_response", TypeCopyIn, messaging.Done{}, &protocol.CopyInResponse{}},
	{"copy_out_response", TypeCopyOut, messaging.Done{}, &protocol.CopyOutResponse{}},
	{"limit_memory_response", TypeLimitMemory,
		messaging.MemoryLimited{Bytes: 9223372036854771712},
		&protocol.LimitMemoryResponse{LimitInBytes: new(uint64(9223372036854771712))}},
	{"limit_cpu_response", TypeLimitCPU,
		messaging.CPULimited{Shares: 2}, &protocol.LimitCpuResponse{LimitInShares: new(uint64(2))}},
	{"limit_disk_response", TypeLimitDisk,
		messaging.DiskLimited{Blocks: 2, Inodes: 0},
		&protocol.LimitDiskResponse{
			BlockLimit: new(uint64(2)), Block: new(uint64(2)), BlockSoft: new(uint64(2)), BlockHard: new(uint64(2)),
			InodeLimit: zero, Inode: zero, InodeSoft: zero, InodeHard: zero,
			ByteLimit: new(uint64(2048)), Byte: new(uint64(2048)), ByteSoft: new(uint64(2048)), ByteHard: new(uint64(2048)),
		}},
	{"limit_bandwidth_response", TypeLimitBandwidth,
		messaging.BandwidthLimited{Rate: 0, Burst: 1500},
		&protocol.LimitBandwidthResponse{Rate: zero, Burst: new(uint64(1500))}},
}
