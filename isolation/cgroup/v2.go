package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// A container's two groups on v2: limits are on jobs, PID 1 is beside it.
const (
	jobsGroup = "jobs"
	// controllersWanted are enabled for the containers' groups; those that the
	// kernel lacks are left out by enable.
	controllersWanted = "memory cpu pids"
	// goingMax is how long a group that is to be removed may take to empty, in
	// milliseconds. The kernel says when it has; goingLooks is how often it is
	// looked at besides.
	goingMax   = 5000
	goingLooks = 50
)

// v2 is the driver for the unified tree.
type v2 struct{ parent string }

func (d *v2) Name() string { return "v2" }

func (d *v2) Prepare() error {
	// The root's children need the controllers, and the node's parent hands
	// them on; a parent that hands on controllers may hold no process.
	if err := enable(filepath.Dir(d.parent)); err != nil {
		return err
	}
	if err := makeGroup(d.parent); err != nil {
		return err
	}
	return enable(d.parent)
}

func enable(dir string) error {
	return write(dir, "cgroup.subtree_control", "+"+strings.ReplaceAll(controllersWanted, " ", " +"))
}

func (d *v2) InitJoin() (Join, error) { return Join{}, nil }

// Inits passes over a container without a group for its PID 1: an agent that
// died while it made or removed the groups leaves such a one, and another may
// be removed while we look.
func (d *v2) Inits() ([]int, error) {
	names, err := d.List()
	var all []int
	for _, name := range names {
		pids, failed := readProcesses(filepath.Join(d.parent, name, initGroup))
		if errors.Is(failed, fs.ErrNotExist) || errors.Is(failed, unix.ENODEV) {
			continue
		}
		all, err = append(all, pids...), errors.Join(err, failed)
	}
	return all, err
}

func (d *v2) Create(name string, limits isolation.Limits, uid uint32) (Group, error) {
	dir := filepath.Join(d.parent, name)
	if err := makeGroup(dir); err != nil {
		return nil, err
	}
	if err := enable(dir); err != nil {
		return nil, err
	}
	for _, group := range []string{initGroup, jobsGroup} {
		if err := makeGroup(filepath.Join(dir, group)); err != nil {
			return nil, err
		}
	}
	// PID 1 clones jobs into their group with its own rights: the kernel asks
	// for write access to the target's cgroup.procs and to that of the nearest
	// common ancestor.
	for _, file := range []string{"cgroup.procs", jobsGroup + "/cgroup.procs"} {
		if err := os.Chown(filepath.Join(dir, file), int(uid), int(uid)); err != nil {
			return nil, fmt.Errorf("cgroup: %w", err)
		}
	}
	g := &v2Group{dir}
	return g, g.limit(limits)
}

func (d *v2) Open(name string) (Group, error) {
	dir := filepath.Join(d.parent, name)
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return &v2Group{dir}, nil
}

func (d *v2) List() ([]string, error) { return listGroups(d.parent) }

func (d *v2) Remove(name string) error {
	dir := filepath.Join(d.parent, name)
	return errors.Join(removeGoing(filepath.Join(dir, jobsGroup)), removeGoing(filepath.Join(dir, initGroup)),
		removeGroup(dir))
}

// removeGoing gives whoever is about to leave the group the time for it: the
// kernel kills those inside after their PID 1, and a PID 1 that was born after its
// creator had given up finds its gate closed and ends.
func removeGoing(dir string) error {
	err := removeGroup(dir)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	events, failed := open(dir, "cgroup.events", unix.O_RDONLY)
	if failed != nil {
		return errors.Join(err, failed)
	}
	defer events.Close()
	for range goingLooks {
		// Once it was read, the kernel says when it has something new.
		if _, failed := events.ReadAt(make([]byte, 256), 0); failed != nil && failed != io.EOF {
			return errors.Join(err, failed)
		}
		if err = removeGroup(dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
		poll := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}
		if _, failed := unix.Poll(poll, goingMax/goingLooks); failed != nil && failed != unix.EINTR {
			return errors.Join(err, os.NewSyscallError("poll", failed))
		}
	}
	return err
}

func (d *v2) Close() error { return removeGroup(d.parent) }

// v2Group is one container's pair of groups.
type v2Group struct{ dir string }

func (g *v2Group) jobs() string { return filepath.Join(g.dir, jobsGroup) }

func (g *v2Group) limit(l isolation.Limits) error {
	var failed error
	set := func(file string, wanted bool, value string) {
		if wanted {
			failed = errors.Join(failed, write(g.jobs(), file, value))
		}
	}
	set("memory.max", l.MemoryBytes > 0, strconv.FormatInt(l.MemoryBytes, 10))
	set("cpu.weight", l.CPUShares > 0, strconv.FormatUint(WeightOf(l.CPUShares), 10))
	set("cpu.max", l.CPUMillis > 0, fmt.Sprintf("%d %d", l.CPUMillis*quotaPeriod/1000, quotaPeriod))
	set("pids.max", l.Pids > 0, strconv.FormatInt(l.Pids, 10))
	// The limit is memory and swap together, as v1 has it: no swap at all. The
	// file is missing where the kernel has no swap.
	if _, err := os.Stat(filepath.Join(g.jobs(), "memory.swap.max")); err == nil {
		set("memory.swap.max", l.MemoryBytes > 0, "0")
	}
	return failed
}

// WeightOf turns cpu shares (2…262144) into a weight (1…10000), linearly, as
// the field does.
func WeightOf(shares uint64) uint64 {
	return 1 + (Shares(shares)-sharesMin)*9999/(sharesMax-sharesMin)
}

func (g *v2Group) directory(name string) (Join, error) {
	fd, err := unix.Open(filepath.Join(g.dir, name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Join{}, fmt.Errorf("cgroup: open %s/%s: %w", g.dir, name, err)
	}
	return Join{Dir: os.NewFile(uintptr(fd), name)}, nil
}

func (g *v2Group) InitJoin() (Join, error) { return g.directory(initGroup) }
func (g *v2Group) JobJoin() (Join, error)  { return g.directory(jobsGroup) }

func (g *v2Group) OOMCounter() (*os.File, error) {
	return open(g.jobs(), "memory.events", unix.O_RDONLY)
}

func (g *v2Group) Usage() (isolation.Usage, error) {
	memory, err := readNumber(g.jobs(), "memory.current")
	if err != nil {
		return isolation.Usage{}, err
	}
	detail, err := readFields(g.jobs(), "memory.stat")
	if err != nil {
		return isolation.Usage{}, err
	}
	cpu, err := readFields(g.jobs(), "cpu.stat")
	if err != nil {
		return isolation.Usage{}, err
	}
	pids, err := readNumber(g.jobs(), "pids.current")
	if err != nil {
		return isolation.Usage{}, err
	}
	events, err := readFields(g.jobs(), "memory.events")
	return isolation.Usage{
		MemoryBytes: memory - detail["inactive_file"],
		CPU:         time.Duration(cpu["usage_usec"]) * time.Microsecond,
		Pids:        pids,
		OOMKills:    uint64(events["oom_kill"]),
	}, err
}

func (g *v2Group) Processes() ([]int, error) { return readProcesses(g.jobs()) }

// WaitOOM looks at the count whenever memory.events changes.
func (g *v2Group) WaitOOM(ctx context.Context, seen uint64) (uint64, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("cgroup: inotify: %w", err)
	}
	notify := os.NewFile(uintptr(fd), "oom event")
	defer notify.Close()
	// The group's own end is seen from the folder above it.
	for path, events := range map[string]uint32{
		filepath.Join(g.jobs(), "memory.events"): unix.IN_MODIFY, g.dir: unix.IN_DELETE,
	} {
		if _, err := unix.InotifyAddWatch(fd, path, events); err != nil {
			return 0, fmt.Errorf("cgroup: watch %s: %w", path, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { notify.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		events, err := readFields(g.jobs(), "memory.events")
		if err != nil {
			return 0, err
		}
		if kills := uint64(events["oom_kill"]); kills > seen {
			return kills, nil
		}
		if _, err := notify.Read(make([]byte, 512)); err != nil {
			return 0, errors.Join(context.Cause(ctx), err)
		}
	}
}
