package box

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

func TestAJobsEndIsToldAsItWas(t *testing.T) {
	for line, want := range map[string]isolation.Exit{
		"exit 0": {Job: 1}, "exit 7": {Job: 1, Code: 7},
		"kill -SEGV $$": {Job: 1, Code: -1, Signal: int(unix.SIGSEGV)}, "kill -KILL $$": {Job: 1, Code: -1, Signal: int(unix.SIGKILL)},
	} {
		exit, output := ran(t, newMachine(t), line)
		exit.At = time.Time{}
		if exit != want {
			t.Errorf("%s: got %+v, want %+v; output %q", line, exit, want, output)
		}
	}
}

// What a job sees from inside, each as one line of shell and what it must print.
func TestTheInsideIsTheContainersOwn(t *testing.T) {
	m := newMachine(t)
	// What whoever started the agent forgot to close.
	left, err := unix.Dup(int(os.Stdin.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	hostPID := os.Getpid()
	for i, check := range []struct{ what, line, want string }{
		{"user", "id -u; id -g; id -un", "2000\n2000\nvcap\n"},
		{"host name", "hostname", spec.ID + "\n"},
		{"its own name", "getent hosts $(hostname) | tr -s ' '", "10.254.0.2 " + spec.ID + "\n"},
		{"processes", "set -- /proc/[0-9]*; echo $#", "2\n"}, // PID 1 and the shell
		{"the node's processes", fmt.Sprintf("test -e /proc/%d && echo seen || echo hidden", hostPID), "hidden\n"},
		{"capabilities", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000\n"},
		{"no new privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"},
		{"seccomp", "grep '^Seccomp:' /proc/self/status", "Seccomp:\t2\n"},
		{"own home", "touch /home/vcap/x && echo written", "written\n"},
		{"/usr", "touch /usr/x 2>/dev/null && echo written || echo refused", "refused\n"},
		{"the node's root", "ls / | tr '\\n' ' '", rootNames()},
		{"mounts", "cut -d' ' -f2 /proc/self/mounts | grep -c -e '^/$' -e '^/usr$'", "2\n"},
		{"root-only files", "cat /usr/lib/*/cups/backend/* /etc/shadow 2>/dev/null; echo none", "none\n"},
		{"masked", "cat /proc/kcore /proc/keys; ls /sys/firmware; ls /sys/fs; echo empty", "empty\n"},
		{"proc/sys", "echo x 2>/dev/null >/proc/sys/kernel/hostname || echo refused", "refused\n"},
		{"dev", "ls /dev | tr '\\n' ' '", "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "},
		{"devices work", "head -c 4 /dev/zero | wc -c; echo gone >/dev/null && echo ok", "4\nok\n"},
		{"making namespaces", "unshare -U true 2>/dev/null && echo made || echo refused", "refused\n"},
		{"mounting", "mount -t tmpfs x /tmp 2>/dev/null && echo mounted || echo refused", "refused\n"},
		{"shared memory", "echo x >/dev/shm/x && echo ok", "ok\n"},
		{"links", "ls /sys/class/net | tr '\\n' ' '", "eth0 lo "},
		{"file limit", "ulimit -n", "256\n"},
		{"timers", "cat /proc/self/timerslack_ns", "50000\n"},
		{"descriptors", "ls /proc/self/fd | tr '\n' ' '", "0 1 2 3 "}, // 3 is ls's own
		{"umask", "umask", "0077\n"},
		{"session", "ps -o sid= -p $$ 2>/dev/null | tr -d ' ' | grep -c .", "1\n"},
	} {
		number := uint32(i + 1)
		if err := b.Spawn(t.Context(), spec.ID, *shell(number, check.line)); err != nil {
			t.Fatalf("%s: %v", check.what, err)
		}
		if _, err := b.Wait(t.Context(), spec.ID, number); err != nil {
			t.Fatal(err)
		}
		if got := b.text(spec.ID, number, stdoutFile); got != check.want {
			t.Errorf("%s: got %q, want %q; stderr %q", check.what, got, check.want, b.text(spec.ID, number, stderrFile))
		}
	}
}

// rootNames are what the stack host has at the top: of the links into /usr
// those that this machine has.
func rootNames() string {
	names := []string{"app", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var"}
	for _, link := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if _, err := os.Lstat("/" + link); err == nil {
			names = append(names, link)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ") + " "
}

func TestAPortIsServedUntilItsContainerIsDestroyed(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(3, 61001)
	serve := `python3 -c 'import socket
s=socket.create_server(("0.0.0.0",61001)); print("up",flush=True)
while True: c,_=s.accept(); c.sendall(b"hello"); c.close()'`
	status, err := b.Create(t.Context(), spec, shell(1, serve))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(status.Steps)
	for _, address := range []string{"127.0.0.1:61001", netip.AddrPortFrom(status.PeerIP, 61001).String()} {
		if got := fetch(t, address); got != "hello" {
			t.Errorf("%s says %q", address, got)
		}
	}

	begun := time.Now()
	if err := b.Destroy(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	t.Log("destroyed in", time.Since(begun))
	if _, err := net.DialTimeout("tcp", "127.0.0.1:61001", time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("the port of a destroyed container: %v", err)
	}
	begun = time.Now()
	if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
		t.Fatal(err)
	}
	t.Log("released in", time.Since(begun))
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	var conn net.Conn
	var err error
	for range 500 {
		if conn, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body, _ := io.ReadAll(conn)
	return string(body)
}

func TestMemoryAndProcessesAreBounded(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	hog, bomb := m.spec(0), m.spec(1)
	if _, err := b.Create(t.Context(), hog, shell(1, "exec python3 -c 'x=bytearray(200<<20)'")); err != nil {
		t.Fatal(err)
	}
	exit, err := b.Wait(t.Context(), hog.ID, 1)
	if err != nil || exit.Signal != int(unix.SIGKILL) || exit.OOMKills == 0 {
		t.Errorf("hog ended with %+v, %v; want a kill and its count", exit, err)
	}
	if _, err := b.Create(t.Context(), bomb, shell(1, "b() { b | b & }; b; sleep 1; echo survived; kill -KILL -1")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), bomb.ID, 1); err != nil {
		t.Fatal(err)
	}
	// What was killed counts until the kernel has buried it.
	err = b.Spawn(t.Context(), bomb.ID, *shell(2, "echo PID 1 serves on"))
	for n := uint32(3); n < 100 && err != nil; n++ {
		time.Sleep(50 * time.Millisecond)
		err = b.Spawn(t.Context(), bomb.ID, *shell(n, "echo PID 1 serves on"))
	}
	if err != nil {
		t.Errorf("after a fork bomb: %v", err)
	}
}

// The first agent is dropped without a word, as a kill would: nothing of it is
// closed but what the kernel closes.
func TestASuccessorFindsWhatRunsAndHowItEnded(t *testing.T) {
	m := newMachine(t)
	first, _ := m.open()
	lives, ended := m.spec(0, 61001), m.spec(1)
	for spec, line := range map[*isolation.Spec]string{&lives: "sleep 300", &ended: "exit 5"} {
		if _, err := first.Create(t.Context(), *spec, shell(1, line)); err != nil {
			t.Fatal(err)
		}
	}
	first.Wait(t.Context(), ended.ID, 1)
	first.Close()

	second, specs := m.open()
	defer m.end(second)

	if len(specs) != 2 {
		t.Errorf("recovered %d containers", len(specs))
	}
	status, err := second.Adopt(t.Context(), lives.ID)
	if err != nil || len(status.Jobs) != 1 || status.Jobs[0].Exit != nil {
		t.Errorf("adopted %+v, %v", status, err)
	}
	if exit, err := second.Wait(t.Context(), ended.ID, 1); err != nil || exit.Code != 5 {
		t.Errorf("the exit that nobody was there for: %+v, %v", exit, err)
	}
}

func TestAnOrphanOfADeadAgentIsSwept(t *testing.T) {
	m := newMachine(t)
	first, _ := m.open()
	spec := m.spec(0)
	if _, err := first.Create(t.Context(), spec, shell(1, "sleep 300")); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if err := os.RemoveAll(string(first.folder(spec.ID))); err != nil {
		t.Fatal(err)
	}

	second, specs := m.open()
	defer m.end(second)

	if len(specs) != 0 {
		t.Errorf("recovered %v", specs)
	}
	names, _ := second.cgroups.List()
	areas, _ := second.disk.List()
	if len(names)+len(areas) != 0 {
		t.Errorf("left: cgroups %v, areas %v", names, areas)
	}
}

func TestTermThenKill(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	polite, stubborn := m.spec(0), m.spec(1)
	for spec, line := range map[*isolation.Spec]string{
		&polite: "sleep 300", &stubborn: "trap '' TERM; (trap '' TERM; sleep 300) & echo set; while :; do sleep 300; done",
	} {
		if _, err := b.Create(t.Context(), *spec, shell(1, line)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "the traps", func() bool { return b.text(stubborn.ID, 1, stdoutFile) == "set\n" })

	begun := time.Now()
	if err := b.Stop(t.Context(), polite.ID, 10*time.Second); err != nil || time.Since(begun) > time.Second {
		t.Errorf("polite: %v after %s", err, time.Since(begun))
	}
	begun = time.Now()
	if err := b.Stop(t.Context(), stubborn.ID, 500*time.Millisecond); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < 500*time.Millisecond || took > 3*time.Second {
		t.Errorf("stubborn was stopped after %s", took)
	}
	if exit, _ := b.Wait(t.Context(), stubborn.ID, 1); exit.Signal != int(unix.SIGKILL) {
		t.Errorf("stubborn ended with %+v", exit)
	}
}

func TestAFailedCreateLeavesNothing(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	job := shell(1, "true")
	job.Argv[0] = "/no/such/program"

	_, err := b.Create(t.Context(), spec, job)

	if err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("error is %v", err)
	}
	names, _ := b.cgroups.List()
	areas, _ := b.disk.List()
	folders, _ := os.ReadDir(b.containers)
	if len(names)+len(areas)+len(folders) != 0 {
		t.Errorf("left: cgroups %v, areas %v, folders %v", names, areas, folders)
	}
}

func TestOutputStaysWithinItsBound(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, shell(1, "head -c 20000000 /dev/zero; sleep 1; echo last")); err != nil {
		t.Fatal(err)
	}
	b.Wait(t.Context(), spec.ID, 1)
	time.Sleep(500 * time.Millisecond) // the bound follows a write by a fifth of a second

	info, err := os.Stat(filepath.Join(b.folder(spec.ID).job(1), stdoutFile))
	if err != nil {
		t.Fatal(err)
	}
	if kept := info.Sys().(*syscall.Stat_t).Blocks * 512; kept > 2*m.config.OutputMax {
		t.Errorf("%d bytes are kept, the bound is %d", kept, m.config.OutputMax)
	}
	if info.Size() != 20_000_005 {
		t.Errorf("the file ends at %d", info.Size())
	}
}
