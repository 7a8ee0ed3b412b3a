package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

const (
	// squeezeTries bounds how often the kernel is asked to free memory: a signal
	// to this thread ends its effort early.
	squeezeTries = 8
	// tick is USER_HZ, in which v1 counts.
	tick = 10 * time.Millisecond
	// weightDefault is that of a group which was never given one.
	weightDefault = 100
)

func (g *v2Group) Stands() bool { return !gone(g.jobs()) }

func (g *v2Group) Limit(change isolation.LimitChange) (err error) {
	var undo isolation.Undo
	defer undo.OnError(&err)
	if change.MemoryBytes != nil {
		if err := g.limitMemory(&undo, *change.MemoryBytes); err != nil {
			return err
		}
	}
	if change.CPUShares != nil {
		return replace(&undo, g.jobs(), "cpu.weight", strconv.FormatUint(WeightOf(*change.CPUShares), 10))
	}
	return nil
}

// limitMemory refuses what v1 refuses: a limit below what is in use and can't
// be freed. Left to itself v2 would take it and kill for it. While it is found
// out, memory.high keeps the jobs from taking more; that lies lower than the
// limit never otherwise.
func (g *v2Group) limitMemory(undo *isolation.Undo, bytes int64) (err error) {
	// The limit is memory and swap together, as v1 has it: no swap at all. The
	// file is missing where the kernel has no swap.
	if exists(g.jobs(), "memory.swap.max") {
		swap := "0"
		if bytes == 0 {
			swap = "max"
		}
		if err := replace(undo, g.jobs(), "memory.swap.max", swap); err != nil {
			return err
		}
	}
	if bytes > 0 {
		defer func() { err = errors.Join(err, write(g.jobs(), "memory.high", "max")) }()
		if err := g.squeeze(bytes); err != nil {
			return inUse(err, bytes)
		}
	}
	return replace(undo, g.jobs(), "memory.max", number(bytes, "max"))
}

// squeeze has the kernel free what is above bytes.
func (g *v2Group) squeeze(bytes int64) error {
	for range squeezeTries {
		used, err := readNumber(g.jobs(), "memory.current")
		if err != nil || used <= bytes {
			return err
		}
		if err := write(g.jobs(), "memory.high", strconv.FormatInt(bytes, 10)); err != nil {
			return err
		}
	}
	used, err := readNumber(g.jobs(), "memory.current")
	if err == nil && used > bytes {
		err = fmt.Errorf("cgroup: %s uses %d: %w", g.jobs(), used, unix.EBUSY)
	}
	return err
}

// Limits tells the shares that were asked for where the weight is theirs:
// 262143 shares are 10000 weights.
func (g *v2Group) Limits(asked isolation.Limits) (l isolation.Limits, err error) {
	if l.MemoryBytes, err = readNumber(g.jobs(), "memory.max"); err != nil {
		return l, err
	}
	weight, err := readNumber(g.jobs(), "cpu.weight")
	if err != nil {
		return l, err
	}
	l.CPUShares = sharesOf(uint64(weight), asked.CPUShares)
	quota, err := readQuota(g.jobs())
	if err != nil {
		return l, err
	}
	l.CPUMillis = quota
	l.Pids, err = readNumber(g.jobs(), "pids.max")
	return l, err
}

// sharesOf is the reverse of WeightOf, as far as there is one.
func sharesOf(weight, asked uint64) uint64 {
	switch {
	case asked == 0 && weight == weightDefault:
		return sharesDefault
	case asked > 0 && WeightOf(asked) == weight:
		return Shares(asked)
	}
	return sharesMin + ((max(weight, 1)-1)*(sharesMax-sharesMin)+9998)/9999
}

// readQuota reads "quota period" as thousandths of a core; "max" is none.
func readQuota(dir string) (int64, error) {
	text, err := readText(dir, "cpu.max")
	if err != nil {
		return 0, err
	}
	first, second, _ := strings.Cut(text, " ")
	if first == "max" {
		return 0, nil
	}
	quota, err := strconv.ParseInt(first, 10, 64)
	period, failed := strconv.ParseInt(second, 10, 64)
	if err := errors.Join(err, failed); err != nil || period <= 0 {
		return 0, fmt.Errorf("cgroup: %s/cpu.max is %q, want two numbers", dir, text)
	}
	return quota * 1000 / period, nil
}

func (g *v2Group) Stats() (stats isolation.Stats, err error) {
	if stats.Memory, err = g.memoryStat(); err != nil {
		return stats, err
	}
	cpu, err := readFields(g.jobs(), "cpu.stat")
	if err != nil {
		return stats, err
	}
	ticks := func(name string) uint64 { return uint64(time.Duration(cpu[name]) * time.Microsecond / tick) }
	stats.CPU = time.Duration(cpu["usage_usec"]) * time.Microsecond
	stats.CPUUser, stats.CPUSystem = ticks("user_usec"), ticks("system_usec")
	return stats, nil
}

// memoryNames are v1's names for what v2 counts too. It doesn't count pages
// going in and out.
var memoryNames = map[string]string{
	"file": "cache", "anon": "rss", "file_mapped": "mapped_file", "pgfault": "pgfault", "pgmajfault": "pgmajfault",
	"inactive_anon": "inactive_anon", "active_anon": "active_anon", "inactive_file": "inactive_file",
	"active_file": "active_file", "unevictable": "unevictable",
}

// memoryStat is memory.stat by v1's names. All of v2's numbers are those of the
// group with what is below, which v1 calls total; the jobs' group has nothing below.
func (g *v2Group) memoryStat() (map[string]uint64, error) {
	fields, err := readFields(g.jobs(), "memory.stat")
	if err != nil {
		return nil, err
	}
	stat := map[string]uint64{}
	for theirs, name := range memoryNames {
		if value, ok := fields[theirs]; ok {
			stat[name], stat["total_"+name] = uint64(value), uint64(value)
		}
	}
	limit, err := g.ceiling("memory.max")
	if err != nil {
		return nil, err
	}
	stat["hierarchical_memory_limit"] = uint64(limit)
	if !exists(g.jobs(), "memory.swap.max") {
		return stat, nil
	}
	swap, err := g.ceiling("memory.swap.max")
	if err != nil {
		return nil, err
	}
	stat["hierarchical_memsw_limit"] = uint64(min(limit, unlimited-swap) + swap)
	swapped, err := readNumber(g.jobs(), "memory.swap.current")
	stat["swap"], stat["total_swap"] = uint64(swapped), uint64(swapped)
	return stat, err
}

// ceiling reads a limit, and none as v1 spells it.
func (g *v2Group) ceiling(file string) (int64, error) {
	text, err := readText(g.jobs(), file)
	if err != nil {
		return 0, err
	}
	if text == "max" {
		return unlimited, nil
	}
	return readNumber(g.jobs(), file)
}
