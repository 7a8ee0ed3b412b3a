package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memory is what idle containers cost the node, in KiB.
type memory struct {
	Containers  int
	InitPrivate int // one deacon-init; the median of all
	InitPSS     int
	InitRSS     int
}

// settle is how long containers idle before they are looked at.
const settle = 2 * time.Second

func measureMemory(s *stand, b *box, containers int) memory {
	fmt.Fprintf(os.Stderr, "bench: %d idle containers\n", containers)
	var inits []int
	for range containers {
		spec, _ := b.next()
		status, err := b.box.Create(s.ctx, spec, job(spec, "/bin/ready"))
		s.must(err)
		inits = append(inits, status.InitPID)
	}
	time.Sleep(settle)
	var all []footprint
	for _, pid := range inits {
		f, err := footprintOf(pid)
		s.must(err)
		all = append(all, f)
	}
	return memory{
		Containers:  containers,
		InitPrivate: median(all, func(f footprint) int { return f.private }),
		InitPSS:     median(all, func(f footprint) int { return f.pss }),
		InitRSS:     median(all, func(f footprint) int { return f.rss }),
	}
}

func median(all []footprint, of func(footprint) int) int {
	var values []int
	for _, f := range all {
		values = append(values, of(f))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// footprint is a process's memory in KiB.
type footprint struct{ rss, pss, private int }

func footprintOf(pid int) (footprint, error) {
	file := fmt.Sprintf("/proc/%d/smaps_rollup", pid)
	content, err := os.ReadFile(file)
	if err != nil {
		return footprint{}, err
	}
	var f footprint
	for line := range strings.Lines(string(content)) {
		words := strings.Fields(line)
		if len(words) != 3 || words[2] != "kB" {
			continue
		}
		kib, err := strconv.Atoi(words[1])
		if err != nil {
			return footprint{}, fmt.Errorf("%s: %w", file, err)
		}
		switch words[0] {
		case "Rss:":
			f.rss = kib
		case "Pss:":
			f.pss = kib
		case "Private_Clean:", "Private_Dirty:":
			f.private += kib
		}
	}
	if f.rss == 0 {
		return footprint{}, errors.New(file + ": says nothing of memory")
	}
	return f, nil
}
