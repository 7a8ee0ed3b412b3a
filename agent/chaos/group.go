package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

var groupRemoved = Fault{
	Name: "group-removed", Harm: One, Shows: 6 * time.Second,
	Does:      "the jobs of one container are moved out of its cgroups, and those are removed, as `cgdelete` would",
	Heals:     "the node notices, and ends the instance with the reason; its controller starts another",
	Available: always,
	Inject: ofOne(func(n *Node, victim isolation.Status) (string, error) {
		folders, err := n.groups(slotOf(victim))
		if err == nil && len(folders) == 0 {
			err = unableError("the container has no groups")
		}
		if err != nil {
			return "", err
		}
		removed := 0
		for _, folder := range folders {
			if failed := dissolve(folder); failed != nil {
				err = errors.Join(err, failed)
				continue
			}
			removed++
		}
		if removed == 0 {
			return "", err
		}
		if err != nil { // the victim was harmed all the same
			n.Log.Warn("not every group of a container could be removed", "container", victim.Spec.ID, "error", err)
		}
		return fmt.Sprintf("%d of %d groups", removed, len(folders)), nil
	}),
}

// dissolveRounds is how often processes are moved that were born meanwhile.
const dissolveRounds = 10

// dissolve moves everybody in a group and below it to a group above, and removes
// it.
func dissolve(folder string) error {
	var all []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(all) // what is inside first
	for _, group := range all {
		for range dissolveRounds {
			if err = moveAll(group, filepath.Dir(folder)); err != nil {
				return err
			}
			if err = unix.Rmdir(group); !errors.Is(err, unix.EBUSY) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("remove group %s: %w", group, err)
		}
	}
	return nil
}

// moveAll moves the processes of a group to another one, or to the nearest above
// that takes them: on v2 none does that has controllers for those below, but for
// the topmost.
func moveAll(from, to string) error {
	pids, err := members(from)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		err := move(pid, to)
		for errors.Is(err, unix.EBUSY) && isGroup(filepath.Dir(to)) {
			to = filepath.Dir(to)
			err = move(pid, to)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move process %d: %w", pid, err)
		}
	}
	return nil
}

func move(pid int, to string) error {
	return os.WriteFile(procsOf(to), strconv.AppendInt(nil, int64(pid), 10), 0)
}

func isGroup(folder string) bool {
	_, err := os.Stat(procsOf(folder))
	return err == nil
}

func procsOf(group string) string { return filepath.Join(group, "cgroup.procs") }
