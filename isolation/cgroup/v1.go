package cgroup

import (
	"context"
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

// initGroup is where launchers and inits live on v1.
const initGroup = "init"

// quotaPeriod is the kernel's default period of the cpu quota, in microseconds.
const quotaPeriod = 100_000

// v1 is the driver for one tree a controller.
type v1 struct {
	trees                     []string // the node's parent in each tree, no tree twice
	memory, cpu, cpuacct, pid string   // the same, by controller; cpuacct may be empty
	swap                      bool     // memory+swap is counted
}

func newV1(group string, hierarchies map[string]string) (*v1, []string, error) {
	parent := func(controller string) string {
		if hierarchies[controller] == "" {
			return ""
		}
		return filepath.Join(hierarchies[controller], group)
	}
	d := &v1{memory: parent("memory"), cpu: parent("cpu"), cpuacct: parent("cpuacct"), pid: parent("pids")}
	for _, tree := range []string{d.memory, d.cpu, d.cpuacct, d.pid} {
		if tree != "" && !slices.Contains(d.trees, tree) {
			d.trees = append(d.trees, tree)
		}
	}
	var notes []string
	if d.cpuacct == "" {
		notes = append(notes, "cpu time can't be measured: no cgroup hierarchy has cpuacct")
	}
	_, err := os.Stat(filepath.Join(hierarchies["memory"], "memory.memsw.limit_in_bytes"))
	if d.swap = err == nil; !d.swap {
		notes = append(notes, "swap is not limited: this kernel doesn't count it (swapaccount)")
	}
	return d, notes, nil
}

func (d *v1) Name() string { return "v1" }

func (d *v1) Prepare() error {
	for _, tree := range d.trees {
		if err := errors.Join(makeGroup(tree), makeGroup(filepath.Join(tree, initGroup))); err != nil {
			return err
		}
	}
	return nil
}

func (d *v1) InitJoin() (Join, error) { return d.tasks(initGroup) }

func (d *v1) tasks(name string) (join Join, err error) {
	for _, tree := range d.trees {
		file, err := open(filepath.Join(tree, name), "tasks", unix.O_WRONLY)
		if err != nil {
			join.Close()
			return Join{}, err
		}
		join.Tasks = append(join.Tasks, file)
	}
	return join, nil
}

func (d *v1) Inits() ([]int, error) { return readProcesses(filepath.Join(d.memory, initGroup)) }

func (d *v1) Create(name string, limits isolation.Limits, _ uint32) (Group, error) {
	for _, tree := range d.trees {
		if err := makeGroup(filepath.Join(tree, name)); err != nil {
			return nil, err
		}
	}
	g := &v1Group{d, name}
	return g, g.limit(limits)
}

func (d *v1) Open(name string) (Group, error) {
	if _, err := os.Stat(filepath.Join(d.memory, name)); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return &v1Group{d, name}, nil
}

func (d *v1) List() ([]string, error) {
	var all []string
	for _, tree := range d.trees {
		names, err := listGroups(tree, initGroup)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all, nil
}

func (d *v1) Remove(name string) error {
	var failed error
	for _, tree := range d.trees {
		failed = errors.Join(failed, removeDying(filepath.Join(tree, name)))
	}
	return failed
}

// How often and how long removeDying looks again.
const (
	dyingLooks = 50
	dyingPause = 2 * time.Millisecond
)

// removeDying gives processes that were killed the time to leave the group, as
// removeGoing does: v1 has no file that says when they have.
func removeDying(dir string) (err error) {
	for range dyingLooks {
		if err = removeGroup(dir); !errors.Is(err, unix.EBUSY) {
			return err
		}
		time.Sleep(dyingPause)
	}
	return err
}

func (d *v1) Close() error {
	var failed error
	for _, tree := range d.trees {
		failed = errors.Join(failed, removeGroup(filepath.Join(tree, initGroup)), removeGroup(tree))
	}
	return failed
}

// v1Group is one container's jobs.
type v1Group struct {
	driver *v1
	name   string
}

func (g *v1Group) limit(l isolation.Limits) error {
	memory, cpu := filepath.Join(g.driver.memory, g.name), filepath.Join(g.driver.cpu, g.name)
	var failed error
	set := func(dir, file string, value int64) {
		if value > 0 {
			failed = errors.Join(failed, write(dir, file, strconv.FormatInt(value, 10)))
		}
	}
	set(memory, "memory.limit_in_bytes", l.MemoryBytes)
	if g.driver.swap {
		set(memory, "memory.memsw.limit_in_bytes", l.MemoryBytes)
	}
	set(cpu, "cpu.shares", int64(l.CPUShares))
	set(cpu, "cpu.cfs_quota_us", l.CPUMillis*quotaPeriod/1000)
	set(filepath.Join(g.driver.pid, g.name), "pids.max", l.Pids)
	return failed
}

func (g *v1Group) InitJoin() (Join, error) { return Join{}, nil }
func (g *v1Group) JobJoin() (Join, error)  { return g.driver.tasks(g.name) }

func (g *v1Group) memoryDir() string { return filepath.Join(g.driver.memory, g.name) }

func (g *v1Group) OOMCounter() (*os.File, error) {
	return open(g.memoryDir(), "memory.oom_control", unix.O_RDONLY)
}

func (g *v1Group) Usage() (isolation.Usage, error) {
	memory, err := readFields(g.memoryDir(), "memory.stat")
	if err != nil {
		return isolation.Usage{}, err
	}
	kills, err := g.oomKills()
	if err != nil {
		return isolation.Usage{}, err
	}
	pids, err := readNumber(filepath.Join(g.driver.pid, g.name), "pids.current")
	if err != nil {
		return isolation.Usage{}, err
	}
	usage := isolation.Usage{
		MemoryBytes: memory["total_rss"] + memory["total_cache"] - memory["total_inactive_file"],
		Pids:        pids,
		OOMKills:    kills,
	}
	if g.driver.cpuacct != "" {
		spent, err := readNumber(filepath.Join(g.driver.cpuacct, g.name), "cpuacct.usage")
		if err != nil {
			return isolation.Usage{}, err
		}
		usage.CPU = time.Duration(spent)
	}
	return usage, nil
}

func (g *v1Group) oomKills() (uint64, error) {
	fields, err := readFields(g.memoryDir(), "memory.oom_control")
	return uint64(fields["oom_kill"]), err
}

func (g *v1Group) Processes() ([]int, error) { return readProcesses(g.memoryDir()) }

// WaitOOM asks the kernel to signal an eventfd at each out-of-memory state and
// reads the count afterwards: the event says when to look, the count what happened.
func (g *v1Group) WaitOOM(ctx context.Context, seen uint64) (uint64, error) {
	counter, err := g.OOMCounter()
	if err != nil {
		return 0, err
	}
	defer counter.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return 0, fmt.Errorf("cgroup: eventfd: %w", err)
	}
	event := os.NewFile(uintptr(fd), "oom event")
	defer event.Close()
	if err := write(g.memoryDir(), "cgroup.event_control", fmt.Sprintf("%d %d", fd, counter.Fd())); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { event.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		kills, err := g.oomKills()
		if err == nil && kills > seen {
			return kills, nil
		}
		// The group's end is an event too; then the count is gone.
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return 0, err
		}
		if _, err := event.Read(make([]byte, 8)); err != nil {
			return 0, errors.Join(context.Cause(ctx), err)
		}
		// The event comes before the killing: the count follows within moments.
		g.settle(seen)
	}
}

// settleMax bounds how long after an out-of-memory event its kill is waited for.
const settleMax = 100 * time.Millisecond

// settle polls the count, because the kernel has no event for it: the one that
// exists is sent before a victim is chosen.
func (g *v1Group) settle(seen uint64) {
	for waited := time.Duration(0); waited < settleMax; waited += time.Millisecond {
		if kills, err := g.oomKills(); err != nil || kills > seen {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
