package stack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is a root file system that is being written or looked at. Its files are
// strangers', so whatever path is meant is resolved by the kernel, with the tree
// as its root.
type tree struct {
	root *os.File
	at   string // the root's own path, as the kernel has it

	last   *os.File // the parent of the last entry: archives come folder by folder
	lastAt string
}

func openTree(path string) (*tree, error) {
	root, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	at, err := os.Readlink(descriptor(root))
	if err != nil {
		root.Close()
		return nil, err
	}
	return &tree{root: root, at: at}, nil
}

func (t *tree) close() {
	t.forget()
	t.root.Close()
}

// forget lets the last parent go: it may be removed.
func (t *tree) forget() {
	if t.last != nil {
		t.last.Close()
		t.last = nil
	}
}

// descriptor is a path to what a descriptor holds open.
func descriptor(file *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(file.Fd())) }

// openatTries bounds how often the kernel is asked again that could not tell
// whether a path left the tree while something was renamed.
const openatTries = 100

// open resolves a clean path below the root; "." is the root.
func (t *tree) open(name string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for range openatTries {
		fd, err := unix.Openat2(int(t.root.Fd()), name, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: "/" + name, Err: err}
		}
	}
	return nil, &fs.PathError{Op: "open", Path: "/" + name, Err: unix.EAGAIN}
}

// parent opens the folder that an entry belongs into, and makes what of it isn't
// there. It stays open until the next one is asked for.
func (t *tree) parent(name string) (*os.File, error) {
	dir := path.Dir(name)
	if t.last != nil && t.lastAt == dir {
		return t.last, nil
	}
	opened, err := t.folder(dir)
	if err != nil {
		return nil, err
	}
	t.forget()
	t.last, t.lastAt = opened, dir
	return opened, nil
}

// folder opens a folder, made where there is none. Links on the way are followed
// inside the tree, as a running system would.
func (t *tree) folder(name string) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	opened, err := t.open(name, flags)
	if !errors.Is(err, fs.ErrNotExist) {
		return opened, err
	}
	above, err := t.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	base := path.Base(name)
	if err := unix.Mkdirat(int(above.Fd()), base, 0o755); errors.Is(err, unix.EEXIST) {
		return nil, &fs.PathError{Op: "open", Path: "/" + name, Err: errDangling}
	} else if err != nil {
		return nil, &fs.PathError{Op: "mkdir", Path: "/" + name, Err: err}
	}
	if err := unix.Fchmodat(int(above.Fd()), base, 0o755, 0); err != nil { // past the umask
		return nil, &fs.PathError{Op: "chmod", Path: "/" + name, Err: err}
	}
	return t.open(name, flags)
}

var errDangling = errors.New("a link that leads nowhere stands in the way")

// where is the path that a folder really has, relative to the root: other than
// the one it was asked for by, there is no link in it.
func (t *tree) where(dir *os.File) (string, error) {
	at, err := os.Readlink(descriptor(dir))
	if err != nil {
		return "", err
	}
	if at == t.at {
		return ".", nil
	}
	inside, ok := strings.CutPrefix(at, t.at+"/")
	if !ok {
		return "", fmt.Errorf("%s is outside of %s", at, t.at)
	}
	return inside, nil
}

// stat is of the entry itself, not of what a link leads to. The error is
// fs.ErrNotExist where there is none.
func (t *tree) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	file, err := t.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return st, err
	}
	defer file.Close()
	return st, unix.Fstat(int(file.Fd()), &st)
}

// has says whether there is an entry; what can't be told isn't there.
func (t *tree) has(name string) bool {
	_, err := t.stat(name)
	return err == nil
}

// remove removes an entry and all below it; that there is none is success.
func (t *tree) remove(name string) error {
	dir, err := t.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return t.removeIn(dir, path.Base(name))
}

func (t *tree) removeIn(dir *os.File, base string) error {
	t.forget()
	return os.RemoveAll(descriptor(dir) + "/" + base)
}

// empty removes what is in a folder; that there is none is success.
func (t *tree) empty(name string) error {
	names, err := t.list(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	for _, base := range names {
		err = errors.Join(err, t.remove(name+"/"+base))
	}
	return err
}

func (t *tree) list(name string) ([]string, error) {
	dir, err := t.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// glob lists the entries of a folder whose names match.
func (t *tree) glob(dir, pattern string) []string {
	names, err := t.list(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, base := range names {
		if match, _ := filepath.Match(pattern, base); match {
			found = append(found, path.Join(dir, base))
		}
	}
	return found
}

// textMax bounds a file of /etc that is read: it is a stranger's.
const textMax = 1 << 20

// read reads a small file; "" where there is none.
func (t *tree) read(name string) (string, error) {
	file, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("/%s is no plain file", name)
	}
	text, err := io.ReadAll(io.LimitReader(file, textMax+1))
	if err == nil && len(text) > textMax {
		err = fmt.Errorf("/%s is longer than %d bytes", name, textMax)
	}
	return string(text), err
}

// write replaces a file, its links included, by one of root's that everybody may
// read. What it was linked with keeps what it had.
func (t *tree) write(name, text string) error {
	dir, err := t.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	base := path.Base(name)
	if err := t.removeIn(dir, base); err != nil {
		return err
	}
	file, err := create(dir, base)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Chmod(0o644), file.Close())
}

// create makes a file that wasn't there.
func create(dir *os.File, base string) (*os.File, error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), base, flags, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: base, Err: err}
	}
	return os.NewFile(uintptr(fd), base), nil
}
