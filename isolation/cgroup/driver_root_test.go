package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// driver is this machine's, with groups of its own that are gone with the test.
// The same tests run on both kinds of machine.
func driver(t *testing.T) Driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: control groups need root")
	}
	d, notes, err := Detect(Config{Group: fmt.Sprintf("deacon-test%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(d.Name(), notes)
	if err := errors.Join(d.Prepare(), d.Prepare()); err != nil { // may be repeated
		t.Fatal(err)
	}
	t.Cleanup(func() {
		names, _ := d.List()
		for _, name := range names {
			if err := d.Remove(name); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

var limits = isolation.Limits{MemoryBytes: 32 << 20, CPUShares: 128, CPUMillis: 500, Pids: 20}

func create(t *testing.T, d Driver, name string) Group {
	t.Helper()
	g, err := d.Create(name, limits, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// run starts a program inside the group, as PID 1 starts a job, and kills it
// with the test.
func run(t *testing.T, g Group, argv ...string) *exec.Cmd {
	t.Helper()
	return start(t, g, exec.Command(argv[0], argv[1:]...))
}

// eater is this program, which then eats.
func eater(variable string, mib int) *exec.Cmd {
	process := exec.Command("/proc/self/exe")
	process.Env = []string{fmt.Sprint(variable, "=", mib)}
	return process
}

func start(t *testing.T, g Group, process *exec.Cmd) *exec.Cmd {
	t.Helper()
	join, err := g.JobJoin()
	if err != nil {
		t.Fatal(err)
	}
	defer join.Close()
	done := make(chan error, 1)
	go func() { done <- startIn(join, process) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		empty(t, g)
		process.Wait()
	})
	return process
}

// inside lists who is in the group beside the test's own thread, which has not
// always ended yet when the process that it started runs.
func inside(t *testing.T, g Group) []int {
	t.Helper()
	pids, err := g.Processes()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
}

func empty(t *testing.T, g Group) {
	t.Helper()
	for pids, err := g.Processes(); len(pids) > 0; pids, err = g.Processes() {
		if err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if pid != os.Getpid() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func startIn(join Join, process *exec.Cmd) error {
	if join.Dir != nil {
		process.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(join.Dir.Fd())}
		return process.Start()
	}
	// The first thread can't be thrown away; held, another does the work.
	runtime.LockOSThread()
	if syscall.Gettid() == syscall.Getpid() {
		defer runtime.UnlockOSThread()
		done := make(chan error, 1)
		go func() { done <- startIn(join, process) }()
		return <-done
	}
	for _, tasks := range join.Tasks {
		if _, err := tasks.WriteString("0"); err != nil {
			return err
		}
	}
	return process.Start()
}

func TestLimitsAreInTheKernelsOwnFiles(t *testing.T) {
	d := driver(t)
	create(t, d, "s1.1")
	g := create(t, d, "s1.1") // making what exists succeeds
	want := map[string]string{"memory.max": "33554432", "cpu.max": "50000 100000", "cpu.weight": "5", "pids.max": "20"}
	dir := func(string) string { return g.(*v2Group).jobs() }
	if d, ok := d.(*v1); ok {
		want = map[string]string{"memory.limit_in_bytes": "33554432", "cpu.cfs_quota_us": "50000", "cpu.shares": "128", "pids.max": "20"}
		if d.swap {
			want["memory.memsw.limit_in_bytes"] = "33554432"
		}
		dir = func(file string) string {
			controller, _, _ := strings.Cut(file, ".")
			return filepath.Join(map[string]string{"memory": d.memory, "cpu": d.cpu, "pids": d.pid}[controller], "s1.1")
		}
	}
	for file, value := range want {
		content, err := os.ReadFile(filepath.Join(dir(file), file))
		if err != nil || strings.TrimSpace(string(content)) != value {
			t.Errorf("%s has %q, %v; want %s", file, content, err, value)
		}
	}
}

func TestGroupsAreFoundAndRemovedAndRemovedAgain(t *testing.T) {
	d := driver(t)
	create(t, d, "s1.1")
	create(t, d, "s2.7")
	names, err := d.List()
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"s1.1", "s2.7"}) {
		t.Errorf("listed %v, %v", names, err)
	}
	if _, err := d.Open("s2.7"); err != nil {
		t.Error(err)
	}
	if err := errors.Join(d.Remove("s1.1"), d.Remove("s1.1"), d.Remove("s2.7"), d.Remove("s9.9")); err != nil {
		t.Error(err)
	}
	if _, err := d.Open("s2.7"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened what is gone: %v", err)
	}
	if inits, err := d.Inits(); err != nil || len(inits) != 0 {
		t.Errorf("inits are %v, %v", inits, err)
	}
}

// An agent may die between two groups of one container.
func TestHalfMadeGroupsHideNobodyAndAreRemoved(t *testing.T) {
	d := driver(t)
	parent := ""
	switch d := d.(type) {
	case *v1:
		parent = d.trees[len(d.trees)-1]
	case *v2:
		parent = d.parent
	}
	if err := os.Mkdir(filepath.Join(parent, "s1.1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if inits, err := d.Inits(); err != nil || len(inits) != 0 {
		t.Errorf("inits are %v, %v", inits, err)
	}
	if names, err := d.List(); err != nil || !slices.Equal(names, []string{"s1.1"}) {
		t.Errorf("listed %v, %v", names, err)
	}
	if err := d.Remove("s1.1"); err != nil {
		t.Error(err)
	}
	if names, err := d.List(); err != nil || len(names) != 0 {
		t.Errorf("removed, listed %v, %v", names, err)
	}
}

// On v2 a PID 1 is born in a group of its container's, maybe after whoever asked
// for it gave up.
func TestAPID1ThatIsGoingHoldsUpNoRemoval(t *testing.T) {
	d := driver(t)
	join, err := create(t, d, "s1.1").InitJoin()
	if err != nil {
		t.Fatal(err)
	}
	defer join.Close()
	going := exec.Command("sleep", "0.2")
	if join.Dir != nil {
		going.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(join.Dir.Fd())}
	}
	if err := going.Start(); err != nil {
		t.Fatal(err)
	}
	defer going.Wait()
	if err := d.Remove("s1.1"); err != nil {
		t.Error(err)
	}
}

func TestAProcessIsInsideFromTheStartAndIsCounted(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	process := start(t, g, eater(eaterEnv, 8))
	if pids := inside(t, g); !slices.Equal(pids, []int{process.Process.Pid}) {
		t.Errorf("inside are %v; want %d", pids, process.Process.Pid)
	}
	var usage isolation.Usage
	for deadline := time.Now().Add(10 * time.Second); usage.MemoryBytes < 8<<20 && time.Now().Before(deadline); {
		var err error
		if usage, err = g.Usage(); err != nil {
			t.Fatal(err)
		}
	}
	if usage.Pids < 1 || usage.MemoryBytes < 8<<20 || usage.CPU <= 0 || usage.OOMKills != 0 {
		t.Errorf("usage is %+v", usage)
	}
	if inits, err := driverOf(g).Inits(); err != nil || slices.Contains(inits, process.Process.Pid) {
		t.Errorf("it counts as an init: %v, %v", inits, err)
	}
}

func driverOf(g Group) Driver {
	if g, ok := g.(*v1Group); ok {
		return g.driver
	}
	return &v2{parent: filepath.Dir(g.(*v2Group).dir)}
}

// eaterEnv makes the test program one that takes memory: as many MiB as it
// says, then it waits to be killed. With childEnv a child does, and the program
// itself lives on after it. Machines on which these tests run may have no other
// program that could.
const (
	eaterEnv = "DEACON_CGROUP_EATS"
	childEnv = "DEACON_CGROUP_CHILD_EATS"
)

func TestMain(m *testing.M) {
	if mib, err := strconv.Atoi(os.Getenv(childEnv)); err == nil {
		child := exec.Command("/proc/self/exe")
		child.Env = []string{fmt.Sprint(eaterEnv, "=", mib)}
		child.Run()
		select {}
	}
	if mib, err := strconv.Atoi(os.Getenv(eaterEnv)); err == nil {
		food := make([]byte, mib<<20)
		for i := 0; i < len(food); i += 4096 {
			food[i] = 1
		}
		time.Sleep(time.Hour)
		runtime.KeepAlive(food)
	}
	os.Exit(m.Run())
}

func TestAKillForWantOfMemoryIsToldAndCounted(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	told := make(chan error, 1)
	go func() {
		kills, err := g.WaitOOM(t.Context(), 0)
		if err == nil && kills != 1 {
			err = fmt.Errorf("%d kills", kills)
		}
		told <- err
	}()
	start(t, g, eater(childEnv, 100))
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	// Who asks afterwards is told at once.
	if kills, err := g.WaitOOM(t.Context(), 0); err != nil || kills != 1 {
		t.Errorf("afterwards: %d, %v", kills, err)
	}
	if usage, err := g.Usage(); err != nil || usage.OOMKills != 1 {
		t.Errorf("counted %d, %v", usage.OOMKills, err)
	}
	counter, err := g.OOMCounter()
	if err != nil {
		t.Fatal(err)
	}
	defer counter.Close()
	content := make([]byte, 512)
	if n, err := counter.ReadAt(content, 0); n == 0 || !strings.Contains(string(content[:n]), "oom_kill 1\n") {
		t.Errorf("PID 1 reads %q, %v", content[:n], err)
	}
}

func TestWaitingForMemoryEndsWithTheContextAndWithTheGroup(t *testing.T) {
	d := driver(t)
	g := create(t, d, "s1.1")
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.WaitOOM(short, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with the context: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := g.WaitOOM(t.Context(), 0)
		ended <- err
	}()
	if err := d.Remove("s1.1"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a group that is gone had a kill")
		}
	case <-time.After(5 * time.Second):
		t.Error("waiting for a group that is gone does not end")
	}
}

func TestForksStopAtTheLimit(t *testing.T) {
	g := create(t, driver(t), "s1.1")
	run(t, g, "/bin/sh", "-c", "b() { b | b & }; b; sleep 300")
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		usage, err := g.Usage()
		if err != nil || usage.Pids > limits.Pids {
			t.Fatalf("usage is %+v, %v", usage, err)
		}
		if usage.Pids == limits.Pids {
			break
		}
	}
}
