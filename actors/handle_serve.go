package actors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// helperFailed is what the original says whenever one of its scripts fails.
const helperFailed = "command exited with failure"

// memoryUnlimited is what v1 reads where there is no limit.
const memoryUnlimited = 9223372036854771712

// serve does what a client wants, where the state allows it.
func (h *handle) serve(c *kit.Context[handleMessage], m clientWants) {
	ask := m.command.Asked()
	in := inputOf(m.command)
	if _, v := nextHandle(h.state, in); v == refuse {
		h.fail(ask, refusedWords(h.state, in))
		return
	}
	if m.job != 0 && m.job <= h.former { // given before it was known what there is
		h.parent.Tell(clientAsked{m.command})
		return
	}
	switch w := m.command.(type) {
	case messaging.StopContainer:
		h.stopFor(c, w)
	case messaging.DestroyContainer:
		h.taking = append(h.taking, ask)
		h.destroy(c)
	case messaging.InspectContainer:
		kit.Pipe(c, "inspect", func(ctx context.Context) (isolation.Stats, error) { return h.w.Live.Stats(ctx, h.id) },
			func(s isolation.Stats, err error) handleMessage { return inspected{ask, s, err} })
	case messaging.SpawnJob:
		h.spawn(c, wish{ask, m.job, w.Script, false})
	case messaging.RunJob:
		h.spawn(c, wish{ask, m.job, w.Script, true})
	case messaging.LinkJob:
		h.link(c, ask, w.Job)
	case messaging.StreamJob:
		h.stream(c, ask, w.Job)
	case messaging.MapPort:
		h.mapPort(c, w)
	case messaging.AllowEgress:
		h.allow(c, w)
	default:
		h.alter(c, m.command)
	}
}

func inputOf(command messaging.ContainerCommand) handleInput {
	switch command.(type) {
	case messaging.SpawnJob, messaging.RunJob, messaging.MapPort, messaging.AllowEgress, messaging.CopyIn:
		return inUse
	case messaging.LinkJob, messaging.StreamJob:
		return inJoin
	case messaging.StopContainer:
		return inEnd
	case messaging.DestroyContainer:
		return inTake
	}
	return inLook
}

func (h *handle) stopFor(c *kit.Context[handleMessage], m messaging.StopContainer) {
	grace := h.w.Settings.StopGrace
	if m.Kill {
		grace = 0
	}
	if m.Background || h.state == handleStopped { // a second one is answered at once
		h.stop(c, grace)
		h.answer(m.Ask, messaging.Done{})
		return
	}
	h.ending = append(h.ending, m.Ask)
	h.stop(c, grace)
}

// do works off the mailbox and answers with what comes of it.
func (h *handle) do(c *kit.Context[handleMessage], ask messaging.Ask, name string,
	work func(context.Context) (messaging.Answer, error)) {
	kit.Pipe(c, name, work, func(a messaging.Answer, err error) handleMessage {
		return done{ask, name, a, err}
	})
}

// done is what came of work for a client.
type done struct {
	ask    messaging.Ask
	name   string
	answer messaging.Answer
	err    error
}

func (done) handle() {}

// inspected is what the kernel knows of a container.
type inspected struct {
	ask   messaging.Ask
	stats isolation.Stats
	err   error
}

func (inspected) handle() {}

// inspected knows of a dead container what is in the note.
func (h *handle) inspected(c *kit.Context[handleMessage], m inspected) {
	if errors.Is(m.err, isolation.ErrGone) {
		m.err = nil
	}
	h.finished(c, done{m.ask, "inspect", messaging.ContainerInspected{Info: h.info(m.stats)}, m.err})
}

func (h *handle) finished(c *kit.Context[handleMessage], m done) {
	if m.err != nil {
		c.Log().Warn("a client's request failed", "container", h.id, "request", m.name, "error", m.err)
		h.fail(m.ask, words(m.name, m.err))
		return
	}
	h.answer(m.ask, m.answer)
}

// words are what a client reads of an error. The cause is in the log.
func words(name string, err error) string {
	if said, ok := errors.AsType[saidError](err); ok {
		return string(said)
	}
	reason := err.Error()
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		text := errno.Error()
		reason = strings.ToUpper(text[:1]) + text[1:] + " @ " + err.Error()
	}
	switch name {
	case "limit memory":
		return "Failed setting memory limit: " + reason
	case "limit cpu":
		return "Failed setting cpu shares: " + reason
	case "inspect":
		return "Failed getting memory usage: " + reason
	}
	return helperFailed
}

// saidError is an error whose text a client reads.
type saidError string

func (e saidError) Error() string { return string(e) }

// alter does what changes or reads the container without concerning the actor.
func (h *handle) alter(c *kit.Context[handleMessage], command messaging.ContainerCommand) {
	live, id := h.w.Live, h.id
	switch w := command.(type) {
	case messaging.LimitMemory:
		h.do(c, w.Ask, "limit memory", func(ctx context.Context) (messaging.Answer, error) {
			limits, err := live.Limit(ctx, id, isolation.LimitChange{MemoryBytes: memoryBytes(w.Bytes)})
			if limits.MemoryBytes == 0 {
				return messaging.MemoryLimited{Bytes: memoryUnlimited}, err
			}
			return messaging.MemoryLimited{Bytes: uint64(limits.MemoryBytes)}, err
		})
	case messaging.LimitCPU:
		h.do(c, w.Ask, "limit cpu", func(ctx context.Context) (messaging.Answer, error) {
			limits, err := live.Limit(ctx, id, isolation.LimitChange{CPUShares: w.Shares})
			return messaging.CPULimited{Shares: limits.CPUShares}, err
		})
	case messaging.LimitDisk:
		if !h.w.Designer.DiskQuota() {
			h.answer(w.Ask, messaging.DiskLimited{Off: true})
			return
		}
		h.do(c, w.Ask, "limit disk", func(ctx context.Context) (messaging.Answer, error) {
			limits, err := live.Limit(ctx, id, isolation.LimitChange{
				DiskBytes: scaled(w.Blocks, 1024), DiskInodes: scaled(w.Inodes, 1),
			})
			return messaging.DiskLimited{Blocks: uint64(limits.DiskBytes) / 1024, Inodes: uint64(limits.DiskInodes)}, err
		})
	case messaging.LimitBandwidth:
		h.do(c, w.Ask, "limit bandwidth", func(ctx context.Context) (messaging.Answer, error) {
			err := live.Shape(ctx, id, isolation.Bandwidth{Rate: w.Rate, Burst: w.Burst})
			return messaging.BandwidthLimited{Rate: w.Rate, Burst: w.Burst}, err
		})
	case messaging.CopyIn:
		h.copy(c, w.Ask, "copy in", func(ctx context.Context) error {
			return live.CopyIn(ctx, id, isolation.Copy{Source: w.Source, Target: w.Target})
		})
	case messaging.CopyOut:
		h.copy(c, w.Ask, "copy out", func(ctx context.Context) error {
			return live.CopyOut(ctx, id, isolation.Copy{Source: w.Source, Target: w.Target, Owner: w.Owner})
		})
	default:
		h.fail(command.Asked(), fmt.Sprintf("the node can't %T", command))
	}
}

// copy does one when fewer than Settings.Copies others are under way on the node:
// each of them holds descriptors and threads, and more would only slow each other
// down.
func (h *handle) copy(c *kit.Context[handleMessage], ask messaging.Ask, name string, act func(context.Context) error) {
	copies := h.w.copies
	h.do(c, ask, name, func(ctx context.Context) (messaging.Answer, error) {
		select {
		case copies <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		defer func() { <-copies }()
		return messaging.Done{}, act(ctx)
	})
}

// memoryMin is the least limit that is one: of less the kernel makes nothing,
// and nothing means no limit here.
const memoryMin = 4096

// memoryBytes is a limit as the kernel takes it: what is beyond its range is none.
func memoryBytes(n *uint64) *int64 {
	if n == nil {
		return nil
	}
	if *n >= memoryUnlimited {
		return new(int64)
	}
	bytes := max(int64(*n), memoryMin)
	return &bytes
}

func scaled(n *uint64, by uint64) *int64 {
	if n == nil {
		return nil
	}
	bytes := int64(math.MaxInt64)
	if *n <= math.MaxInt64/by {
		bytes = int64(*n * by)
	}
	return &bytes
}

func (h *handle) allow(c *kit.Context[handleMessage], m messaging.AllowEgress) {
	rule, err := h.w.Designer.Egress(m)
	if err != nil {
		if reason := errors.Unwrap(err); reason != nil {
			c.Log().Warn("a client's egress rule can't be used", "error", reason)
		}
		h.fail(m.Ask, err.Error())
		return
	}
	h.do(c, m.Ask, "net out", func(ctx context.Context) (messaging.Answer, error) {
		return messaging.Done{}, h.w.Live.Allow(ctx, h.id, rule)
	})
}

// mapPort gets a port of the node first; the container's is the same unless it
// was given.
func (h *handle) mapPort(c *kit.Context[handleMessage], m messaging.MapPort) {
	var host, inside uint32
	if m.Host != nil {
		host = *m.Host
	}
	if m.Container != nil {
		inside = *m.Container
	}
	if host > math.MaxUint16 || inside > math.MaxUint16 {
		c.Log().Warn("a client's port can't be used",
			"error", fmt.Sprintf("%d or %d is above %d", host, inside, math.MaxUint16))
		h.fail(m.Ask, helperFailed)
		return
	}
	self, ask := c.Self(), m.Ask
	h.mapping[ask] = reservePort{h.id, uint16(host), func(port uint16, fresh bool, err error) {
		if inside == 0 {
			inside = uint32(port)
		}
		self.Tell(portReserved{ask, isolation.PortMap{Host: port, Container: uint16(inside)}, fresh, err})
	}}
	h.parts.ledger.Tell(h.mapping[ask])
	if h.nudge == nil {
		h.nudgeSoon(c)
	}
}

// portReserved is the ledger's word.
type portReserved struct {
	ask   messaging.Ask
	port  isolation.PortMap
	fresh bool
	err   error
}

func (portReserved) handle() {}

func (h *handle) portReserved(c *kit.Context[handleMessage], m portReserved) {
	ledger, spare := h.parts.ledger, returnPort{h.id, m.port.Host}
	if _, waits := h.mapping[m.ask]; !waits { // the question was repeated
		if m.fresh {
			ledger.Tell(spare)
		}
		return
	}
	delete(h.mapping, m.ask)
	if m.err != nil {
		h.fail(m.ask, "no port available")
		return
	}
	h.do(c, m.ask, "net in", func(ctx context.Context) (messaging.Answer, error) {
		err := h.w.Live.Map(ctx, h.id, m.port)
		if err != nil && m.fresh {
			ledger.Tell(spare)
		}
		return messaging.PortMapped{Host: uint32(m.port.Host), Container: uint32(m.port.Container)}, err
	})
}

// info is what a client may know.
func (h *handle) info(s isolation.Stats) messaging.ContainerInfo {
	info := messaging.ContainerInfo{
		State: handleWords[h.state], Events: append([]string(nil), h.note.Events...),
		HostIP: h.status.HostIP, ContainerIP: h.status.PeerIP, Path: h.w.Live.Folder(h.id), Jobs: h.running(),
		CPU:       messaging.CPUUse{Usage: uint64(s.CPU / time.Nanosecond), User: s.CPUUser, System: s.CPUSystem},
		DiskBytes: s.DiskBytes, DiskInodes: s.DiskFiles, DiskOff: !h.w.Designer.DiskQuota(), Memory: memoryUse(s.Memory),
		Bandwidth: messaging.Bandwidth{
			InRate: math.MaxUint32, InBurst: math.MaxUint32, OutRate: math.MaxUint32, OutBurst: math.MaxUint32,
		},
	}
	if b := s.Bandwidth; b.Rate > 0 {
		info.Bandwidth = messaging.Bandwidth{InRate: b.Rate, InBurst: b.Burst, OutRate: b.Rate, OutBurst: b.Burst}
	}
	return info
}

func memoryUse(m map[string]uint64) messaging.MemoryUse {
	return messaging.MemoryUse{
		Cache: m["cache"], RSS: m["rss"], MappedFile: m["mapped_file"], PgpgIn: m["pgpgin"], PgpgOut: m["pgpgout"],
		Swap: m["swap"], PgFault: m["pgfault"], PgMajFault: m["pgmajfault"], InactiveAnon: m["inactive_anon"],
		ActiveAnon: m["active_anon"], InactiveFile: m["inactive_file"], ActiveFile: m["active_file"],
		Unevictable: m["unevictable"], HierarchicalLimit: m["hierarchical_memory_limit"],
		HierarchicalMemswLimit: m["hierarchical_memsw_limit"], TotalCache: m["total_cache"], TotalRSS: m["total_rss"],
		TotalMappedFile: m["total_mapped_file"], TotalPgpgIn: m["total_pgpgin"], TotalPgpgOut: m["total_pgpgout"],
		TotalSwap: m["total_swap"], TotalPgFault: m["total_pgfault"], TotalPgMajFault: m["total_pgmajfault"],
		TotalInactiveAnon: m["total_inactive_anon"], TotalActiveAnon: m["total_active_anon"],
		TotalInactiveFile: m["total_inactive_file"], TotalActiveFile: m["total_active_file"],
		TotalUnevictable: m["total_unevictable"],
	}
}

func noNetworkWords(network string) string {
	if network == "" {
		return "Could not acquire network"
	}
	if address, err := netip.ParseAddr(network); err == nil {
		network = netip.PrefixFrom(address, 30).Masked().Addr().String()
	}
	return "Could not acquire network: " + network
}

// designWords are what a client reads where its container could not be made.
func designWords(err error) string {
	if said, ok := errors.AsType[saidError](err); ok {
		return string(said)
	}
	return helperFailed
}
