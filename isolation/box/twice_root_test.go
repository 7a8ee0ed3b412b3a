package box

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// An actor that was restarted may ask for what its former incarnation is
// making, or has made.
func TestCreatingTwiceHarmsNotTheFirst(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0, 61001)
	failures := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := b.Create(t.Context(), spec, shell(1, "sleep 300"))
			failures <- err
		}()
	}
	first, second := <-failures, <-failures
	if first == nil {
		first, second = second, first
	}
	if !errors.Is(first, fs.ErrExist) || second != nil {
		t.Fatalf("errors are %v and %v; want one, that it exists", first, second)
	}
	if _, err := b.Create(t.Context(), spec, shell(1, "sleep 300")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created once more: %v", err)
	}
	status, err := b.Adopt(t.Context(), spec.ID)
	if err != nil || len(status.Jobs) != 1 || status.Jobs[0].Exit != nil {
		t.Errorf("the first is %+v, %v", status, err)
	}
	if usage, err := b.Usage(t.Context(), spec.ID); err != nil || usage.Pids == 0 {
		t.Errorf("the first uses %+v, %v", usage, err)
	}
}

// Whatever has begun is taken back by whoever comes next, in any order.
func TestADestroyWaitsForTheCreateThatItOvertook(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	for i := range 8 {
		spec := m.spec(uint32(i))
		created := make(chan error, 1)
		go func() {
			_, err := b.Create(t.Context(), spec, shell(1, "sleep 300"))
			created <- err
		}()
		for _, err := os.Stat(string(b.folder(spec.ID))); err != nil; _, err = os.Stat(string(b.folder(spec.ID))) {
			time.Sleep(100 * time.Microsecond)
		}
		if err := errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID}), <-created); err != nil {
			t.Error(err)
		}
	}
	m.nothing(b)
}

func TestACancelledCreateLeavesNothing(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	draw := rand.New(rand.NewPCG(*seed, 1))
	failed := 0
	for i := range 30 {
		spec := m.spec(uint32(i), 61001)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(draw.IntN(8000))*time.Microsecond)
		_, err := b.Create(ctx, spec, shell(1, "sleep 300"))
		cancel()
		if err != nil {
			failed++
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("seed %d, round %d: %v", *seed, i, err)
			}
			continue
		}
		if err := errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID})); err != nil {
			t.Error(err)
		}
	}
	m.nothing(b)
	if failed == 0 {
		t.Error("none was cut short: the test shows nothing")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Create(over, m.spec(31), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that was over before: %v", err)
	}
	m.nothing(b)
}

func TestALauncherMayDieAtAnyMoment(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	draw := rand.New(rand.NewPCG(*seed, 2))
	for i := range 20 {
		spec := m.spec(uint32(i), 61001)
		victim, err := b.ensureLauncher()
		if err != nil {
			t.Fatal(err)
		}
		pause := time.Duration(draw.IntN(5000)) * time.Microsecond
		killed := make(chan error, 1)
		go func() {
			time.Sleep(pause)
			killed <- unix.Kill(victim.PID(), unix.SIGKILL)
		}()
		_, err = b.Create(t.Context(), spec, shell(1, "sleep 300"))
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		if err == nil {
			err = errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID}))
			if err != nil {
				t.Errorf("seed %d, round %d: %v", *seed, i, err)
			}
		}
		<-victim.Done()
	}
	spec := m.spec(30)
	if _, err := b.Create(t.Context(), spec, shell(1, "sleep 300")); err != nil {
		t.Error("after the last launcher:", err)
	}
	if err := errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID})); err != nil {
		t.Error(err)
	}
	m.nothing(b)
}

func TestAdoptTellsTheDeadFromTheUnknown(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	if _, err := b.Adopt(t.Context(), m.spec(0).ID); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("of nobody: %v", err)
	}
	spec := m.spec(1)
	status, err := b.Create(t.Context(), spec, shell(1, "exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), spec.ID, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(status.InitPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-b.live[spec.ID].init.Done()
	if _, err := b.Adopt(t.Context(), spec.ID); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("of a dead one: %v", err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Code != 3 || exit.Lost {
		t.Errorf("its job ended with %+v, %v", exit, err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 2); err != nil || !exit.Lost {
		t.Errorf("a job that it never had ended with %+v, %v", exit, err)
	}
	if err := b.Stop(t.Context(), spec.ID, time.Second); err != nil {
		t.Errorf("stopping the dead: %v", err)
	}
	if _, err := b.WaitOOM(t.Context(), spec.ID, 0); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("watching the dead: %v", err)
	}
	specs, err := b.Containers(t.Context())
	if err != nil || len(specs) != 1 || specs[0].ID != spec.ID {
		t.Errorf("containers are %v, %v", specs, err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, shell(1, "trap '' TERM; echo deaf; sleep 300")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); b.text(spec.ID, 1, stdoutFile) != "deaf\n"; {
		if time.Now().After(deadline) {
			t.Fatal("the job never said that it is deaf to SIGTERM")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for what, wait := range map[string]func(context.Context) error{
		"job":    func(ctx context.Context) error { _, err := b.Wait(ctx, spec.ID, 1); return err },
		"memory": func(ctx context.Context) error { _, err := b.WaitOOM(ctx, spec.ID, 0); return err },
		"stop":   func(ctx context.Context) error { return b.Stop(ctx, spec.ID, time.Hour) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		begun := time.Now()
		err := wait(ctx)
		cancel()
		if took := time.Since(begun); !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
			t.Errorf("waiting for the %s ended after %s with %v", what, took, err)
		}
	}
}

// What a dead agent left in the middle: the record and some of the rest.
func TestAHalfMadeContainerIsDestroyedLikeAWholeOne(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0, 61001)
	c := &construction{box: b, spec: spec, slot: slotOf(spec), watch: b.stopwatch("create")}
	defer c.close()
	if err := errors.Join(b.folder(spec.ID).intend(spec, b.shelf), c.makeGroups(), c.makeArea(), c.openFiles(shell(1, ""))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Adopt(t.Context(), spec.ID); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("adopted: %v", err)
	}
	for range 2 { // may be repeated
		if err := errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID})); err != nil {
			t.Error(err)
		}
	}
	m.nothing(b)
}

func TestADamagedRecordIsRemovedAndSaidSo(t *testing.T) {
	m := newMachine(t)
	first, _ := m.open()
	spec := m.spec(0)
	if _, err := first.Create(t.Context(), spec, shell(1, "sleep 300")); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if err := os.WriteFile(filepath.Join(string(first.folder(spec.ID)), specRecord), []byte("{}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, specs := m.open()
	defer m.end(second)
	if len(specs) != 0 || len(second.Notes) == 0 {
		t.Errorf("recovered %v, said %q", specs, second.Notes)
	}
	m.nothing(second)
}
