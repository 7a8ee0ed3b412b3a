package box

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unread says how many bytes wait at a process's descriptor.
func unread(t *testing.T, pid, fd int) int {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	theirs, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(theirs)
	bytes, err := unix.IoctlGetInt(theirs, unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// Nothing depends on the launcher's life: who asks one that dies is served by
// the next.
func TestALaunchersDeathFailsNoCreate(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	const itsSocket = 3
	dying := b.launcher.PID()
	if err := unix.Kill(dying, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		_, err := b.Create(t.Context(), m.spec(0), nil)
		made <- err
	}()
	for deadline := time.Now().Add(10 * time.Second); unread(t, dying, itsSocket) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody asks the launcher for anything")
		}
	}
	if err := unix.Kill(dying, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-made; err != nil {
		t.Error("the launcher was killed while it was asked:", err)
	}
	for place := range uint32(5) {
		if err := unix.Kill(b.launcher.PID(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Create(t.Context(), m.spec(1+place), nil); err != nil {
			t.Error("the launcher was killed just before:", err)
		}
	}
}
