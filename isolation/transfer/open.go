package transfer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Open opens for reading the file or the folder at a side's Path, which begins
// in the folder within and has to end there or below it. Links and ".." are
// followed as the container itself would, and never leave its root. Where that
// ends is asked of the kernel afterwards, of what is held by then: no rename can
// get in between.
//
// fs.ErrPermission is what the account may not read, what lies elsewhere, and
// what is neither a file nor a folder: that is looked at and never opened, for
// opening a pipe may wait for ever and opening a device is an act.
func Open(side Side, within string) (opened *os.File, err error) {
	err = side.work(func(root int) (err error) {
		opened, err = open(root, side.Path, within)
		return err
	})
	return opened, err
}

func open(root int, path, within string) (*os.File, error) {
	home, err := resolve(root, within, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	at, err := resolve(root, bare(within)+"/"+path, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	if err := below(home, at); err != nil {
		return nil, failed("open", path, err)
	}
	return reopen(at, path)
}

// OpenKept opens as Open does what lies below the side's Root, which is a folder
// of the node's own: no link leads out of it, not even to come back.
func OpenKept(side Side) (opened *os.File, err error) {
	err = side.work(func(root int) error {
		how := unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
		}
		at, err := walk(root, "./"+strings.TrimLeft(side.Path, "/"), &how)
		if errors.Is(err, unix.EXDEV) {
			return failed("open", side.Path, unix.EACCES)
		}
		if err != nil {
			return err
		}
		defer at.Close()
		opened, err = reopen(at, side.Path)
		return err
	})
	return opened, err
}

// below says of what two descriptors stand for whether one lies in the other, by
// where the kernel says that they are at this moment. Both are in one tree of
// mounts, so the names are of one root, whoever asks.
func below(home, at *os.File) error {
	top, err := os.Readlink(descriptorPath(home))
	if err != nil {
		return cause(err)
	}
	lies, err := os.Readlink(descriptorPath(at))
	if err != nil {
		return cause(err)
	}
	if lies != top && !strings.HasPrefix(lies, bare(top)+"/") {
		return fmt.Errorf("it lies elsewhere in the container: %w", unix.EACCES)
	}
	return nil
}

// reopen opens what was only found, by the descriptor and by no name again.
func reopen(at *os.File, path string) (*os.File, error) {
	st, err := status(at)
	if err != nil {
		return nil, failed("stat", path, err)
	}
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		flags |= unix.O_DIRECTORY
	default:
		return nil, failed("open", path, fmt.Errorf("it is neither a file nor a folder: %w", unix.EACCES))
	}
	fd, err := unix.Open(descriptorPath(at), flags, 0)
	if err != nil {
		return nil, failed("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
