package cgroup

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

func memoryTo(bytes int64) isolation.LimitChange { return isolation.LimitChange{MemoryBytes: &bytes} }

func sharesTo(shares uint64) isolation.LimitChange { return isolation.LimitChange{CPUShares: &shares} }

// limitsOf are the group's after a change. The shares last asked for are known
// to whoever keeps the group's record.
func limitsOf(t *testing.T, g Group, change isolation.LimitChange) isolation.Limits {
	t.Helper()
	if err := g.Limit(change); err != nil {
		t.Fatal(err)
	}
	asked := limits
	if change.CPUShares != nil {
		asked.CPUShares = *change.CPUShares
	}
	l, err := g.Limits(asked)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// swapLimit is the second limit on memory as the kernel has it, which moves
// with the first.
func swapLimit(t *testing.T, g Group) string {
	t.Helper()
	dir, file := "", "memory.swap.max"
	switch g := g.(type) {
	case *v1Group:
		dir, file = g.memoryDir(), "memory.memsw.limit_in_bytes"
	case *v2Group:
		dir = g.jobs()
	}
	if !exists(dir, file) {
		t.Logf("%s: this kernel does not count swap", file)
		return ""
	}
	text, err := readText(dir, file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMemoryIsLimitedAnewInBothDirections(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	for _, step := range []struct{ asked, want int64 }{
		{64 << 20, 64 << 20}, {16 << 20, 16 << 20}, {16 << 20, 16 << 20}, {0, 0}, {0, 0}, {100_000_001, 99_999_744},
	} {
		if got := limitsOf(t, g, memoryTo(step.asked)); got.MemoryBytes != step.want {
			t.Errorf("asked for %d: limit is %d, want %d", step.asked, got.MemoryBytes, step.want)
		}
		second := swapLimit(t, g)
		if _, v1 := g.(*v1Group); v1 && second != "" && second != number(step.want, "9223372036854771712") {
			t.Errorf("asked for %d: memory and swap are limited to %s", step.asked, second)
		}
		if _, v2 := g.(*v2Group); v2 && second != "" && (second == "max") != (step.want == 0) {
			t.Errorf("asked for %d: swap is limited to %s", step.asked, second)
		}
	}
}

func TestSharesStayWithinTheKernelsBounds(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	for asked, want := range map[uint64]uint64{
		0: 2, 1: 2, 2: 2, 100: 100, 1024: 1024, 262_144: 262_144, 1 << 40: 262_144, ^uint64(0): 262_144,
	} {
		got := limitsOf(t, g, sharesTo(asked))
		if asked == 0 { // on record they are what the kernel makes of them
			got, _ = g.Limits(isolation.Limits{CPUShares: Shares(0)})
		}
		if got.CPUShares != want {
			t.Errorf("asked for %d shares: %d, want %d", asked, got.CPUShares, want)
		}
	}
}

func TestAGroupWithoutLimitsSaysSo(t *testing.T) {
	g, err := driver(t).Create("s1.1", isolation.Limits{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Limits(isolation.Limits{})
	if want := (isolation.Limits{CPUShares: 1024}); err != nil || got != want {
		t.Errorf("limits are %+v, %v; want %+v", got, err, want)
	}
}

func TestLimitsThatNobodyChangesStay(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	got := limitsOf(t, g, sharesTo(512))
	want := limits
	want.CPUShares = 512
	if got != want {
		t.Errorf("limits are %+v, want %+v", got, want)
	}
}

// fed is a group with a process that has taken as much.
func fed(t *testing.T, mib int) Group {
	t.Helper()
	g := create(t, driver(t), "s1.1")
	start(t, g, eater(eaterEnv, mib))
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		stats, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if stats.Memory["total_rss"] >= uint64(mib)<<20 {
			return g
		}
	}
	t.Fatalf("%d MiB are not taken within 10 s", mib)
	return nil
}

func TestALimitBelowWhatIsInUseIsRefusedAndChangesNothing(t *testing.T) {
	g := fed(t, 16)
	secondBefore := swapLimit(t, g)
	change := memoryTo(8 << 20)
	change.CPUShares = sharesTo(512).CPUShares

	err := g.Limit(change)

	if !errors.Is(err, ErrInUse) || !errors.Is(err, unix.EBUSY) ||
		!strings.Contains(err.Error(), "Device or resource busy") {
		t.Errorf("error is %v", err)
	}
	got, err := g.Limits(limits)
	if err != nil || got != limits || swapLimit(t, g) != secondBefore {
		t.Errorf("limits are %+v, %v; want %+v", got, err, limits)
	}
	if usage, err := g.Usage(); err != nil || usage.OOMKills != 0 || len(inside(t, g)) != 1 {
		t.Errorf("a process was killed for it: %+v, %v", usage, err)
	}
	if _, v2 := g.(*v2Group); v2 {
		if high, err := readText(g.(*v2Group).jobs(), "memory.high"); err != nil || high != "max" {
			t.Errorf("memory.high is %q, %v", high, err)
		}
	}
}

// Cache is in use too, but the kernel can free it where a disk has it.
func TestALimitBelowWhatIsCachedIsTakenWhereItCanBeFreed(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	file, err := os.CreateTemp("", "deacon-cgroup-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &fs); err != nil {
		t.Fatal(err)
	}
	freed := fs.Type != unix.TMPFS_MAGIC && fs.Type != unix.RAMFS_MAGIC // what is a file in memory only can't be
	cacher := run(t, g, "/bin/sh", "-c", "head -c 24000000 /dev/zero > "+file.Name())
	if err := errors.Join(cacher.Wait(), file.Sync()); err != nil {
		t.Fatal(err)
	}
	if err := g.Limit(memoryTo(4 << 20)); freed != (err == nil) || !freed && !errors.Is(err, ErrInUse) {
		t.Errorf("on a disk %v: %v", freed, err)
	}
}

func TestWhatAProcessTakesIsInTheStats(t *testing.T) {
	g := fed(t, 12)
	stats, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	m := stats.Memory
	if m["rss"] < 12<<20 || m["total_rss"] != m["rss"] || m["pgfault"] == 0 || m["inactive_anon"] == 0 {
		t.Errorf("memory is %v", m)
	}
	if m["hierarchical_memory_limit"] != uint64(limits.MemoryBytes) {
		t.Errorf("the limit in memory.stat is %d", m["hierarchical_memory_limit"])
	}
	if ticks := stats.CPUUser + stats.CPUSystem; stats.CPU <= 0 || stats.CPU > time.Minute || ticks > 6000 {
		t.Errorf("cpu is %+v", stats)
	}
}

func TestAnOutOfMemoryKillIsToldAfterEveryChangeOfTheLimit(t *testing.T) {
	g, err := driver(t).Create("s1.1", isolation.Limits{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan uint64)
	go func() { // asked for while there is no limit
		defer close(told)
		for seen := uint64(0); seen < 2; {
			var err error
			if seen, err = g.WaitOOM(t.Context(), seen); err != nil {
				t.Errorf("after %d kills: %v", seen, err)
				return
			}
			told <- seen
		}
	}()
	for kills, limit := range []int64{16 << 20, 24 << 20} {
		if err := g.Limit(memoryTo(limit)); err != nil {
			t.Fatal(err)
		}
		eats := start(t, g, eater(childEnv, 64))
		select {
		case got, ok := <-told:
			if ok && got != uint64(kills+1) {
				t.Errorf("told of %d kills, want %d", got, kills+1)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("no kill is told under a limit of %d", limit)
		}
		empty(t, g)
		eats.Wait()
	}
}
