package transfer

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Account is a user and a group as the node numbers them.
type Account struct{ UID, GID uint32 }

// do acts as the account, on a thread that nobody uses afterwards. Whether the
// process may be traced and leaves a core dump is decided by the kernel anew:
// neither (suid_dumpable).
func (a Account) do(act func() error) error {
	result := make(chan error, 1)
	go a.onThread(result, nil, act)
	return <-result
}

// onThread never gives its thread back: it ends with the goroutine. The first
// thread won't do, because it can't end and is what /proc/self shows: where the
// scheduler gives us that one, it is held until another has begun.
func (a Account) onThread(result chan<- error, begun chan<- struct{}, act func() error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		other := make(chan struct{})
		go a.onThread(result, other, act)
		<-other
		runtime.UnlockOSThread()
		return
	}
	if begun != nil {
		close(begun)
	}
	err := a.become()
	if err == nil {
		err = act()
	}
	result <- err
}

// become makes the calling thread the account, for all that has to do with
// files, and takes every capability from it. The raw calls are of the thread;
// the syscall package's own would be of the whole process.
func (a Account) become() error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("transfer: drop the groups: %w", errno)
	}
	// These two say who it was, and not whether they did anything.
	unix.SetfsgidRetGid(int(a.GID))
	unix.SetfsuidRetUid(int(a.UID))
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if uint32(uid) != a.UID || uint32(gid) != a.GID {
		return fmt.Errorf("transfer: become %d:%d: the kernel says %d:%d", a.UID, a.GID, uid, gid)
	}
	var none [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("transfer: drop the capabilities: %w", err)
	}
	return nil
}
