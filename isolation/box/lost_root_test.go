package box

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// PID 1 is held while the kernel kills its job for want of memory, and dies
// before it can write that down: the kernel's own count still says why.
func TestAnExitThatWasLostTellsOfMemoryNevertheless(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	hog, other := m.spec(0), m.spec(1)
	line := "while ! [ -e go ]; do sleep 0.01; done; exec python3 -c 'x=bytearray(200<<20)'"
	status, err := b.Create(t.Context(), hog, shell(1, line))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := b.Create(t.Context(), other, shell(1, "sleep 300"))
	if err != nil {
		t.Fatal(err)
	}
	home := fmt.Sprintf("/proc/%d/root/home/vcap/go", status.InitPID)
	if err := unix.Kill(status.InitPID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var usage isolation.Usage
	for deadline := time.Now().Add(10 * time.Second); usage.OOMKills == 0 && time.Now().Before(deadline); {
		if usage, err = b.Usage(t.Context(), hog.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	for _, pid := range []int{status.InitPID, beside.InitPID} {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}

	exit, err := b.Wait(t.Context(), hog.ID, 1)

	if want := (isolation.Exit{Job: 1, Code: -1, Lost: true, OOMKills: usage.OOMKills}); err != nil || exit != want || usage.OOMKills == 0 {
		t.Errorf("the hog ended with %+v, %v; want %+v", exit, err, want)
	}
	exit, err = b.Wait(t.Context(), other.ID, 1)
	if want := (isolation.Exit{Job: 1, Code: -1, Lost: true}); err != nil || exit != want {
		t.Errorf("the other ended with %+v, %v; want %+v", exit, err, want)
	}
}

// A PID 1 that is killed closes its socket before those inside are dead. Who can
// reach it no more knows nothing of them: the agent that had it, and the next one.
func TestWhatIsDestroyedIsDeadThoughPID1WasKilledBefore(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer func() { m.end(b) }()
	for number, successor := range []bool{false, true} {
		spec := m.spec(uint32(number))
		spec.Limits.MemoryBytes = 768 << 20
		line := "exec python3 -c 'x=bytearray(512<<20); print(len(x), flush=True); import time; time.sleep(300)'"
		status, err := b.Create(t.Context(), spec, shell(1, line))
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); b.text(spec.ID, 1, stdoutFile) == "" && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		c := b.held(spec.ID)
		if err := unix.Kill(status.InitPID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-c.init.Done()
		if successor {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = m.successor()
		}

		if err := b.Destroy(t.Context(), spec.ID); err != nil {
			t.Error(err)
		}

		if pids, err := c.group.Processes(); err != nil || len(pids) > 0 {
			t.Errorf("a successor: %v; processes %v live after the answer, %v", successor, pids, err)
		}
		if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
			t.Error(err)
		}
	}
}
