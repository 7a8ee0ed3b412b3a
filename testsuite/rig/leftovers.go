package rig

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// leftoversMax is how long the kernel may take to free what nobody holds any
// more: a network namespace's links go about 30 ms after its last process.
const leftoversMax = 5 * time.Second

// Traces say whose leftovers are looked for. Several nodes may be under test on
// one machine, each by a test process of its own; the zero value is all of them.
type Traces struct {
	Tag   string // of the node (isolation/slot): what it has in the kernel is named by it
	State string // its state folder: mounts and loop devices
}

// Leftovers lists what a node left in the kernel. It gives the kernel a
// moment, because namespaces are freed behind the caller's back.
func (t Traces) Leftovers() []string {
	deadline := time.Now().Add(leftoversMax)
	for {
		left := t.leftovers()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t Traces) leftovers() []string {
	left := t.processes()
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "deacon-"+t.Tag) {
			left = append(left, "cgroup "+path)
			return fs.SkipDir
		}
		return nil
	})
	links, _ := netlink.LinkList()
	for _, link := range links {
		if strings.HasPrefix(link.Attrs().Name, "dcn"+t.Tag) {
			left = append(left, "link "+link.Attrs().Name)
		}
	}
	return append(append(left, t.tables()...), t.mounts()...)
}

// processes belong to the node whose cgroups they are in; a zombie is in none
// any more, and is counted only where everybody's are.
func (t Traces) processes() []string {
	var left []string
	processes, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range processes {
		name, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(name), "deacon") {
			continue
		}
		folder := filepath.Dir(file)
		groups, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
		if t.Tag == "" || strings.Contains(string(groups), "/deacon-"+t.Tag) {
			left = append(left, "process "+filepath.Base(folder)+" "+strings.TrimSpace(string(name)))
		}
	}
	return left
}

func (t Traces) tables() []string {
	conn, err := nftables.New()
	if err != nil {
		return nil
	}
	tables, _ := conn.ListTables()
	var left []string
	for _, table := range tables {
		if strings.HasPrefix(table.Name, "deacon_"+t.Tag) {
			left = append(left, "nftables table "+table.Name)
		}
	}
	return left
}

func (t Traces) mounts() []string {
	var left []string
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if t.names(line) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range backing {
		image, err := os.ReadFile(file)
		if err == nil && t.names(string(image)) {
			left = append(left, "loop device on "+strings.TrimSpace(string(image)))
		}
	}
	return left
}

// names says whether a line of the kernel's is about the node's state folder.
func (t Traces) names(line string) bool {
	if t.State != "" {
		return strings.Contains(line, t.State)
	}
	return strings.Contains(line, "deacon") || strings.Contains(line, "dcn-e2e-")
}
