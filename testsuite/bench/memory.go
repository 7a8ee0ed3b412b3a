package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// memory is what idle containers cost the node.
type memory struct {
	Containers int
	Init       footprint // one deacon-init; each figure is the median of all
	AgentFirst footprint // the agent with nothing running
	Agent      footprint // and with all of them
}

// settle is how long containers idle before they are looked at.
const settle = 3 * time.Second

func measureMemory(s *stand, n *node, containers int) memory {
	fmt.Fprintf(os.Stderr, "bench: %d idle containers\n", containers)
	m := memory{Containers: containers, AgentFirst: mustFootprint(s, n.agent.PID())}
	n.ctl.Forget()
	var apps []string
	for range containers {
		apps = append(apps, n.begin())
	}
	for _, app := range apps {
		n.registered(app)
	}
	time.Sleep(settle)
	m.Agent = mustFootprint(s, n.agent.PID())
	inits, err := n.inits(rig.TracesOf(s, filepath.Join(n.agent.State, "s")).Tag)
	s.must(err)
	// Some more wait for the next containers.
	if spares := agent.DefaultConfig().Instance.Spares; len(inits) < containers || len(inits) > containers+spares {
		s.Fatalf("%d containers run, %d deacon-inits are there", containers, len(inits))
	}
	var all []footprint
	for _, pid := range inits {
		all = append(all, mustFootprint(s, pid))
	}
	m.Init = medianFootprint(all)
	for _, app := range apps {
		n.end(app)
	}
	s.must(n.rest())
	return m
}

// inits are the PID 1s in the node's cgroups, where nobody else's are; their
// command line tells them from the launcher.
func (n *node) inits(tag string) ([]int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range lines {
		content, err := os.ReadFile(file)
		groups, failed := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if err != nil || failed != nil {
			continue // ended
		}
		if !strings.Contains(string(content), "\x00pid1\x00") || !strings.Contains(string(groups), "/deacon-"+tag) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// footprint is a process's memory in KiB.
type footprint struct {
	RSS     int `json:"rss_kib"`
	PSS     int `json:"pss_kib"`
	Private int `json:"private_kib"`
}

func (f footprint) String() string {
	return fmt.Sprintf("%d private, %d PSS, %d RSS", f.Private, f.PSS, f.RSS)
}

func medianFootprint(all []footprint) footprint {
	middle := func(of func(footprint) int) int {
		var values []int
		for _, f := range all {
			values = append(values, of(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return footprint{
		RSS:     middle(func(f footprint) int { return f.RSS }),
		PSS:     middle(func(f footprint) int { return f.PSS }),
		Private: middle(func(f footprint) int { return f.Private }),
	}
}

func mustFootprint(s *stand, pid int) footprint {
	f, err := footprintOf(pid)
	s.must(err)
	return f
}

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
			f.RSS = kib
		case "Pss:":
			f.PSS = kib
		case "Private_Clean:", "Private_Dirty:":
			f.Private += kib
		}
	}
	if f.RSS == 0 {
		return footprint{}, errors.New(file + ": says nothing of memory")
	}
	return f, nil
}
