package box

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// harmlessAttribute is the one that a file system may give every file by itself
// and nobody inside can set.
const harmlessAttribute = "security.selinux"

// userFlags are the inode flags that a file's owner may set (linux/fs.h,
// FS_FL_USER_MODIFIABLE), and the one that seals its content for ever.
const userFlags = 0x000380FF | unix.FS_VERITY_FL

// scrub makes of a job's output file what a new one is. Its owner could do with
// it what he liked by his descriptor: whatever can't be undone here is an error,
// and so is that somebody has it open still, for whatever he may do. A name or
// a descriptor for nothing (O_PATH) helps nobody who isn't the next owner.
func scrub(name string) error {
	const flags = unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open(name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) // and gives the lease back
	if err := errors.Join(unix.Fchown(fd, 0, 0), unix.Fchmod(fd, rootsFile)); err != nil {
		return err
	}
	// The kernel gives it only to whoever is the only one that has the file open.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode != unix.S_IFREG|rootsFile || st.Nlink != 1 {
		return errKnown
	}
	if err := plain(fd); err != nil {
		return err
	}
	return unix.Ftruncate(fd, 0)
}

// plain says what a file has beyond its content, owner and mode.
func plain(fd int) error {
	set, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil && err != unix.ENOTTY && err != unix.EOPNOTSUPP {
		return err
	}
	if err == nil && set&userFlags != 0 {
		return fmt.Errorf("it has the flags %#x", set&userFlags)
	}
	var room [256]byte
	size, err := unix.Flistxattr(fd, room[:])
	if err == unix.EOPNOTSUPP {
		return nil
	}
	if err != nil {
		return err
	}
	names := strings.Split(strings.TrimSuffix(string(room[:size]), "\x00"), "\x00")
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" || n == harmlessAttribute })
	if len(names) > 0 {
		return fmt.Errorf("it has the attributes %q", names)
	}
	return nil
}
