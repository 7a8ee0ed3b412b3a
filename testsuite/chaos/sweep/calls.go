package sweep

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// call is one system call as the kernel tells of it before it is executed.
type call struct {
	number uint64
	args   [6]uint64
}

// changing are the calls that change something whoever makes them, and what
// they are called in reports. A thread of one's own, a wake-up of one's own
// poller and a signal to one's own thread change nothing; see counts.
var changing = map[uint64]string{
	unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3", unix.SYS_EXECVE: "execve", unix.SYS_EXECVEAT: "execveat",
	unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2",
	unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_OPEN_TREE: "open_tree",
	unix.SYS_FSOPEN: "fsopen", unix.SYS_FSMOUNT: "fsmount", unix.SYS_FSCONFIG: "fsconfig",
	unix.SYS_MOUNT_SETATTR: "mount_setattr", unix.SYS_PIVOT_ROOT: "pivot_root",
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2",
	unix.SYS_UNLINKAT: "unlinkat", unix.SYS_LINKAT: "linkat", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_MKNODAT: "mknodat", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SENDMMSG: "sendmmsg",
	unix.SYS_CONNECT: "connect", unix.SYS_BIND: "bind", unix.SYS_LISTEN: "listen",
	unix.SYS_KILL: "kill", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal",
	unix.SYS_FCHOWN: "fchown", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_SETNS: "setns", unix.SYS_UNSHARE: "unshare",
	unix.SYS_SETHOSTNAME: "sethostname", unix.SYS_PRLIMIT64: "prlimit64",
	unix.SYS_FSETXATTR: "fsetxattr", unix.SYS_LSETXATTR: "lsetxattr", unix.SYS_SETXATTR: "setxattr",
	unix.SYS_FCHMODAT2: "fchmodat2", unix.SYS_UTIMENSAT: "utimensat", unix.SYS_TRUNCATE: "truncate",
	unix.SYS_FLOCK: "flock", unix.SYS_SENDFILE: "sendfile", unix.SYS_SPLICE: "splice",
	unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_CLOSE_RANGE: "close_range", unix.SYS_SYNCFS: "syncfs",
}

// ioctls of these kinds change a device or a file system: btrfs, loop, and the
// flags of files.
var ioctlKinds = []uint64{0x94, 0x4c, 'f'}

// step says whether a call that a process is about to make is a step, and what
// it is called.
func (c call) step(process int) (string, bool) {
	if name, known := changing[c.number]; known {
		return name, c.counts()
	}
	switch c.number {
	case unix.SYS_OPENAT:
		return "openat", c.args[2]&(unix.O_CREAT|unix.O_TRUNC) != 0
	case unix.SYS_OPENAT2:
		return "openat2", howOf(process, c.args[2])&(unix.O_CREAT|unix.O_TRUNC) != 0
	case unix.SYS_IOCTL:
		for _, kind := range ioctlKinds {
			if c.args[1]>>8&0xff == kind {
				return "ioctl", true
			}
		}
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		return writes(process, c.args[0])
	}
	return legacyStep(c)
}

// counts leaves out what a Go program does for itself.
func (c call) counts() bool {
	switch c.number {
	case unix.SYS_CLONE:
		return c.args[0]&unix.CLONE_THREAD == 0
	case unix.SYS_PRLIMIT64:
		return c.args[2] != 0 // it sets one
	}
	return true
}

// writes says whether a write to a descriptor is a step: to a file of some file
// system, a disk's or a cgroup's, or to a socket, which is how a program sends to
// NATS and to its clients. Pipes and event counters are one's own.
func writes(process int, fd uint64) (string, bool) {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", process, fd))
	switch {
	case err != nil:
		return "", false
	case strings.HasPrefix(name, "socket:"):
		return "write to a socket", true
	case strings.HasPrefix(name, "/dev/"), strings.HasPrefix(name, "/memfd:"):
		return "", false
	}
	return "write", strings.HasPrefix(name, "/")
}

// howOf reads the flags that openat2 is given, by their address.
func howOf(process int, address uint64) uint64 {
	var flags [8]byte
	local := []unix.Iovec{{Base: &flags[0], Len: 8}}
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: 8}}
	if n, err := unix.ProcessVMReadv(process, local, remote, 0); err != nil || n != len(flags) {
		return 0
	}
	return binary.NativeEndian.Uint64(flags[:])
}
