package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Audit is what a node holds of its machine at one moment, counted from the
// kernel and the disk, and not from what the agent remembers.
type Audit struct {
	Node        string   `json:"node"`
	PID         int      `json:"pid"`
	Containers  []string `json:"containers"` // with a record, by id
	Groups      int      `json:"groups"`     // containers that have cgroups
	Links       int      `json:"links"`
	Trash       int      `json:"trash"` // folders that wait to be removed
	Descriptors int      `json:"descriptors"`
	Goroutines  int      `json:"goroutines"`
	Faults      []string `json:"faults"` // that aren't healed
	// Odd is what is there without a container, or missing from one.
	Odd []string `json:"odd"`
}

func (s *Service) audit(ctx context.Context) (Audit, error) {
	a := Audit{Node: s.id, PID: os.Getpid(), Containers: []string{}, Faults: []string{}, Odd: []string{}}
	s.mu.Lock()
	for _, injection := range s.active {
		a.Faults = append(a.Faults, injection.fault)
	}
	s.mu.Unlock()
	slices.Sort(a.Faults)
	specs, err := s.node.Kernel.Containers(ctx)
	if err != nil {
		return a, err
	}
	for _, spec := range specs {
		a.Containers = append(a.Containers, spec.ID)
	}
	slices.Sort(a.Containers)
	if err := a.compare(s.node, specs); err != nil {
		return a, err
	}
	fds, err := os.ReadDir("/proc/self/fd")
	a.Descriptors, a.Goroutines = len(fds), runtime.NumGoroutine()
	return a, err
}

// compare holds what is in the kernel against what should be.
func (a *Audit) compare(n *Node, specs []isolation.Spec) error {
	groups, links := map[string]bool{}, map[string]bool{}
	for _, spec := range specs {
		s := slot.Slot{Number: spec.Slot, Epoch: spec.Epoch}
		groups[n.Plan.Cgroup(s)], links[n.Plan.Link(s)] = true, true
	}
	trees, err := n.trees()
	if err != nil {
		return err
	}
	if err := a.lookIn(trees, groups); err != nil {
		return err
	}
	interfaces, err := os.ReadDir("/proc/sys/net/ipv4/conf") // of this network namespace, whatever /sys shows
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, link := range interfaces {
		if strings.HasPrefix(link.Name(), n.Plan.LinkPrefix()) {
			seen[link.Name()] = true
		}
	}
	a.Links = len(seen)
	a.against(links, seen, "link %s")
	trash, err := os.ReadDir(filepath.Join(n.State, "trash"))
	if !os.IsNotExist(err) && err != nil {
		return err
	}
	a.Trash = len(trash)
	slices.Sort(a.Odd)
	return nil
}

// lookIn finds the groups in each hierarchy: a container has one in all.
func (a *Audit) lookIn(trees []string, wanted map[string]bool) error {
	all := map[string]bool{}
	for _, tree := range trees {
		folders, err := os.ReadDir(tree)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, folder := range folders {
			if _, ours := slot.Parse(folder.Name()); ours && folder.IsDir() {
				seen[folder.Name()], all[folder.Name()] = true, true
			}
		}
		a.against(wanted, seen, "cgroup "+filepath.Join(filepath.Base(filepath.Dir(tree)), "%s"))
	}
	a.Groups = len(all)
	return nil
}

// against notes what is there and wanted by nobody, and what is wanted and not
// there; what says of a name what it is.
func (a *Audit) against(wanted, seen map[string]bool, what string) {
	for name := range seen {
		if !wanted[name] {
			a.Odd = append(a.Odd, fmt.Sprintf(what, name)+" belongs to no container")
		}
	}
	for name := range wanted {
		if !seen[name] {
			a.Odd = append(a.Odd, fmt.Sprintf(what, name)+" is missing")
		}
	}
}
