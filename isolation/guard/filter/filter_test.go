package filter

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	allowed = unix.SECCOMP_RET_ALLOW
	noPerm  = unix.SECCOMP_RET_ERRNO | int(unix.EPERM)
	noSuch  = unix.SECCOMP_RET_ERRNO | int(unix.ENOSYS)
)

// machine runs the program as the kernel would, on calls made up here.
type machine struct {
	t    *testing.T
	vm   *bpf.VM
	info *arch.Info
}

func newMachine(t *testing.T) machine {
	t.Helper()
	program, err := assemble()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	info, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	return machine{t, vm, info}
}

// call returns the verdict. The virtual machine reads network byte order where
// the kernel reads the machine's, so every word is written in that; lower
// halves stay where a little-endian machine has them.
func (m machine) call(audit, number uint32, arg0 uint64) int {
	m.t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], audit)
	binary.BigEndian.PutUint32(data[offsetArg0:], uint32(arg0))
	binary.BigEndian.PutUint32(data[offsetArg0+4:], uint32(arg0>>32))
	verdict, err := m.vm.Run(data)
	if err != nil {
		m.t.Fatal(err)
	}
	return verdict
}

func (m machine) named(name string, arg0 uint64) int {
	m.t.Helper()
	number, ok := m.info.SyscallNames[name]
	if !ok {
		m.t.Fatalf("this machine has no system call %s", name)
	}
	return m.call(uint32(m.info.ID), uint32(number), arg0)
}

func TestEveryNumberHasTheVerdictOfItsName(t *testing.T) {
	m := newMachine(t)
	listed := strings.Fields(allowList)
	for number := range uint32(unix.SYS_MSEAL + 1) {
		name := m.info.SyscallNumbers[int(number)]
		for call, n := range newer {
			if uint32(n) == number {
				name = call
			}
		}
		want := noPerm
		switch {
		case name == "clone" || name == "socket" || name == "personality" || slices.Contains(listed, name):
			want = allowed
		case name == "clone3":
			want = noSuch
		}
		if got := m.call(uint32(m.info.ID), number, 0); got != want {
			t.Errorf("%d %s: %#x, want %#x", number, name, got, want)
		}
	}
}

// A libc that finds a call unknown does without; one that finds it forbidden fails.
func TestACallFromTheFutureIsUnknownNotForbidden(t *testing.T) {
	m := newMachine(t)
	highest := slices.Max(slices.Collect(maps.Values(m.info.SyscallNames)))
	for _, number := range []uint32{uint32(highest) + 1, 1000, 1<<32 - 1} {
		if got := m.call(uint32(m.info.ID), number, 0); got != noSuch {
			t.Errorf("%d: %#x", number, got)
		}
	}
}

func TestNothingGetsInByAnotherDoor(t *testing.T) {
	m := newMachine(t)
	const x32 = 1 << 30 // the bit of amd64's third set of calls
	for what, got := range map[string]int{
		"a call of the x32 set":       m.call(uint32(m.info.ID), x32|uint32(m.info.SyscallNames["read"]), 0),
		"another architecture's call": m.call(uint32(m.info.ID)+1, uint32(m.info.SyscallNames["read"]), 0),
	} {
		if got == allowed {
			t.Errorf("%s: %#x", what, got)
		}
	}
}

// The kernel takes these arguments as 32 bits; what stands above must not
// change the verdict.
func TestArgumentsDecideWhereACallIsHarmlessInOneFormOnly(t *testing.T) {
	m := newMachine(t)
	for _, c := range []struct {
		name string
		arg0 uint64
		want int
	}{
		{"clone", uint64(unix.SIGCHLD), allowed},
		{"clone", unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND, allowed},
		{"clone", unix.CLONE_NEWUSER | uint64(unix.SIGCHLD), noPerm},
		{"clone", unix.CLONE_NEWNET, noPerm},
		{"clone", unix.CLONE_NEWCGROUP | unix.CLONE_VM, noPerm},
		{"socket", unix.AF_INET, allowed},
		{"socket", unix.AF_VSOCK, noPerm},
		{"socket", unix.AF_VSOCK | 1<<32, noPerm},
		{"personality", 0xffffffff, allowed},
		{"personality", 1<<64 - 1, allowed},
		{"personality", 0x40000, noPerm}, // ADDR_NO_RANDOMIZE
	} {
		if got := m.named(c.name, c.arg0); got != c.want {
			t.Errorf("%s(%#x): %#x, want %#x", c.name, c.arg0, got, c.want)
		}
	}
}

func TestTheDangerousIsOnNoList(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{
		"mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "mount_setattr",
		"unshare", "setns", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd",
		"io_uring_setup", "io_uring_enter", "io_uring_register", "init_module", "finit_module", "delete_module",
		"kexec_load", "reboot", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "swapon", "swapoff",
		"quotactl", "quotactl_fd", "open_by_handle_at", "name_to_handle_at", "process_vm_readv", "process_vm_writev",
		"kcmp", "syslog", "acct", "lookup_dcookie", "vhangup", "sethostname", "setdomainname", "fanotify_init",
		"migrate_pages", "move_pages", "mbind", "set_mempolicy",
	} {
		if got := m.named(name, 0); got != noPerm {
			t.Errorf("%s: %#x", name, got)
		}
	}
}

// A name that is spelled wrong would silently be refused for ever.
func TestEveryListedNameIsACallSomewhere(t *testing.T) {
	known := map[string]bool{}
	for _, name := range []string{"amd64", "arm64", "386"} {
		info, err := arch.GetInfo(name)
		if err != nil {
			t.Fatal(err)
		}
		for call := range info.SyscallNames {
			known[call] = true
		}
	}
	for call := range newer {
		known[call] = true
	}
	for name := range strings.FieldsSeq(allowList) {
		if !known[name] {
			t.Errorf("%s is no system call", name)
		}
	}
}

// The kernel runs the program once for every number when it is installed, and
// compiles it; both are paid for by every job's start.
func TestTheProgramIsShort(t *testing.T) {
	const most = 400
	program, err := Compile()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(program) / 8; n > most {
		t.Errorf("%d instructions, at most %d", n, most)
	} else {
		t.Log(n, "instructions")
	}
}
