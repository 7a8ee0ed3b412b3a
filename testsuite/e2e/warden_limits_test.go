package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

const unlimited = 9223372036854771712

func TestLimitsReadBackAsTheyWereSet(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	shares := func(n *uint64) uint64 {
		got, err := w.c.LimitCPU(w.ctx(), &protocol.LimitCpuRequest{Handle: &handle, LimitInShares: n})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if got := shares(nil); got != 1024 {
		t.Errorf("a new container has %d shares", got)
	}
	for _, c := range [][2]uint64{{0, 2}, {1, 2}, {2, 2}, {1000, 1000}, {1 << 18, 1 << 18}, {1 << 40, 1 << 18}} {
		if set, got := shares(&c[0]), shares(nil); set != c[1] || got != c[1] {
			t.Errorf("%d shares are answered %d and read %d, want %d", c[0], set, got, c[1])
		}
	}
	memory := func(n *uint64) uint64 {
		got, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: n})
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if got := memory(nil); got != unlimited {
		t.Errorf("a new container has %d bytes of memory", got)
	}
	for _, c := range [][2]uint64{
		{0, 4096}, {100000001, 99999744}, {256 << 20, 256 << 20}, {64 << 20, 64 << 20},
		{unlimited, unlimited}, {1 << 63, unlimited},
	} {
		if set, got := memory(&c[0]), memory(nil); set != c[1] || got != c[1] {
			t.Errorf("%d bytes are answered %d and read %d, want %d", c[0], set, got, c[1])
		}
	}
	limited := uint64(128 << 20)
	memory(&limited)
	if stat := w.info(handle).GetMemoryStat(); stat.GetHierarchicalMemoryLimit() != limited || stat.GetHierarchicalMemswLimit() != limited {
		t.Errorf("memory and swap are limited to %d and %d", stat.GetHierarchicalMemoryLimit(), stat.GetHierarchicalMemswLimit())
	}
	w.destroy(handle)
}

// disk sets what is given and wants twelve fields of this in the answer.
func (w *wardens) disk(what string, r *protocol.LimitDiskRequest, blocks uint64) {
	w.t.Helper()
	got, err := w.c.LimitDisk(w.ctx(), r)
	if err != nil {
		w.t.Errorf("%s: %v", what, err)
		return
	}
	fields := []*uint64{
		got.BlockLimit, got.Block, got.BlockSoft, got.BlockHard, got.InodeLimit, got.Inode, got.InodeSoft, got.InodeHard,
		got.ByteLimit, got.Byte, got.ByteSoft, got.ByteHard,
	}
	for i, field := range fields {
		want := []uint64{blocks, 0, blocks * 1024}[i/4]
		if field == nil || *field != want {
			w.t.Errorf("%s: field %d of %v is not %d", what, i, got, want)
		}
	}
}

func TestTheDisksLimitIsHardAndTheContainersOwn(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	h, n := &handle, proto.Uint64
	for _, c := range []struct {
		what    string
		request *protocol.LimitDiskRequest
		blocks  uint64
	}{
		{"nothing", &protocol.LimitDiskRequest{Handle: h}, 0},
		{"1500 bytes", &protocol.LimitDiskRequest{Handle: h, Byte: n(10<<20 + 1500)}, 10<<10 + 2},
		{"unchanged", &protocol.LimitDiskRequest{Handle: h}, 10<<10 + 2},
		{"inodes, for which btrfs has no quota", &protocol.LimitDiskRequest{Handle: h, InodeHard: n(1000)}, 10<<10 + 2},
		{"blocks beat bytes", &protocol.LimitDiskRequest{Handle: h, BlockLimit: n(20 << 10), ByteHard: n(40 << 20)}, 20 << 10},
		{"hard beats all", &protocol.LimitDiskRequest{Handle: h, Block: n(20 << 10), BlockHard: n(30 << 10), BlockLimit: n(1 << 10)}, 30 << 10},
		{"byte beats byte_limit", &protocol.LimitDiskRequest{Handle: h, Byte: n(16 << 20), ByteLimit: n(8 << 20)}, 16 << 10},
		{"none", &protocol.LimitDiskRequest{Handle: h, BlockHard: n(0)}, 0},
		{"the one that is tried", &protocol.LimitDiskRequest{Handle: h, ByteLimit: n(16 << 20)}, 16 << 10},
	} {
		w.disk(c.what, c.request, c.blocks)
	}
	const fill = "export LC_ALL=C; head -c 8000000 /dev/urandom > a && sync . && echo fits; head -c 30000000 /dev/urandom > b; sync ."
	if _, out, stderr := w.run(handle, fill); out != "fits\n" ||
		!strings.Contains(stderr, "Disk quota exceeded") {
		t.Errorf("beyond the limit: %q, %q", out, stderr)
	}
	if stat := w.info(handle).GetDiskStat(); stat.GetBytesUsed() < 8000000 || stat.GetBytesUsed() > 20<<20 || stat.GetInodesUsed() < 2 {
		t.Errorf("disk_stat is %v", stat)
	}
	w.disk("more", &protocol.LimitDiskRequest{Handle: h, BlockHard: n(60 << 10)}, 60<<10)
	if status, _, stderr := w.run(handle, "head -c 20000000 /dev/urandom > c && sync ."); status != 0 {
		t.Errorf("within the new limit: %q", stderr)
	}
	w.destroy(handle)
	again := w.create()
	w.disk("of the next container", &protocol.LimitDiskRequest{Handle: &again}, 0)
	w.destroy(again)
}

// A quota that is switched off limits nothing and says nothing.
func TestWithoutDiskQuotasNothingIsSaid(t *testing.T) {
	w := newWardens(t, "disk_quota = false")
	handle := w.create()
	got, err := w.c.LimitDisk(w.ctx(), &protocol.LimitDiskRequest{Handle: &handle, BlockHard: proto.Uint64(1 << 10)})
	if err != nil || proto.Size(got) != 0 {
		t.Errorf("answered %v, %v", got, err)
	}
	if stat := w.info(handle).DiskStat; stat != nil {
		t.Errorf("disk_stat is %v", stat)
	}
	if status, _, stderr := w.run(handle, "head -c 3000000 /dev/urandom > a && sync ."); status != 0 {
		t.Errorf("it is limited: %q", stderr)
	}
	w.destroy(handle)
}

// Out of memory is told as soon as the job has ended, and stops the container.
// Shared memory counts; a container without a limit has none to be out of.
func TestOutOfMemoryIsToldAndStops(t *testing.T) {
	w := newWardens(t, "")
	for _, script := range []string{
		"head -c 200m /dev/zero | tail > /dev/null; echo ended",
		"head -c 200m /dev/zero > /dev/shm/file; echo ended",
	} {
		handle := w.create()
		if status, _, stderr := w.run(handle, script); status != 0 || len(w.info(handle).Events) > 0 {
			t.Errorf("%q without a limit: status %d, %q, %v", script, status, stderr, w.info(handle).Events)
		}
		w.run(handle, "rm -f /dev/shm/file")
		if _, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: proto.Uint64(32 << 20)}); err != nil {
			t.Fatal(err)
		}
		w.run(handle, script)
		w.until("the event", func() bool {
			info := w.info(handle)
			return info.GetState() == "stopped" && slices.Equal(info.GetEvents(), []string{"out of memory"})
		})
		w.refused("spawn", &protocol.SpawnRequest{Handle: &handle, Script: proto.String("true")}, notActive)
		w.destroy(handle)
	}
}

func TestInfoCountsWhatJobsUse(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	before := w.info(handle)
	w.begin(handle, "head -c 30000000 /dev/zero > /dev/shm/held; for i in $(seq 100000); do :; done; touch up; sleep 60")
	after := w.info(handle)
	m := after.GetMemoryStat()
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers") // v2, which doesn't count pages that come and go
	if held := m.GetCache() + m.GetRss(); held < 30000000 || (m.GetPgpgin() == 0) != (err == nil) ||
		m.GetTotalCache() != m.GetCache() || m.GetHierarchicalMemoryLimit() < 1<<40 {
		t.Errorf("memory_stat is %v", m)
	}
	if c, was := after.GetCpuStat(), before.GetCpuStat(); c.GetUsage() <= was.GetUsage() || c.GetUser()+c.GetSystem() == 0 ||
		c.GetUsage() > 60e9 {
		t.Errorf("cpu_stat is %v after %v", c, was)
	}
	if after.GetHostIp() == "" || lastByte(after.GetContainerIp()) != lastByte(after.GetHostIp())+1 {
		t.Errorf("the addresses are %q and %q", after.GetHostIp(), after.GetContainerIp())
	}
	w.destroy(handle)
}
