package stack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What a folder's name says of who works on it.
const (
	newPrefix  = ".new-"
	oldPrefix  = ".old-"
	gonePrefix = ".gone-"
	logPrefix  = ".log-"
)

// errLocked says that another process holds a folder's lock.
var errLocked = errors.New("locked")

// lock takes a folder's lock, exclusive or shared, and never waits. The lock
// belongs to the folder and not to its name, so it is looked whether they still
// belong together.
func lock(path string, how int) (*os.File, error) {
	folder, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), how|unix.LOCK_NB); err != nil {
		folder.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held, err := folder.Stat()
	if err == nil {
		var named os.FileInfo
		if named, err = os.Lstat(path); err == nil && !os.SameFile(held, named) {
			err = &fs.PathError{Op: "lock", Path: path, Err: fs.ErrNotExist}
		}
	}
	if err != nil {
		folder.Close()
		return nil, err
	}
	return folder, nil
}

// Hold keeps the stack whose tree lies at a path from being removed, until the
// result is closed or the process ends. It may be in another node's store. What
// can't be in any has nobody who would remove it, and is not held.
func Hold(tree string) (io.Closer, error) {
	folder := filepath.Dir(tree)
	name := filepath.Base(folder)
	if filepath.Base(tree) != treeName || !ValidName(name) {
		return io.NopCloser(nil), nil
	}
	held, err := lock(folder, unix.LOCK_SH)
	if errors.Is(err, errLocked) {
		err = &BusyError{name, "removed"}
	}
	if err != nil {
		return nil, fmt.Errorf("stack: hold %s: %w", name, err)
	}
	return held, nil
}

// workshop is a stack that is being made.
type workshop struct {
	store *Store
	name  string
	path  string
	lock  *os.File
}

// begin makes the folder in which a stack is made, once what the dead left is
// gone.
func (s *Store) begin(name string) (*workshop, error) {
	if !ValidName(name) {
		return nil, ErrName
	}
	if err := os.MkdirAll(s.dir, searchable); err != nil {
		return nil, err
	}
	if err := s.sweep(); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(s.dir, name)); err == nil {
		return nil, &ExistsError{name, s.Tree(name)}
	}
	w := &workshop{store: s, name: name, path: filepath.Join(s.dir, newPrefix+name)}
	for range beginTries {
		err := w.open()
		if !errors.Is(err, errLocked) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return w, err
		}
		time.Sleep(beginPause)
	}
	return nil, &BusyError{name, "made"}
}

// Whoever lists or sweeps holds a lock for a moment too, and may have removed the
// folder before we had ours.
const (
	beginTries = 10
	beginPause = 10 * time.Millisecond
)

// open makes the folder, with an empty tree, and locks it.
func (w *workshop) open() error {
	err := os.Mkdir(w.path, searchable)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if w.lock, err = lock(w.path, unix.LOCK_EX); err != nil {
		return err
	}
	if err := os.Chmod(w.path, searchable); err != nil { // past the umask
		return w.abandon(err)
	}
	// There already is one where a maker was killed just now: it is removed, and
	// begun again.
	if err := os.Mkdir(w.tree(), 0o755); err != nil {
		return w.abandon(err)
	}
	if err := os.Chmod(w.tree(), 0o755); err != nil {
		return w.abandon(err)
	}
	return nil
}

func (w *workshop) tree() string            { return filepath.Join(w.path, treeName) }
func (w *workshop) file(name string) string { return filepath.Join(w.path, name) }

// abandon removes what was begun, and returns why, joined with what couldn't be
// removed.
func (w *workshop) abandon(why error) error {
	defer w.lock.Close()
	return errors.Join(why, discard(w.path))
}

// publish gives the stack its name, when all of it is on the disk.
func (w *workshop) publish(m Manifest) error {
	if err := m.save(w.path); err != nil {
		return err
	}
	// One call for all files: one by one they would be as many waits for the disk.
	if err := unix.Syncfs(int(w.lock.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", w.path, err)
	}
	if err := rename(w.path, filepath.Join(w.store.dir, w.name)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &ExistsError{w.name, w.store.Tree(w.name)}
		}
		return err
	}
	_ = os.Remove(filepath.Join(w.store.dir, logPrefix+w.name)) // of an attempt before
	w.lock.Close()
	return syncFolder(w.store.dir)
}

// rename never replaces anything.
func rename(from, to string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// discard removes a folder and all in it, unless something is mounted in there:
// what is mounted may be the machine's own /dev.
func discard(path string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	const pointField = 4
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > pointField && strings.HasPrefix(fields[pointField], path+"/") {
			return fmt.Errorf("%s is not removed, because something is mounted at %s; unmount it first",
				path, fields[pointField])
		}
	}
	return os.RemoveAll(path)
}
