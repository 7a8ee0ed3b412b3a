package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// unifiedFiles is a jobs' group in words of a 6.1 kernel: what is read can be
// read anywhere. What is written is tested where there is a unified tree
// (testsuite/guest).
func unifiedFiles(t *testing.T, files map[string]string) *v2Group {
	t.Helper()
	g := &v2Group{dir: t.TempDir()}
	if err := os.Mkdir(g.jobs(), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(g.jobs(), name), []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestTheUnifiedTreesCountersHaveTheOldNames(t *testing.T) {
	g := unifiedFiles(t, map[string]string{
		"memory.stat": "anon 8388608\nfile 4096\nkernel 12\nfile_mapped 1\ninactive_anon 3\nactive_anon 4\n" +
			"inactive_file 5\nactive_file 6\nunevictable 7\npgfault 8\npgmajfault 9",
		"memory.max": "33554432", "memory.swap.max": "0", "memory.swap.current": "10",
		"cpu.stat": "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567",
	})
	stats, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"hierarchical_memory_limit": 33554432, "hierarchical_memsw_limit": 33554432}
	for name, value := range map[string]uint64{
		"rss": 8388608, "cache": 4096, "mapped_file": 1, "inactive_anon": 3, "active_anon": 4, "inactive_file": 5,
		"active_file": 6, "unevictable": 7, "pgfault": 8, "pgmajfault": 9, "swap": 10,
	} {
		want[name], want["total_"+name] = value, value
	}
	if !maps.Equal(stats.Memory, want) {
		t.Errorf("memory is %v, want %v", stats.Memory, want)
	}
	if stats.CPU != 1234567*time.Microsecond || stats.CPUUser != 100 || stats.CPUSystem != 23 {
		t.Errorf("cpu is %+v", stats)
	}
}

func TestTheUnifiedTreesLimitsAreOnTheOldScale(t *testing.T) {
	files := map[string]string{"memory.max": "max", "memory.swap.max": "max", "memory.swap.current": "0",
		"memory.stat": "anon 0", "cpu.stat": "usage_usec 0", "cpu.weight": "100", "cpu.max": "max 100000", "pids.max": "max"}
	g := unifiedFiles(t, files)
	if l, err := g.Limits(isolation.Limits{}); err != nil || l != (isolation.Limits{CPUShares: 1024}) {
		t.Errorf("without limits: %+v, %v", l, err)
	}
	stats, err := g.Stats()
	if err != nil || stats.Memory["hierarchical_memory_limit"] != uint64(unlimited) ||
		stats.Memory["hierarchical_memsw_limit"] != uint64(unlimited) {
		t.Errorf("without limits memory is %v, %v", stats.Memory, err)
	}
	maps.Copy(files, map[string]string{
		"memory.max": "4096", "cpu.weight": "5", "cpu.max": "25000 50000", "pids.max": "20"})
	asked := isolation.Limits{MemoryBytes: 5000, CPUShares: 128, CPUMillis: 500, Pids: 20}
	want := asked
	want.MemoryBytes = 4096
	if l, err := unifiedFiles(t, files).Limits(asked); err != nil || l != want {
		t.Errorf("with limits: %+v, %v; want %+v", l, err, want)
	}
	files["cpu.max"] = "nonsense"
	if l, err := unifiedFiles(t, files).Limits(asked); err == nil {
		t.Errorf("of nonsense: %+v", l)
	}
}

func TestEveryWeightHasSharesThatGiveIt(t *testing.T) {
	for weight := uint64(1); weight <= 10_000; weight++ {
		if shares := sharesOf(weight, 0); weight != weightDefault && WeightOf(shares) != weight {
			t.Fatalf("weight %d: %d shares, whose weight is %d", weight, shares, WeightOf(shares))
		}
	}
	for _, shares := range []uint64{2, 3, 16, 1024, 262_143, 262_144} {
		if got := sharesOf(WeightOf(shares), shares); got != shares {
			t.Errorf("%d shares read back as %d", shares, got)
		}
	}
}
