package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Workshop makes overlays on a kernel before 6.15. Such a kernel takes as
// layers only what is attached in the mount namespace of whoever stacks them,
// and ours are detached. So there is a namespace with nothing in it but /proc,
// and one thread, which attaches layers, stacks them and detaches them again.
// Nothing of it is seen from outside, and it goes with the process.
type Workshop struct {
	orders chan func()
	closed chan struct{}

	// The thread's own:
	next   int      // names the next mount point
	points []string // that are to be given up after this order
}

// OpenWorkshop makes the namespace and its thread.
func OpenWorkshop() (*Workshop, error) {
	w := &Workshop{orders: make(chan func()), closed: make(chan struct{})}
	ready := make(chan error)
	go w.work(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("rootfs: workshop: %w", err)
	}
	return w, nil
}

// Close ends the thread and with it the namespace. Overlays live on.
func (w *Workshop) Close() error {
	close(w.closed)
	return nil
}

// work does what is ordered, on a thread that is never given back. The first
// thread won't do, because it is what /proc/self shows: where the scheduler
// gives us that one, it is held until another has begun.
func (w *Workshop) work(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		begun := make(chan error)
		go w.work(begun)
		ready <- <-begun
		runtime.UnlockOSThread()
		return
	}
	err := moveIn()
	ready <- err
	for err == nil {
		select {
		case act := <-w.orders:
			act()
			w.clear()
		case <-w.closed:
			return
		}
	}
}

// moveIn leaves the node's mounts for a namespace that holds /proc alone: none
// of the node's is to be kept alive from here.
func moveIn() error {
	const stage = "/dev" // exists everywhere
	for _, step := range []struct {
		name string
		act  func() error
	}{
		{"make a mount namespace", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"make mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount the root", func() error { return unix.Mount("deacon", stage, "tmpfs", 0, "size=1m,mode=0700") }},
		{"enter the root", func() error { return unix.Chdir(stage) }},
		{"make /proc", func() error { return unix.Mkdir("proc", 0o555) }},
		{"mount /proc", func() error { return unix.Mount("proc", "proc", "proc", 0, "") }},
		{"change the root", func() error { return unix.PivotRoot(".", ".") }},
		{"let the node's root go", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"enter the new root", func() error { return unix.Chdir("/") }},
	} {
		if err := step.act(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// stacking is what an overlay is made of.
type stacking struct {
	layers      []*os.File
	upper, work *os.File
	area        *os.File // the folder of the two
	copied      *os.File // a detached copy of it, where it is attached on the node
}

// Overlay is like the function of that name. The folders are siblings, and
// their files' names end in theirs.
func (w *Workshop) Overlay(layers []*os.File, upper, work *os.File) (root *os.File, err error) {
	area, err := parentOf(upper)
	if err != nil {
		return nil, fmt.Errorf("rootfs: find the area: %w", err)
	}
	defer area.Close()
	s := stacking{layers: layers, upper: upper, work: work, area: area}
	// What can't be copied from where we stand is detached, or was brought to
	// the workshop before.
	if s.copied, err = Clone(area); err == nil {
		defer s.copied.Close()
	} else if !errors.Is(err, unix.EINVAL) {
		return nil, err
	}
	done := make(chan struct{})
	order := func() {
		root, err = w.stack(s)
		close(done)
	}
	select {
	case w.orders <- order:
		<-done
		return root, err
	case <-w.closed:
		return nil, fmt.Errorf("rootfs: workshop: %w", os.ErrClosed)
	}
}

func (w *Workshop) stack(s stacking) (*os.File, error) {
	for _, layer := range s.layers {
		if err := w.put(layer); err != nil {
			return nil, fmt.Errorf("rootfs: attach layer %s: %w", layer.Name(), err)
		}
	}
	if s.copied == nil {
		if err := w.bring(s.area); err != nil {
			return nil, fmt.Errorf("rootfs: attach the area: %w", err)
		}
		return Overlay(s.layers, s.upper, s.work)
	}
	if err := w.put(s.copied); err != nil {
		return nil, fmt.Errorf("rootfs: attach the area: %w", err)
	}
	upper, err := openFolder(s.copied, filepath.Base(s.upper.Name()))
	if err != nil {
		return nil, fmt.Errorf("rootfs: %w", err)
	}
	defer upper.Close()
	work, err := openFolder(s.copied, filepath.Base(s.work.Name()))
	if err != nil {
		return nil, fmt.Errorf("rootfs: %w", err)
	}
	defer work.Close()
	return Overlay(s.layers, upper, work)
}

// bring attaches the mount that the area is on. Others' areas are on it too,
// unless the area is all of it, so it stays; then the next finds it there.
func (w *Workshop) bring(area *os.File) error {
	top, err := topOf(area)
	if err != nil {
		return err
	}
	defer top.Close()
	if found, err := Clone(top); err == nil {
		return found.Close()
	}
	alone, err := same(top, area)
	if err != nil {
		return err
	}
	if alone {
		return w.put(top)
	}
	_, err = w.attach(top)
	return err
}

// put attaches a detached mount until the order is done.
func (w *Workshop) put(mount *os.File) error {
	point, err := w.attach(mount)
	if err == nil {
		w.points = append(w.points, point)
	}
	return err
}

func (w *Workshop) attach(mount *os.File) (point string, err error) {
	point = "/" + strconv.Itoa(w.next)
	w.next++
	if err := unix.Mkdir(point, 0o700); err != nil {
		return "", fmt.Errorf("make %s: %w", point, err)
	}
	const flags = unix.MOVE_MOUNT_F_EMPTY_PATH
	if err := unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, point, flags); err != nil {
		unix.Rmdir(point)
		return "", fmt.Errorf("move to %s: %w", point, err)
	}
	return point, nil
}

// clear gives the order's mounts up, once nobody waits any more: each is a
// grace period. The overlay has its own hold on them.
func (w *Workshop) clear() {
	for _, point := range w.points {
		unix.Unmount(point, unix.MNT_DETACH)
		unix.Rmdir(point)
	}
	w.points = w.points[:0]
}

// topOf finds the top folder of the mount that a folder is on: a detached mount
// has nothing above it.
func topOf(folder *os.File) (*os.File, error) {
	at, err := openFolder(folder, ".")
	for err == nil {
		above, failed := parentOf(at)
		if failed != nil {
			at.Close()
			return nil, failed
		}
		var end bool
		if end, err = same(above, at); err != nil || end {
			at.Close()
			return above, err
		}
		at.Close()
		at = above
	}
	return nil, err
}

func parentOf(folder *os.File) (*os.File, error) { return openFolder(folder, "..") }

func openFolder(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of %s: %w", name, dir.Name(), err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir.Name(), name)), nil
}

func same(a, b *os.File) (bool, error) {
	one, err := a.Stat()
	if err != nil {
		return false, err
	}
	other, err := b.Stat()
	return os.SameFile(one, other), err
}
