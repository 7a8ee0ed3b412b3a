package cgroup

import (
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

func (g *v1Group) cpuDir() string { return filepath.Join(g.driver.cpu, g.name) }

func (g *v1Group) Stands() bool {
	for _, tree := range g.driver.trees {
		if gone(filepath.Join(tree, g.name)) {
			return false
		}
	}
	return true
}

func (g *v1Group) Limit(change isolation.LimitChange) (err error) {
	var undo isolation.Undo
	defer undo.OnError(&err)
	if change.MemoryBytes != nil {
		if err := g.limitMemory(&undo, *change.MemoryBytes); err != nil {
			return err
		}
	}
	if change.CPUShares != nil {
		shares := strconv.FormatUint(Shares(*change.CPUShares), 10)
		return replace(&undo, g.cpuDir(), "cpu.shares", shares)
	}
	return nil
}

// limitMemory sets the limit on memory and the one on memory and swap together
// to the same. The kernel keeps the first at or below the second at all times,
// so the order follows from the direction.
func (g *v1Group) limitMemory(undo *isolation.Undo, bytes int64) error {
	before, err := readNumber(g.memoryDir(), "memory.limit_in_bytes")
	if err != nil {
		return err
	}
	files := []string{"memory.limit_in_bytes"}
	if g.driver.swap {
		files = append(files, "memory.memsw.limit_in_bytes")
	}
	if bytes == 0 || bytes > before {
		slices.Reverse(files)
	}
	for _, file := range files {
		if err := replace(undo, g.memoryDir(), file, number(bytes, "-1")); err != nil {
			return inUse(err, bytes)
		}
	}
	return nil
}

func (g *v1Group) Limits(isolation.Limits) (l isolation.Limits, err error) {
	if l.MemoryBytes, err = readNumber(g.memoryDir(), "memory.limit_in_bytes"); err != nil {
		return l, err
	}
	if l.MemoryBytes >= unlimited {
		l.MemoryBytes = 0
	}
	shares, err := readNumber(g.cpuDir(), "cpu.shares")
	if err != nil {
		return l, err
	}
	l.CPUShares = uint64(shares)
	quota, err := readNumber(g.cpuDir(), "cpu.cfs_quota_us")
	if err != nil {
		return l, err
	}
	l.CPUMillis = max(quota, 0) * 1000 / quotaPeriod // -1: none
	l.Pids, err = readNumber(filepath.Join(g.driver.pid, g.name), "pids.max")
	return l, err
}

func (g *v1Group) Stats() (stats isolation.Stats, err error) {
	memory, err := readFields(g.memoryDir(), "memory.stat")
	if err != nil {
		return stats, err
	}
	stats.Memory = make(map[string]uint64, len(memory))
	for name, value := range memory {
		stats.Memory[name] = uint64(value)
	}
	if g.driver.cpuacct == "" {
		return stats, nil
	}
	dir := filepath.Join(g.driver.cpuacct, g.name)
	spent, err := readNumber(dir, "cpuacct.usage")
	if err != nil {
		return stats, err
	}
	ticks, err := readFields(dir, "cpuacct.stat")
	stats.CPU = time.Duration(spent)
	stats.CPUUser, stats.CPUSystem = uint64(ticks["user"]), uint64(ticks["system"])
	return stats, err
}
