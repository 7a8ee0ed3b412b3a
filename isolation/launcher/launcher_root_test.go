package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/packet"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const uidBase, uids = 3_000_000, 65_536

func start(t *testing.T) *Launcher {
	t.Helper()
	l, err := Start(Config{Init: rig.Binary(t, "deacon-init")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// cloned is a PID 1 and the gate that it waits at.
type cloned struct {
	Born
	gate *packet.Conn
}

func clone(ctx context.Context, l *Launcher, name string) (cloned, error) {
	gate, peer, err := packet.Pair()
	if err != nil {
		return cloned{}, err
	}
	defer peer.Close()
	born, err := l.Clone(ctx, Request{Name: name, UIDBase: uidBase, Size: uids, Gate: peer})
	if err != nil {
		gate.Close()
	}
	return cloned{born, gate}, err
}

func mustClone(t *testing.T, l *Launcher, name string) cloned {
	t.Helper()
	c, err := clone(t.Context(), l, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.gate.Close(); c.PIDFD.Close() })
	return c
}

// dies says whether the process ends within some seconds.
func (c cloned) dies() bool {
	fds := []unix.PollFd{{Fd: int32(c.PIDFD.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 5000)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func (c cloned) file(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.PID, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAPID1IsBornInNamespacesOfItsOwn(t *testing.T) {
	c := mustClone(t, start(t), "abcdefghijk")
	for _, kind := range []string{"user", "pid", "mnt", "uts", "ipc", "net", "cgroup"} {
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", c.PID, kind))
		if err != nil || ours == theirs {
			t.Errorf("%s namespace: %s, ours is %s, %v", kind, theirs, ours, err)
		}
	}
	for _, mapping := range []string{"uid_map", "gid_map"} {
		if got := strings.Join(strings.Fields(c.file(t, mapping)), " "); got != fmt.Sprint("0 ", uidBase, " ", uids) {
			t.Errorf("%s is %q", mapping, got)
		}
	}
	if got := c.file(t, "cmdline"); got != "deacon-init\x00pid1\x00abcdefghijk\x00" {
		t.Errorf("ps shows %q", got)
	}
	for _, line := range []string{"Groups:\t \n", fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", uidBase)} {
		if status := c.file(t, "status"); !strings.Contains(status, line) {
			t.Errorf("no %q in its status:\n%s", line, status)
		}
	}
}

// An agent that dies in the middle of a start closes its end of the gate.
func TestAPID1WhoseGateClosesGoesAway(t *testing.T) {
	c := mustClone(t, start(t), "abcdefghijk")
	c.gate.Close()
	if !c.dies() {
		t.Error("it stays")
	}
}

func TestNonsenseAtTheGateEndsAPID1WithAnAnswer(t *testing.T) {
	c := mustClone(t, start(t), "abcdefghijk")
	if err := c.gate.Send([]byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.gate.Receive(); err != nil {
		t.Errorf("no answer: %v", err)
	}
	if !c.dies() {
		t.Error("it stays")
	}
}

func TestManyClonesAtOnceAreToldApart(t *testing.T) {
	const many = 40
	l := start(t)
	clones := make([]cloned, many)
	var group errgroup.Group
	for i := range many {
		group.Go(func() (err error) {
			clones[i], err = clone(t.Context(), l, fmt.Sprintf("number-%d", i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range clones {
		if got := c.file(t, "cmdline"); !strings.HasSuffix(got, fmt.Sprintf("\x00number-%d\x00", i)) {
			t.Errorf("the answer to request %d was %q", i, got)
		}
		c.gate.Close()
		if !c.dies() {
			t.Errorf("number %d did not wait at the gate that was sent with it", i)
		}
		c.PIDFD.Close()
	}
}

func TestAfterTheLauncherDiedItsClonesLiveAndAnotherWorks(t *testing.T) {
	first := start(t)
	orphan := mustClone(t, first, "orphan")
	if err := unix.Kill(first.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	if _, err := clone(t.Context(), first, "late"); !errors.Is(err, ErrDied) {
		t.Errorf("asked after its death: %v", err)
	}
	if status := orphan.file(t, "status"); strings.Contains(status, "(zombie)") {
		t.Error("a clone died with its launcher")
	}
	mustClone(t, start(t), "next")
	orphan.gate.Close()
	if !orphan.dies() {
		t.Error("the orphan stays")
	}
}

func TestARequestUnderWayLearnsOfTheLaunchersDeath(t *testing.T) {
	l := start(t)
	if err := unix.Kill(l.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		_, err := clone(context.Background(), l, "x")
		asked <- err
	}()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := clone(short, l, "y"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of a stopped launcher: %v", err)
	}
	if err := unix.Kill(l.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !errors.Is(err, ErrDied) {
		t.Errorf("of a dead one: %v", err)
	}
}

// What containers are made from must not be what a container could write to.
func TestTheProgramIsASealedCopy(t *testing.T) {
	c := mustClone(t, start(t), "abcdefghijk")
	exe, err := os.OpenFile(fmt.Sprintf("/proc/%d/exe", c.PID), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	running, err := io.ReadAll(exe)
	if err != nil {
		t.Fatal(err)
	}
	if built, err := os.ReadFile(rig.Binary(t, "deacon-init")); err != nil || !bytes.Equal(built, running) {
		t.Errorf("it runs another program: %v", err)
	}
	seals, err := unix.FcntlInt(exe.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_WRITE == 0 || seals&unix.F_SEAL_SEAL == 0 {
		t.Errorf("seals %#x, %v", seals, err)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	if _, err := Start(Config{Init: "/no/such/init"}); err == nil || !strings.Contains(err.Error(), "/no/such/init") {
		t.Errorf("error is %v", err)
	}
}

// Clone is what a start pays; StageOne what it would pay if each had a small
// process of its own to clone from, less the copy of the program, which would
// be made once.
func BenchmarkClone(b *testing.B) {
	l, err := Start(Config{Init: rig.Binary(b, "deacon-init")})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for range b.N {
		benchClone(b, l)
	}
}

func BenchmarkStageOne(b *testing.B) {
	for range b.N {
		b.StopTimer()
		program, err := seal(rig.Binary(b, "deacon-init"))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		l, err := startProgram(program, nil)
		if err != nil {
			b.Fatal(err)
		}
		benchClone(b, l)
		b.StopTimer()
		l.Close()
		program.Close()
		b.StartTimer()
	}
}

// benchClone leaves the machine idle before each clone, as starts do.
func benchClone(b *testing.B, l *Launcher) {
	b.Helper()
	c, err := clone(b.Context(), l, "abcdefghijk")
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	c.gate.Close()
	if !c.dies() {
		b.Fatal("it stays")
	}
	c.PIDFD.Close()
	time.Sleep(20 * time.Millisecond)
	b.StartTimer()
}
