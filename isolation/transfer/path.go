package transfer

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// inRoot keeps a walk below the descriptor that it begins at.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// triesMax bounds how often a walk is tried again that a rename disturbed: who
// renames without end gets an error.
const triesMax = 100

// resolve opens a path below root; links on the way are followed, and stay
// below root too.
func resolve(root int, path string, flags uint64) (*os.File, error) {
	return walk(root, path, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: inRoot})
}

func walk(root int, path string, how *unix.OpenHow) (*os.File, error) {
	var err error
	for range triesMax {
		var fd int
		if fd, err = unix.Openat2(root, path, how); err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return nil, failed("open", path, err)
}

// openIn opens a name in a folder and follows no link.
func openIn(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func status(file *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(file.Fd()), &st)
	return st, err
}

// split cuts a path in the folder and the last component; the latter is empty
// where the path means what is in a folder.
func split(path string) (dir, name string) {
	for strings.HasSuffix(path, "/.") {
		path = strings.TrimSuffix(path, ".")
	}
	at := strings.LastIndexByte(path, '/')
	if name := path[at+1:]; name != "" && name != ".." {
		return path[:at+1], name
	}
	return path, ""
}

// bare is a path without what says that it is a folder.
func bare(path string) string {
	for strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.") {
		path = strings.TrimSuffix(strings.TrimSuffix(path, "."), "/")
	}
	return path
}

// join is the path of a name in a folder, for errors.
func join(dir, name string) string {
	if name == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + "/" + name
}

// failed names what could not be done; a deeper error's name for the same is
// the same or less.
func failed(verb, path string, err error) error {
	if err == nil {
		return nil
	}
	if inner, ok := err.(*fs.PathError); ok {
		if inner.Path == path {
			return err
		}
		err = inner.Err
	}
	return &fs.PathError{Op: verb, Path: path, Err: err}
}
