package box

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/cgroup"
	"github.com/deacon-agent/deacon/isolation/disk"
)

func ptr[T any](v T) *T { return &v }

// unlimited is a container without any limit.
func unlimited(m *machine) isolation.Spec {
	spec := m.spec(0)
	spec.Limits = isolation.Limits{}
	return spec
}

// worker is a container in which one line runs after the other.
type worker struct {
	t    *testing.T
	b    *Box
	id   string
	jobs uint32
}

// does runs one line and returns how that ended and what it said.
func (w *worker) does(line string) (isolation.Exit, string) {
	w.t.Helper()
	w.jobs++
	if err := w.b.Spawn(w.t.Context(), w.id, *shell(w.jobs, line)); err != nil {
		w.t.Fatal(err)
	}
	exit, err := w.b.Wait(w.t.Context(), w.id, w.jobs)
	if err != nil {
		w.t.Fatal(err)
	}
	return exit, w.b.text(w.id, w.jobs, stdoutFile) + w.b.text(w.id, w.jobs, stderrFile)
}

func TestLimitsAreChangedWhileNothingRunsAndHoldForASuccessor(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	spec := unlimited(m)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	before, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{})
	if want := (isolation.Limits{CPUShares: 1024}); err != nil || before != want {
		t.Errorf("at first the limits are %+v, %v; want %+v", before, err, want)
	}
	want := isolation.Limits{MemoryBytes: 32 << 20, CPUShares: 2, DiskBytes: 8 << 20}

	got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{
		MemoryBytes: ptr[int64](32<<20 + 1), CPUShares: ptr[uint64](0), DiskBytes: ptr[int64](8 << 20)})

	if err != nil || got != want {
		t.Errorf("changed, they are %+v, %v; want %+v", got, err, want)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, found := m.open()
	defer m.end(b)
	if len(found) != 1 || found[0].Limits.MemoryBytes != 32<<20+1 || found[0].Limits.CPUShares != 2 ||
		found[0].Limits.DiskBytes != 8<<20 {
		t.Errorf("on record a successor finds %+v", found)
	}
	if got, err = b.Limit(t.Context(), spec.ID, isolation.LimitChange{}); err != nil || got != want {
		t.Errorf("a successor finds %+v, %v; want %+v", got, err, want)
	}
	w := &worker{t: t, b: b, id: spec.ID}
	_, said := w.does("head -c 20000000 /dev/zero > file; stat -c %s file")
	if !strings.Contains(said, "quota") {
		t.Errorf("beyond the limit on the disk: %q", said)
	}
	if exit, said := w.does("head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null"); exit.OOMKills == 0 {
		t.Errorf("beyond the limit on memory: %+v, %q", exit, said)
	}
}

func TestADiskLimitGrowsAndShrinksUnderAJob(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0) // 32 MiB
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, b: b, id: spec.ID}
	for _, step := range []struct {
		limit   int64
		written string
	}{{48 << 20, "40000000"}, {16 << 20, ""}, {0, "40000000"}} {
		got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{DiskBytes: &step.limit})
		if err != nil || got.DiskBytes != step.limit || got.MemoryBytes != spec.Limits.MemoryBytes {
			t.Errorf("limited to %d: %+v, %v", step.limit, got, err)
		}
		exit, said := w.does("head -c 40000000 /dev/zero > file && stat -c %s file; rm file")
		if step.written == "" && !strings.Contains(said, "Disk quota exceeded") || !strings.Contains(said, step.written) {
			t.Errorf("limited to %d: %+v, %q", step.limit, exit, said)
		}
	}
}

// A limit that is refused is refused whole: what of the change was done before
// is taken back, on record too.
func TestAMemoryLimitBelowWhatIsInUseChangesNothing(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	job := shell(1, "x=$(head -c 10000000 /dev/zero | tr '\\0' x); echo full; sleep 300")
	if _, err := b.Create(t.Context(), spec, job); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); b.text(spec.ID, 1, stdoutFile) == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the job takes no memory:", b.text(spec.ID, 1, stderrFile))
		}
	}

	_, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{
		MemoryBytes: ptr[int64](4 << 20), DiskBytes: ptr[int64](1 << 20), CPUShares: ptr[uint64](77)})

	if !errors.Is(err, cgroup.ErrInUse) || !strings.Contains(err.Error(), "Device or resource busy") {
		t.Errorf("error is %v", err)
	}
	want := spec.Limits
	if got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{}); err != nil || got != want {
		t.Errorf("the limits are %+v, %v; want %+v", got, err, want)
	}
	if status, err := b.Adopt(t.Context(), spec.ID); err != nil || status.Spec.Limits != want {
		t.Errorf("on record they are %+v, %v", status.Spec.Limits, err)
	}
	if usage, err := b.Usage(t.Context(), spec.ID); err != nil || usage.OOMKills != 0 {
		t.Errorf("a job was killed for it: %+v, %v", usage, err)
	}
}

func TestAnUnlimitedContainerThatIsLimitedTellsOfItsKills(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := unlimited(m)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, b: b, id: spec.ID}
	eats := "head -c 60000000 /dev/zero | tail -c 60000000 > /dev/null"
	if exit, said := w.does(eats); exit.OOMKills != 0 || exit.Code != 0 {
		t.Fatalf("without a limit: %+v, %q", exit, said)
	}
	told := make(chan error, 1)
	var seen uint64
	watch := func() { // the kernel may need more than one
		kills, err := b.WaitOOM(t.Context(), spec.ID, seen)
		if err == nil && kills <= seen {
			err = fmt.Errorf("%d kills, before that %d", kills, seen)
		}
		seen = kills
		told <- err
	}
	for _, limit := range []int64{16 << 20, 24 << 20} {
		go watch()
		if _, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{MemoryBytes: &limit}); err != nil {
			t.Fatal(err)
		}
		exit, said := w.does(eats)
		if exit.OOMKills == 0 {
			t.Errorf("limited to %d: %+v, %q", limit, exit, said)
		}
		select {
		case err := <-told:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is told of the kill")
		}
		seen = exit.OOMKills
	}
}

func TestStatsAreWhatTheJobsDid(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	before, err := b.Stats(t.Context(), spec.ID)
	if err != nil {
		t.Fatal(err)
	}
	line := "head -c 10000000 /dev/zero > file; for i in 0 1 2 3 4 5 6 7 8 9; do ln -s x link$i; done"
	if exit, said := (&worker{t: t, b: b, id: spec.ID}).does(line); exit.Code != 0 {
		t.Fatalf("%+v, %q", exit, said)
	}

	after, err := b.Stats(t.Context(), spec.ID)

	if err != nil {
		t.Fatal(err)
	}
	if got := after.DiskBytes - before.DiskBytes; got < 10_000_000 || got > 11_000_000 {
		t.Errorf("10 MB more are %d bytes: from %d to %d", got, before.DiskBytes, after.DiskBytes)
	}
	// One file, ten links, and /home/vcap with its parent, which had to be copied up.
	if got := after.DiskFiles - before.DiskFiles; got < 11 || got > 15 {
		t.Errorf("eleven more are %d files: from %d to %d", got, before.DiskFiles, after.DiskFiles)
	}
	if after.CPU <= before.CPU || after.CPU > time.Minute {
		t.Errorf("cpu went from %s to %s", before.CPU, after.CPU)
	}
	memory := after.Memory
	if memory["total_cache"]+memory["total_rss"] == 0 || memory["pgfault"] == 0 ||
		memory["hierarchical_memory_limit"] != 64<<20 {
		t.Errorf("memory is %v", memory)
	}
}

func TestALimitThatCantBeEnforcedIsRefused(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]isolation.LimitChange{
		"inodes": {DiskInodes: ptr[int64](100), DiskBytes: ptr[int64](1 << 20)},
		"memory": {MemoryBytes: ptr[int64](-1)},
		"bytes":  {DiskBytes: ptr[int64](-1)},
	} {
		_, err := b.Limit(t.Context(), spec.ID, change)
		if err == nil || !strings.Contains(err.Error(), name) || (name == "inodes") != errors.Is(err, disk.ErrNoQuota) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if status, err := b.Adopt(t.Context(), spec.ID); err != nil || status.Spec.Limits != spec.Limits {
		t.Errorf("on record are %+v, %v", status.Spec.Limits, err)
	}
	if got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{}); err != nil || got != spec.Limits {
		t.Errorf("the limits are %+v, %v; want %+v", got, err, spec.Limits)
	}
}

func TestThereIsNothingToLimitWhereNoContainerIs(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	change := isolation.LimitChange{MemoryBytes: ptr[int64](8 << 20)}
	if _, err := b.Limit(t.Context(), "00000000000", change); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("limit: %v", err)
	}
	if _, err := b.Stats(t.Context(), "00000000000"); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("stats: %v", err)
	}
	spec := m.spec(0)
	status, err := b.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(status.InitPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-b.held(spec.ID).init.Done() // it is seen to be dead
	if _, err := b.Limit(t.Context(), spec.ID, change); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("limit where PID 1 is dead: %v", err)
	}
	if _, err := b.Stats(t.Context(), spec.ID); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("stats where PID 1 is dead: %v", err)
	}
	if found, err := b.Containers(t.Context()); err != nil || len(found) != 1 || found[0].Limits != spec.Limits {
		t.Errorf("on record are %+v, %v", found, err)
	}
}

func TestAnAreaInMemoryIsLimitedByTheAgentThatMadeIt(t *testing.T) {
	m := newMachine(t)
	m.config.Disk.Driver = "tmpfs"
	b, _ := m.open()
	spec := unlimited(m)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	change := isolation.LimitChange{DiskInodes: ptr[int64](60), DiskBytes: ptr[int64](8 << 20)}
	want := isolation.Limits{CPUShares: 1024, DiskBytes: 8 << 20, DiskInodes: 60}
	if got, err := b.Limit(t.Context(), spec.ID, change); err != nil || got != want {
		t.Errorf("the limits are %+v, %v; want %+v", got, err, want)
	}
	w := &worker{t: t, b: b, id: spec.ID}
	if _, said := w.does("head -c 20000000 /dev/zero > file; rm file"); !strings.Contains(said, "No space left") {
		t.Errorf("beyond the bytes: %q", said)
	}
	_, said := w.does("i=0; while [ $i -lt 100 ]; do : > file$i || exit; i=$((i+1)); done")
	if !strings.Contains(said, "No space left") && !strings.Contains(said, "cannot create") {
		t.Errorf("beyond the inodes: %q", said)
	}
	if stats, err := b.Stats(t.Context(), spec.ID); err != nil || stats.DiskFiles != 60 {
		t.Errorf("full, the stats are %+v, %v", stats, err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, _ = m.open()
	defer m.end(b)
	_, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{DiskBytes: ptr[int64](16 << 20)})
	if !errors.Is(err, disk.ErrNoQuota) {
		t.Errorf("a successor's change: %v", err)
	}
	if got, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{}); err != nil || got != want {
		t.Errorf("a successor finds %+v, %v; want %+v", got, err, want)
	}
}
