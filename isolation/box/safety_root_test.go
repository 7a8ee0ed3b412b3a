package box

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/guard"
)

// attempts are what a job may try, as Python, each printing "got in" where it
// is let. Nothing may get in, whoever tries.
var attempts = map[string]string{
	"write /proc/sys":            `open("/proc/sys/kernel/core_pattern", "w").write("x")`,
	"write an own sysctl":        `open("/proc/sys/net/ipv4/ip_forward", "w").write("1")`,
	"trigger sysrq":              `f = open("/proc/sysrq-trigger", "w"); assert not null(f); f.write("h")`,
	"read the kernel's log":      `assert len(open("/proc/kmsg", "rb", 0).read(1)) > 0`,
	"open /dev/kmsg":             `open("/dev/kmsg")`,
	"read kernel symbols":        `assert len(open("/proc/kallsyms").read()) > 0`,
	"write /sys":                 `open("/sys/kernel/uevent_helper", "w").write("x")`,
	"list the node's firmware":   `assert len(os.listdir("/sys/firmware")) > 0`,
	"make a device":              `os.mknod("/tmp/disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)); open("/tmp/disk")`,
	"remount /usr":               `call(165, 0, b"/usr", 0, 32 | 4096, 0)`, // MS_REMOUNT | MS_BIND
	"mount":                      `call(165, b"x", b"/tmp", b"tmpfs", 0, 0)`,
	"detach /proc":               `call(166, b"/proc/sys", 2)`,
	"open a file system":         `call(430, b"tmpfs", 0)`,
	"copy a mount":               `call(428, -100, b"/", 1)`,
	"change the root":            `call(155, b".", b".")`,
	"make a user namespace":      `call(272, 0x10000000)`,
	"clone a user namespace":     `child(call(56, 0x10000000 | 17, 0, 0, 0, 0))`,
	"enter PID 1's namespaces":   `call(308, os.pidfd_open(1), 0x20000)`,
	"trace PID 1":                `call(101, 16, 1, 0, 0)`,
	"read PID 1's memory":        `open("/proc/1/mem", "rb")`,
	"see PID 1's root":           `os.listdir("/proc/1/root/")`,
	"take PID 1's descriptors":   `fds = os.listdir("/proc/1/fd"); assert fds; os.open("/proc/1/fd/" + fds[0], os.O_RDONLY)`,
	"copy PID 1's descriptors":   `call(438, os.pidfd_open(1), 0, 0)`,
	"read PID 1's environment":   `assert len(open("/proc/1/environ").read()) > 0`,
	"kill PID 1":                 `[os.kill(1, s) for s in (9, 19)]; gone = not os.path.exists("/proc/1"); assert gone`,
	"use the keyring":            `call(250, 0, 0xfffffffd, 0)`,
	"add a key":                  `call(248, b"user", b"x", b"x", 1, 0xfffffffd)`,
	"load a bpf program":         `call(321, 0, 0, 0)`,
	"watch performance":          `call(298, 0, 0, 0xffffffffffffffff, 0xffffffffffffffff, 0)`,
	"set up io_uring":            `p = ctypes.create_string_buffer(256); call(425, 1, p)`,
	"handle faults in user mode": `call(323, 0)`,
	"open by handle":             `call(304, -100, 0, 0)`,
	"set the clock":              `time.clock_settime(time.CLOCK_REALTIME, 0)`,
	"load a module":              `call(313, 0, b"", 0)`,
	"set the host name":          `socket.sethostname("x")`,
	"reboot":                     `call(169, 0xfee1dead, 0x28121969, 0)`,
	"send raw packets":           `socket.socket(socket.AF_PACKET, socket.SOCK_RAW)`,
	"ping by raw socket":         `socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)`,
	"reach the hypervisor":       `socket.socket(40, socket.SOCK_STREAM)`,
	"change the link":            `import fcntl, struct; s = socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"eth0", 0))`,
	"write the node's files":     `open("/usr/bin/x", "w")`,
	"read what is only root's":   `open("/secret/only-roots").read()`,
	"read the node's passwords":  `open("/etc/shadow")`,
	"connect to init.sock":       `[s for s in open("/proc/net/unix") if "init.sock" in s][0]`,
	"raise the file limit":       `import resource, time; time.sleep(0.2); resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))`,
	"fill the disk":              `f = open("/tmp/x", "wb"); [f.write(bytes(1 << 20)) for _ in range(64)]; f.flush(); os.fsync(f.fileno())`,
	"join another cgroup":        `open("/sys/fs/cgroup/memory/tasks", "w").write("0")`,
	"nice below zero":            `os.nice(-5)`,
	"real-time scheduling":       `os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))`,
}

const prelude = `
import os, sys, stat, socket, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    got = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if got < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got
def child(pid):
    if pid == 0: os._exit(0)
def null(f): return os.fstat(f.fileno()).st_rdev == os.makedev(1, 3) # what is masked by it
try:
    %s
    print("got in")
except (OSError, AssertionError, IndexError, ValueError) as e:
    print("refused:", e)
`

func TestNothingGetsOut(t *testing.T) {
	m := newMachine(t)
	secret := filepath.Join(m.config.State, "secret")
	if err := os.Mkdir(secret, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(secret, "only-roots"), []byte("password"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if err := os.Mkdir(filepath.Join(m.stack, "secret"), 0o755); err != nil {
		t.Fatal(err)
	}
	spec.Rootfs.Binds = append(spec.Rootfs.Binds, isolation.Bind{Source: secret, Target: "/secret"})
	status, err := b.Create(t.Context(), spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	number := uint32(0)
	for _, user := range []uint32{2000, 0} {
		for what, attempt := range attempts {
			number++
			job := shell(number, "")
			job.Argv = []string{"/usr/bin/python3", "-c", fmt.Sprintf(prelude, attempt)}
			job.User, job.Dir = isolation.User{UID: user, GID: user}, "/tmp"
			if err := b.Spawn(t.Context(), spec.ID, *job); err != nil {
				t.Fatal(what, err)
			}
			exit, err := b.Wait(t.Context(), spec.ID, number)
			if err != nil {
				t.Fatal(what, err)
			}
			out := strings.TrimSpace(b.text(spec.ID, number, stdoutFile))
			if !strings.HasPrefix(out, "refused:") && exit.Signal == 0 {
				t.Errorf("user %d: %s: %q %s", user, what, out, b.text(spec.ID, number, stderrFile))
			}
		}
	}
	if err := unix.Kill(status.InitPID, 0); err != nil {
		t.Error("PID 1 did not survive it:", err)
	}
}

// Of all capabilities a job's root has those on the list and no other, and no
// way to get more.
func TestTheInsidesRootHasTheListedCapabilities(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	job := shell(1, "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status")
	job.User = isolation.User{}
	if _, err := b.Create(t.Context(), spec, job); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), spec.ID, 1); err != nil {
		t.Fatal(err)
	}
	var listed uint64
	for _, c := range guard.Capabilities {
		listed |= 1 << c
	}
	want := fmt.Sprintf("CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\nCapAmb:\t%016x\nNoNewPrivs:\t1\n",
		0, listed, listed, listed, 0)
	if got := b.text(spec.ID, 1, stdoutFile); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// One process of a container is killed for want of memory, its first job isn't:
// the container is to be told of it all the same.
func TestAKillBesideTheJobIsTold(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	job := shell(1, `python3 -c "x = bytearray(200 << 20)"; sleep 300`)
	if _, err := b.Create(t.Context(), spec, job); err != nil {
		t.Fatal(err)
	}
	if kills, err := b.WaitOOM(t.Context(), spec.ID, 0); err != nil || kills != 1 {
		t.Errorf("%d kills, %v", kills, err)
	}
	if err := b.Stop(t.Context(), spec.ID, 0); err != nil {
		t.Error(err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.OOMKills != 1 {
		t.Errorf("the job ended with %+v, %v", exit, err)
	}
}

// PID 1 lives through signals that would end it, and no job inherits that.
func TestALaterJobIgnoresNoSignal(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, shell(1, "exec sleep 60")); err != nil {
		t.Fatal(err)
	}
	if err := b.Spawn(t.Context(), spec.ID, *shell(2, "grep SigIgn /proc/self/status")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), spec.ID, 2); err != nil {
		t.Fatal(err)
	}
	// HUP, INT, QUIT, PIPE and TERM; what else is ignored came with the agent.
	const ours = 1<<0 | 1<<1 | 1<<2 | 1<<12 | 1<<14
	var ignored uint64
	if _, err := fmt.Sscanf(b.text(spec.ID, 2, stdoutFile), "SigIgn: %x", &ignored); err != nil || ignored&ours != 0 {
		t.Errorf("a later job ignores %#x: %v", ignored, err)
	}
}
