package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// errNobody says that there is nothing to harm.
const errNobody = unableError("no instance of an application runs on this node")

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// victim is the container of the instance that an order names, or one drawn
// from those that live.
func (n *Node) victim(ctx context.Context, o Order) (isolation.Status, error) {
	specs, err := n.Kernel.Containers(ctx)
	if err != nil {
		return isolation.Status{}, err
	}
	specs = slices.DeleteFunc(specs, func(s isolation.Spec) bool {
		return s.Owner != isolation.OwnerInstance || o.Instance != "" && s.Tenant != o.Instance
	})
	slices.SortFunc(specs, func(a, b isolation.Spec) int { return strings.Compare(a.ID, b.ID) })
	random(o.Seed).Shuffle(len(specs), func(i, j int) { specs[i], specs[j] = specs[j], specs[i] })
	for _, spec := range specs {
		status, err := n.Kernel.Adopt(ctx, spec.ID) // one that is held already is only looked at
		if err == nil && len(status.Jobs) > 0 {
			return status, nil
		}
	}
	if o.Instance != "" {
		return isolation.Status{}, unableError("no container of the instance " + o.Instance + " lives on this node")
	}
	return isolation.Status{}, errNobody
}

// ofOne is how a fault is injected that is done to one victim. What do returns
// says what exactly was done; with an error nothing was.
func ofOne(do func(n *Node, victim isolation.Status) (note string, err error)) injector {
	return func(ctx context.Context, n *Node, o Order) (Injection, error) {
		status, err := n.victim(ctx, o)
		if err != nil {
			return Injection{}, err
		}
		note, err := do(n, status)
		if err != nil {
			return Injection{}, err
		}
		return Injection{Victim: victimOf(status), Note: note}, nil
	}
}

func victimOf(s isolation.Status) Victim {
	return Victim{Container: s.Spec.ID, Instance: s.Spec.Tenant}
}

func slotOf(s isolation.Status) slot.Slot {
	return slot.Slot{Number: s.Spec.Slot, Epoch: s.Spec.Epoch}
}

// kill ends a process of this node's. The groups that it is in are what proves
// that it is one: a number alone may have become somebody else's meanwhile.
func (n *Node) kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	groups, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	if !strings.Contains(string(groups), "/"+n.Plan.Group()+"/") {
		return fmt.Errorf("process %d is none of this node's", pid)
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// groups are the folders of a container in every hierarchy.
func (n *Node) groups(s slot.Slot) (folders []string, err error) {
	trees, err := n.trees()
	if err != nil {
		return nil, err
	}
	for _, tree := range trees {
		folder := filepath.Join(tree, n.Plan.Cgroup(s))
		if _, err := os.Stat(folder); err == nil {
			folders = append(folders, folder)
		}
	}
	return folders, nil
}

// trees are the node's own folders in every hierarchy that it has some in, each
// once.
func (n *Node) trees() (trees []string, err error) {
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + n.Plan.Group())
		if err != nil {
			return nil, err
		}
		for _, tree := range found {
			if tree, err = filepath.EvalSymlinks(tree); err != nil { // cpu is a link to cpu,cpuacct
				return nil, err
			}
			if !slices.Contains(trees, tree) {
				trees = append(trees, tree)
			}
		}
	}
	return trees, nil
}

// members are the processes of a group.
func members(folder string) (pids []int, err error) {
	body, err := os.ReadFile(procsOf(folder))
	if err != nil {
		return nil, err
	}
	for field := range strings.FieldsSeq(string(body)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
