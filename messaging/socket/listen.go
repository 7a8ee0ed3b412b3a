package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// pathMax is what the kernel's address of a unix socket has room for.
	pathMax = 107
	// waitingMax is how many clients may wait to be accepted; the kernel's own
	// limit (net.core.somaxconn) is often lower.
	waitingMax = 4096

	defaultMode fs.FileMode = 0o755

	// How long another server may take to open its socket in the same folder.
	lockMax, lockPause = 2 * time.Second, 5 * time.Millisecond
)

// listener is a listening socket that knows its file.
type listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
}

// listen makes the socket. It has its mode and group before it is listened on:
// until then the kernel refuses every connection.
func listen(c Config) (*listener, error) {
	path, err := filepath.Abs(c.Path)
	switch {
	case c.Path == "":
		return nil, errors.New("listen: no path is given")
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", c.Path, err)
	case len(path) > pathMax:
		return nil, fmt.Errorf("listen on %s: the path has %d bytes, the kernel takes %d", path, len(path), pathMax)
	case c.Mode&^fs.ModePerm != 0:
		return nil, fmt.Errorf("listen on %s: mode %#o has more than permissions", path, uint32(c.Mode))
	}
	gid, err := groupID(c.Group)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	unlock, err := lockFolder(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer unlock()
	if err := replaceable(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := bind(path, c.Mode, gid)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// groupID is -1, which chown leaves alone, where no group is named.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, err // names the group
	}
	return strconv.Atoi(g.Gid)
}

// lockFolder keeps two servers that start at once from each taking the other's
// new socket for a dead one's.
func lockFolder(folder string) (unlock func(), err error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockMax); ; time.Sleep(lockPause) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", folder, err)
		case time.Now().After(deadline):
			f.Close()
			return nil, fmt.Errorf("lock %s: another process has held it for %v", folder, lockMax)
		}
	}
}

// replaceable removes what a dead server left at path, and nothing else.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("there is something that isn't a socket (%v); it is left alone", info.Mode())
	}
	alive, err := served(path)
	switch {
	case err != nil:
		return fmt.Errorf("ask whether a server listens: %w", err)
	case alive:
		return errors.New("another server listens on it")
	}
	return os.Remove(path)
}

// served says whether a process holds the socket at path. It asks with a socket
// of another kind: the kernel then tells a socket that is held from one that
// isn't, and a server never hears of it. A connection would touch the grace
// time of every container there.
func served(path string) (bool, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	case err == nil, errors.Is(err, unix.EPROTOTYPE):
		return true, nil
	}
	return false, err
}

func bind(path string, mode fs.FileMode, gid int) (*listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), path)
	defer socket.Close() // the listener has a duplicate
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	l, err := admitAs(socket, mode, gid)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return l, nil
}

// admitAs says who may come in, and then listens.
func admitAs(socket *os.File, mode fs.FileMode, gid int) (*listener, error) {
	path := socket.Name()
	if mode == 0 {
		mode = defaultMode
	}
	if gid >= 0 {
		if err := os.Lchown(path, -1, gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	if err := unix.Listen(int(socket.Fd()), waitingMax); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	file, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	l, err := net.FileListener(socket)
	if err != nil {
		return nil, err
	}
	return &listener{UnixListener: l.(*net.UnixListener), path: path, file: file}, nil
}

// remove removes the socket's file, unless somebody else put another one there.
// It is called while the socket is held, so that the file's number isn't used again.
func (l *listener) remove() error {
	now, err := os.Lstat(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !os.SameFile(l.file, now) {
		return nil
	}
	return os.Remove(l.path)
}
