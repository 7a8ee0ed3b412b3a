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
		t.Skip("SKIPPED: on cgroup v2 PID 1 is born in its container's group, so there is no spare")
	}
	if err := b.Prepare(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	return b, b.spare.ready.born.PID
}

func TestAContainerTakesThePreparedPID1OfItsSlot(t *testing.T) {
	m := newMachine(t)
	b, pid := prepared(t, m, 5)
	defer m.end(b)
	if err := b.Prepare(t.Context(), 5); err != nil || b.spare.ready.born.PID != pid {
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
	if dead, err := waitDeath(int(b.spare.ready.born.PIDFD.Fd()), deathMax); !dead {
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
