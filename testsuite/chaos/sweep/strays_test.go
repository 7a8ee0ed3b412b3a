package sweep

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// kept is where to look for what a node has.
type kept struct {
	traces   rig.Traces
	pool     netip.Prefix
	uids     uint32 // the first of its containers' accounts; 0: unknown
	agent    int
	patience time.Duration
}

// inventory is what the rig finds by our names, and what bears none: processes
// in no node's group, and namespaces that only a descriptor holds.
func (k kept) inventory() []string {
	all := append(k.traces.Inventory(k.pool, k.agent), heldNamespaces(k.agent)...)
	if k.uids > 0 {
		all = append(all, k.strays()...)
	}
	slices.Sort(all)
	return all
}

// beyond waits for what isn't in a list to go, and says what doesn't.
func (k kept) beyond(former []string) []string {
	for deadline := time.Now().Add(k.patience); ; time.Sleep(2 * time.Millisecond) {
		left := k.inventory()
		for _, name := range former {
			if i := slices.Index(left, name); i >= 0 {
				left = slices.Delete(left, i, i+1)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// strays are processes of containers' accounts that are in no node's group.
func (k kept) strays() (all []string) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		info, err := os.Stat(process)
		if err != nil {
			continue
		}
		uid := info.Sys().(*syscall.Stat_t).Uid
		if uid < k.uids || uid >= k.uids+slots*slot.UIDsPerSlot {
			continue
		}
		groups, _ := os.ReadFile(process + "/cgroup")
		if strings.Contains(string(groups), "/deacon-") {
			continue // ours are in the rig's list; others have nodes on this machine, too
		}
		if program, err := os.Readlink(process + "/exe"); err == nil {
			all = append(all, "process of "+program+" in no node's group")
		}
	}
	return all
}

// heldNamespaces are those that an agent has descriptors of, by their kinds.
func heldNamespaces(agent int) (all []string) {
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", agent))
	for _, descriptor := range descriptors {
		name, _ := os.Readlink(descriptor)
		if kind, _, is := strings.Cut(name, ":["); is && !strings.Contains(kind, "_") && kind != "socket" && kind != "pipe" {
			all = append(all, "namespace of kind "+kind)
		}
	}
	return all
}

// kept looks for what the node has.
func (m *machine) kept() kept {
	plan := m.config.Plan
	return kept{m.traces, plan.Pool, plan.UIDBase, m.node.pid(), goneMax}
}

// goneMax is how long the kernel may take to free what nobody holds any more, and
// more than a node waits for a namespace's links before it takes them by force.
const goneMax = 15 * time.Second

func (m *machine) inventory() []string { return m.kept().inventory() }

// beyond is what the node has and had not when it was new.
func (m *machine) beyond() []string { return m.kept().beyond(m.idle) }
