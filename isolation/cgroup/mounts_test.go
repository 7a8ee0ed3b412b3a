package cgroup

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What machines have mounted, in mountinfo's words.
const (
	hybrid = `30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw master:9 - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw shared:1 master:2 - cgroup cgroup rw,pids
40 23 0:28 / /elsewhere/cpu rw - cgroup cgroup rw,cpu
`
	pure = `30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
`
)

func TestMountsAreReadAsTheyAre(t *testing.T) {
	hierarchies, unified := parseMounts(hybrid, "/sys/fs/cgroup")
	if unified != "/sys/fs/cgroup/unified" {
		t.Errorf("unified is %q", unified)
	}
	wanted := map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
		"memory": "/sys/fs/cgroup/memory", "pids": "/sys/fs/cgroup/pids", "rw": "/sys/fs/cgroup/cpu,cpuacct"}
	if !maps.Equal(hierarchies, wanted) {
		t.Errorf("hierarchies are %v", hierarchies)
	}
	if hierarchies, unified = parseMounts(pure, "/sys/fs/cgroup"); len(hierarchies) != 0 || unified != "/sys/fs/cgroup" {
		t.Errorf("of a machine with v2 only: %v, %q", hierarchies, unified)
	}
	if hierarchies, unified = parseMounts("nonsense\n30 23 0:26\n", "/sys/fs/cgroup"); len(hierarchies) != 0 || unified != "" {
		t.Errorf("of nonsense: %v, %q", hierarchies, unified)
	}
}

func TestTwoControllersInOneTreeAreOneTree(t *testing.T) {
	hierarchies, _ := parseMounts(hybrid, "/sys/fs/cgroup")
	d, _, err := newV1("deacon-x", hierarchies)
	if err != nil || len(d.trees) != 3 {
		t.Errorf("trees are %v, %v", d.trees, err)
	}
}

func TestAMachineThatCantBoundIsRefusedWithWhatItLacks(t *testing.T) {
	_, _, err := Detect(Config{Root: t.TempDir(), Group: "deacon-x"})
	if err == nil || !strings.Contains(err.Error(), "memory and cpu and pids") {
		t.Errorf("error is %v", err)
	}
}

func TestSharesBecomeWeights(t *testing.T) {
	for shares, weight := range map[uint64]uint64{0: 1, 2: 1, 1024: 39, 262144: 10000, 1 << 40: 10000} {
		if got := WeightOf(shares); got != weight {
			t.Errorf("%d shares: weight %d, want %d", shares, got, weight)
		}
	}
}

func TestWriteMakesNoFileThatTheKernelLacks(t *testing.T) {
	dir := t.TempDir()
	if err := write(dir, "memory.limit", "1"); err == nil {
		t.Error("written")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("made %v", entries)
	}
}

func TestCountersAreNamedWhereTheyCantBeRead(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]int64{"max\n": 0, "42\n": 42} {
		os.WriteFile(filepath.Join(dir, "pids.max"), []byte(content), 0o600)
		if got, err := readNumber(dir, "pids.max"); err != nil || got != want {
			t.Errorf("%q: %d, %v", content, got, err)
		}
	}
	os.WriteFile(filepath.Join(dir, "pids.max"), []byte("many\n"), 0o600)
	if _, err := readNumber(dir, "pids.max"); err == nil || !strings.Contains(err.Error(), "pids.max") {
		t.Errorf("nonsense: %v", err)
	}
}
