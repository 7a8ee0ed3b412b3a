package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/isolation"
)

// Driver makes groups for containers on one kind of hierarchy.
type Driver interface {
	// Name is "v1" or "v2".
	Name() string
	// Prepare makes the node's own groups. It may be repeated.
	Prepare() error
	// InitJoin says how the launcher (v1) gets to where inits live; on v2 it
	// is empty, because each PID 1 has a group of its own.
	InitJoin() (Join, error)
	// Inits lists every process that lives where inits do, launcher included.
	Inits() ([]int, error)
	// Create makes a container's groups with limits. uid is the container's
	// root, who must be able to put jobs into them (v2). It may be repeated.
	Create(name string, limits isolation.Limits, uid uint32) (Group, error)
	// Open finds the groups of a container that lives.
	Open(name string) (Group, error)
	// List names the containers that have groups.
	List() ([]string, error)
	// Remove takes a container's groups away; they must be empty.
	Remove(name string) error
	// Pressure is how long containers, all together, stood still for want of
	// something; v1 doesn't know.
	Pressure() ([]isolation.Stall, error)
	// Close takes the node's own groups away where they are empty.
	Close() error
}

// Join is how a process gets into groups: by writing "0" to each of Tasks from
// the thread that is to move (v1), or by being cloned into Dir (v2).
type Join struct {
	Tasks []*os.File
	Dir   *os.File
}

// Close closes the descriptors.
func (j Join) Close() {
	for _, file := range j.Files() {
		file.Close()
	}
}

// Files are the descriptors in the order in which PID 1 expects them.
func (j Join) Files() []*os.File {
	if j.Dir != nil {
		return []*os.File{j.Dir}
	}
	return j.Tasks
}

// Group is one container's groups.
type Group interface {
	// InitJoin is where PID 1 is to be cloned (v2); empty on v1.
	InitJoin() (Join, error)
	// JobJoin is how a job gets inside.
	JobJoin() (Join, error)
	// Stands says whether all of them are there.
	Stands() bool
	// OOMCounter is the file that PID 1 reads the kernel's count of kills from.
	OOMCounter() (*os.File, error)
	// Usage reads the kernel's counters.
	Usage() (isolation.Usage, error)
	// Limit changes what of change is about memory and cpu, whatever goes on
	// inside. Where it fails, nothing is changed. ErrInUse says that more memory
	// is in use.
	Limit(change isolation.LimitChange) error
	// Limits are as the kernel has them; it may have rounded. asked is what was
	// last set, for what the kernel keeps on another scale (v2's weight).
	Limits(asked isolation.Limits) (isolation.Limits, error)
	// Stats reads all counters; those of the disk, and the limits, are not here.
	Stats() (isolation.Stats, error)
	// WaitOOM returns when the kernel's count of kills is above seen.
	WaitOOM(ctx context.Context, seen uint64) (uint64, error)
	// Processes lists who is inside.
	Processes() ([]int, error)
}

// Config says which machine and whose groups.
type Config struct {
	Root  string // where hierarchies are mounted; empty: /sys/fs/cgroup
	Group string // the node's parent, "deacon-<tag>"
}

// controllersNeeded are what a container can't be bounded without.
var controllersNeeded = []string{"memory", "cpu", "pids"}

// Detect looks at what is mounted and chooses a driver. The notes say in words
// what can't be enforced or measured here.
func Detect(config Config) (Driver, []string, error) {
	if config.Root == "" {
		config.Root = "/sys/fs/cgroup"
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, nil, fmt.Errorf("cgroup: %w", err)
	}
	hierarchies, unified := parseMounts(string(mounts), config.Root)
	if unified != "" && hasControllers(unified) {
		return &v2{parent: filepath.Join(unified, config.Group)}, nil, nil
	}
	var missing []string
	for _, controller := range controllersNeeded {
		if hierarchies[controller] == "" {
			missing = append(missing, controller)
		}
	}
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("cgroup: below %s no hierarchy has %s; mount cgroup2 there, or the v1 controllers",
			config.Root, strings.Join(missing, " and "))
	}
	return newV1(config.Group, hierarchies)
}

// parseMounts finds the mount point of each v1 controller and of v2.
func parseMounts(mountinfo, root string) (hierarchies map[string]string, unified string) {
	hierarchies = map[string]string{}
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !found || len(left) < 5 || len(right) < 3 {
			continue
		}
		point := left[4]
		if point != root && !strings.HasPrefix(point, root+"/") {
			continue
		}
		switch right[0] {
		case "cgroup2":
			unified = point
		case "cgroup":
			for _, option := range strings.Split(right[2], ",") {
				if hierarchies[option] == "" {
					hierarchies[option] = point
				}
			}
		}
	}
	return hierarchies, unified
}

func hasControllers(unified string) bool {
	have, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers"))
	if err != nil {
		return false
	}
	for _, controller := range controllersNeeded {
		if !slices.Contains(strings.Fields(string(have)), controller) {
			return false
		}
	}
	return true
}

// makeGroup makes a group; one that exists is success.
func makeGroup(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cgroup: make %s: %w", path, err)
	}
	return nil
}

// removeGroup undoes makeGroup. It is a plain rmdir on purpose: a group's files
// can't be unlinked, and RemoveAll would turn "a process is inside" into a
// confusing error about the first file.
func removeGroup(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cgroup: remove %s: %w", path, err)
	}
	return nil
}

func listGroups(parent string, own ...string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: list: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && !slices.Contains(own, entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
