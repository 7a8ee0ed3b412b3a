package box

import (
	"testing"

	"golang.org/x/sys/unix"
)

// prepared returns a box with a spare for the slot, and the spare's pid.
func prepared(t *testing.T, m *machine, slot uint32) (*Box, int) {
	t.Helper()
	b, _ := m.open()
	if b.cgroups.Name() != "v1" {
		m.end(b)
		t.Skip("SKIPPED: on cgroup v2 PID 1 is born in its container's group, so there is no spare")
	}
	if more, err := b.Prepare(t.Context(), []uint32{slot}); more || err != nil {
		t.Fatal(more, err)
	}
	return b, b.spares.ready[slot].born.PID
}

func TestAContainerTakesThePreparedPID1OfItsSlot(t *testing.T) {
	m := newMachine(t)
	b, pid := prepared(t, m, 5)
	defer m.end(b)
	if _, err := b.Prepare(t.Context(), []uint32{5}); err != nil || b.spares.ready[5].born.PID != pid {
		t.Errorf("prepared twice: %v; the first spare is not kept", err)
	}
	other, taker := m.spec(4), m.spec(5)
	for spec, want := range map[string]bool{other.ID: false, taker.ID: true} {
		made := other
		if spec == taker.ID {
			made = taker
		}
		status, err := b.Create(t.Context(), made, shell(1, "id -u; exec sleep 60"))
		if err != nil {
			t.Fatal(err)
		}
		if took := status.InitPID == pid; took != want {
			t.Errorf("slot %d took the spare of slot 5: %v", made.Slot, took)
		}
	}
}

func TestADeadSpareIsNoHarm(t *testing.T) {
	m := newMachine(t)
	b, pid := prepared(t, m, 0)
	defer m.end(b)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if dead, err := waitDeath(int(b.spares.ready[0].born.PIDFD.Fd()), deathMax); !dead {
		t.Fatal("the spare outlives SIGKILL:", err)
	}
	status, err := b.Create(t.Context(), m.spec(0), shell(1, "exec sleep 60"))
	if err != nil || status.InitPID == pid {
		t.Errorf("created with init %d, the dead spare was %d: %v", status.InitPID, pid, err)
	}
}

// What newMachine looks for at the end is the test: a spare that outlives its
// agent, or that keeps the node's groups.
func TestASpareGoesWithItsAgent(t *testing.T) {
	m := newMachine(t)
	b, pid := prepared(t, m, 0)
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	m.end(b)
	if dead, err := waitDeath(pidfd, 0); !dead {
		t.Errorf("the spare %d lives on: %v", pid, err)
	}
}

// One at a time, the nearest first; what is no longer expected goes.
func TestSparesFollowWhatIsExpected(t *testing.T) {
	m := newMachine(t)
	b, former := prepared(t, m, 9)
	defer m.end(b)
	pidfd, err := unix.PidfdOpen(former, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	for i, slot := range []uint32{3, 1, 2} {
		more, err := b.Prepare(t.Context(), []uint32{3, 1, 2})
		if _, ready := b.spares.ready[slot]; err != nil || !ready || more != (i < 2) || len(b.spares.ready) != i+1 {
			t.Fatalf("after %d: %d ready, slot %d: %v, more: %v, %v", i+1, len(b.spares.ready), slot, ready, more, err)
		}
	}
	if dead, err := waitDeath(pidfd, deathMax); !dead {
		t.Errorf("the spare of a slot that is no longer expected lives on: %v", err)
	}
	if more, err := b.Prepare(t.Context(), []uint32{3, 1, 2}); more || err != nil {
		t.Errorf("all are ready, and there is more to do: %v, %v", more, err)
	}
	if _, err := b.Prepare(t.Context(), nil); err != nil || len(b.spares.ready) != 0 {
		t.Errorf("none is expected, and %d are ready: %v", len(b.spares.ready), err)
	}
}
