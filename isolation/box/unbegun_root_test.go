package box

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// dead leaves a container to the next agent whose PID 1 was killed with the
// agent that made it.
func (m *machine) dead(spec isolation.Spec, job *isolation.Job, spoken string) *Box {
	m.t.Helper()
	first, _ := m.open()
	status, err := first.Create(m.t.Context(), spec, job)
	if err != nil {
		m.t.Fatal(err)
	}
	for job != nil && first.text(spec.ID, job.Number, stdoutFile) != spoken {
		time.Sleep(time.Millisecond)
	}
	if err := first.Close(); err != nil {
		m.t.Fatal(err)
	}
	if err := unix.Kill(status.InitPID, unix.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	second, _ := m.open()
	return second
}

// An agent that is killed over a start leaves a folder, groups and an area, and a
// PID 1 that goes by itself. The sweep found that the start was lost with it
// (dea-start, after the write at step 23).
func TestWhatNeverBeganIsMadeAgain(t *testing.T) {
	m := newMachine(t)
	spec := m.spec(0, 61001)
	b := m.dead(spec, nil, "")
	defer m.end(b)

	_, err := b.Adopt(t.Context(), spec.ID)

	if !errors.Is(err, isolation.ErrUnbegun) || !errors.Is(err, isolation.ErrGone) {
		t.Errorf("adopting it says %v", err)
	}
	if _, err := b.Create(t.Context(), spec, shell(1, "exit 4")); err != nil {
		t.Fatal(err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Code != 4 {
		t.Errorf("its job ended with %+v, %v", exit, err)
	}
}

func TestWhatSpokeIsNotMadeAgain(t *testing.T) {
	m := newMachine(t)
	spec := m.spec(0)
	b := m.dead(spec, shell(1, "echo last words; exec sleep 300"), "last words\n")
	defer m.end(b)

	if _, err := b.Adopt(t.Context(), spec.ID); !errors.Is(err, isolation.ErrGone) || errors.Is(err, isolation.ErrUnbegun) {
		t.Errorf("adopting it says %v", err)
	}
	if _, err := b.Create(t.Context(), spec, shell(1, "true")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making it again says %v", err)
	}
	if text := b.text(spec.ID, 1, stdoutFile); text != "last words\n" {
		t.Errorf("its output is %q", text)
	}
}
