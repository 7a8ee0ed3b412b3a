package warden

import (
	"math"
	"net/netip"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// info has every number of what is known, and leaves out texts and lists that
// are empty. Nothing is known of what has no state.
func info(i messaging.ContainerInfo) *protocol.InfoResponse {
	if i.State == "" {
		return nil
	}
	m := &protocol.InfoResponse{
		State:         &i.State,
		Events:        i.Events,
		HostIp:        address(i.HostIP),
		ContainerIp:   address(i.ContainerIP),
		MemoryStat:    memoryStat(i.Memory),
		CpuStat:       &protocol.InfoResponse_CpuStat{Usage: &i.CPU.Usage, User: &i.CPU.User, System: &i.CPU.System},
		BandwidthStat: bandwidthStat(i.Bandwidth),
	}
	if !i.DiskOff {
		m.DiskStat = &protocol.InfoResponse_DiskStat{BytesUsed: &i.DiskBytes, InodesUsed: &i.DiskInodes}
	}
	if i.Path != "" {
		m.ContainerPath = &i.Path
	}
	for _, job := range i.Jobs {
		m.JobIds = append(m.JobIds, uint64(job))
	}
	return m
}

func address(a netip.Addr) *string {
	if !a.IsValid() {
		return nil
	}
	return new(a.String())
}

func bandwidthStat(b messaging.Bandwidth) *protocol.InfoResponse_BandwidthStat {
	return &protocol.InfoResponse_BandwidthStat{
		InRate:   wireRate(b.InRate),
		InBurst:  wireRate(b.InBurst),
		OutRate:  wireRate(b.OutRate),
		OutBurst: wireRate(b.OutBurst),
	}
}

// wireRate says "none" as the Ruby server does, in 32 bits.
func wireRate(n uint64) *uint64 {
	if n == math.MaxUint64 {
		n = math.MaxUint32
	}
	return &n
}

func memoryStat(u messaging.MemoryUse) *protocol.InfoResponse_MemoryStat {
	return &protocol.InfoResponse_MemoryStat{
		Cache:                   &u.Cache,
		Rss:                     &u.RSS,
		MappedFile:              &u.MappedFile,
		Pgpgin:                  &u.PgpgIn,
		Pgpgout:                 &u.PgpgOut,
		Swap:                    &u.Swap,
		Pgfault:                 &u.PgFault,
		Pgmajfault:              &u.PgMajFault,
		InactiveAnon:            &u.InactiveAnon,
		ActiveAnon:              &u.ActiveAnon,
		InactiveFile:            &u.InactiveFile,
		ActiveFile:              &u.ActiveFile,
		Unevictable:             &u.Unevictable,
		HierarchicalMemoryLimit: &u.HierarchicalLimit,
		HierarchicalMemswLimit:  &u.HierarchicalMemswLimit,
		TotalCache:              &u.TotalCache,
		TotalRss:                &u.TotalRSS,
		TotalMappedFile:         &u.TotalMappedFile,
		TotalPgpgin:             &u.TotalPgpgIn,
		TotalPgpgout:            &u.TotalPgpgOut,
		TotalSwap:               &u.TotalSwap,
		TotalPgfault:            &u.TotalPgFault,
		TotalPgmajfault:         &u.TotalPgMajFault,
		TotalInactiveAnon:       &u.TotalInactiveAnon,
		TotalActiveAnon:         &u.TotalActiveAnon,
		TotalInactiveFile:       &u.TotalInactiveFile,
		TotalActiveFile:         &u.TotalActiveFile,
		TotalUnevictable:        &u.TotalUnevictable,
	}
}
