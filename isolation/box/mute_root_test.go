package box

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// aMuteContainer runs, but its PID 1 was stopped after the agent had gone.
func aMuteContainer(t *testing.T, m *machine) (spec isolation.Spec, pid int) {
	t.Helper()
	first, _ := m.open()
	spec = m.spec(0, 61001)
	status, err := first.Create(t.Context(), spec, shell(1, "exec python3 -m http.server 61001"))
	if err != nil {
		t.Fatal(err)
	}
	reach(t, "127.0.0.1:61001")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(status.InitPID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return spec, status.InitPID
}

// reach makes a connection, which only a job that serves lets in.
func reach(t *testing.T, address string) {
	t.Helper()
	var err error
	for range 3000 { // python takes its time on a busy machine
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(err)
}

func TestAContainerThatCantBeAskedIsNeitherKilledNorCutOff(t *testing.T) {
	m := newMachine(t)
	spec, pid := aMuteContainer(t, m)
	b := m.successor()
	defer m.end(b)
	defer unix.Kill(pid, unix.SIGCONT)

	specs, err := b.recover(t.Context(), 300*time.Millisecond)

	if err != nil || len(specs) != 1 {
		t.Errorf("recovered %v, %v", specs, err)
	}
	if notes := strings.Join(b.Notes, "\n"); !strings.Contains(notes, spec.ID+" could not be asked") {
		t.Errorf("said %q", notes)
	}
	reach(t, "127.0.0.1:61001") // the job itself is not stopped
	unix.Kill(pid, unix.SIGCONT)
	status, err := b.Adopt(t.Context(), spec.ID)
	if err != nil || status.InitPID != pid || len(status.Jobs) != 1 || status.Jobs[0].Exit != nil {
		t.Errorf("adopted %+v, %v", status, err)
	}
}

// An orphan has no folder, so it can't be told from the PID 1 of a container
// that doesn't answer.
func TestAnOrphanOutlivesARecoverThatCouldNotAskEverybody(t *testing.T) {
	m := newMachine(t)
	_, pid := aMuteContainer(t, m)
	second := m.successor()
	if _, err := second.recover(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	lost := m.spec(1)
	status, err := second.Create(t.Context(), lost, shell(1, "sleep 300"))
	if err != nil {
		t.Fatal(err)
	}
	folder := string(second.folder(lost.ID))
	second.Close()
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}

	third := m.successor()
	if _, err := third.recover(t.Context(), 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if !runs(status.InitPID) {
		t.Error("the orphan was killed while somebody is mute")
	}
	third.Close()
	unix.Kill(pid, unix.SIGCONT)

	fourth, specs := m.open()
	defer m.end(fourth)
	if runs(status.InitPID) || len(specs) != 1 {
		t.Errorf("the orphan runs on when all have answered, or recovered is %v", specs)
	}
}

// runs says whether a process lives; one that is only still to be reaped doesn't.
func runs(pid int) bool {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(pidfd)
	dead, err := waitDeath(pidfd, 0)
	return err == nil && !dead
}

// Whoever connects while PID 1's queue is full is told EAGAIN at once.
func TestAContainerWhoseQueueIsFullIsAskedAgain(t *testing.T) {
	m := newMachine(t)
	spec, pid := aMuteContainer(t, m)
	b := m.successor()
	defer m.end(b)
	defer unix.Kill(pid, unix.SIGCONT)
	fillQueue(t, b.folder(spec.ID).socket())
	recovered := make(chan error, 1)
	go func() {
		_, err := b.Recover(t.Context())
		recovered <- err
	}()
	time.AfterFunc(3*askPause, func() { unix.Kill(pid, unix.SIGCONT) })
	if err := <-recovered; err != nil {
		t.Error(err)
	}
	if b.held(spec.ID) == nil {
		t.Errorf("it was not adopted: %q", b.Notes)
	}
}

// fillQueue connects until nobody more is let in.
func fillQueue(t *testing.T, path string) {
	t.Helper()
	for range 64 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); errors.Is(err, unix.EAGAIN) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the queue is never full: the test shows nothing")
}

func TestARecoverThatIsCutShortChangesNothing(t *testing.T) {
	m := newMachine(t)
	spec, pid := aMuteContainer(t, m)
	b := m.successor()
	defer m.end(b)
	defer unix.Kill(pid, unix.SIGCONT)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("a second signal")
	time.AfterFunc(200*time.Millisecond, func() { cancel(enough) })
	if _, err := b.Recover(ctx); !errors.Is(err, enough) {
		t.Errorf("error is %v", err)
	}
	reach(t, "127.0.0.1:61001")
	unix.Kill(pid, unix.SIGCONT)
	if _, err := b.Adopt(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
}
