package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/guard"
	"github.com/deacon-agent/deacon/isolation/initproto"
)

// stage is where the new root is attached before it becomes the root. Any
// folder of the node's tree would do; /dev exists everywhere, and /proc and
// /sys have to stay visible, or the kernel refuses to mount new ones.
const stage = "/dev"

// step is one act of the set-up, named for the error that may come of it.
type step struct {
	name string
	act  func() error
}

// enter finishes the container from the inside.
func enter(message []byte, files []*os.File) (*container, *initproto.Failed) {
	c, ok := take(message, files)
	if !ok {
		return nil, &initproto.Failed{Step: "read the set-up message", Text: "malformed"}
	}
	tree := -1
	steps := []step{
		{"make mounts private", func() error {
			return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}},
		{"bring the network up", c.linkUp},
		{"attach the root", func() (err error) {
			if err := attachAt(c.root, unix.AT_FDCWD, stage); err != nil {
				return err
			}
			tree, err = unix.Open(stage, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			return err
		}},
		{"make mount points", func() error { return makeFolders(tree, "dev", "proc", "sys") }},
		{"attach /dev", func() error { return attachIn(c.dev, tree, "dev") }},
		{"mount /dev/pts", func() error {
			// Terminals are devices: NODEV would let nobody open one.
			return mountIn(tree, "dev/pts", "devpts", noExec&^unix.MS_NODEV, "newinstance,ptmxmode=0666,mode=0620,gid=5")
		}},
		{"mount /dev/shm", func() error {
			return mountIn(tree, "dev/shm", "tmpfs", noExec, "mode=1777,size="+strconv.FormatUint(c.setup.ShmBytes, 10))
		}},
		{"mount /dev/mqueue", func() error { return mountIn(tree, "dev/mqueue", "mqueue", noExec, "") }},
		{"mount /proc", func() error { return mountIn(tree, "proc", "proc", noExec, "") }},
		{"mount /sys", func() error { return mountIn(tree, "sys", "sysfs", noExec|unix.MS_RDONLY, "") }},
		{"mask", func() error { return mask(tree) }},
		{"bind", func() error { return c.bindAll(tree) }},
		{"change the root", func() error { return pivot(tree) }},
		{"set the host name", func() error { return unix.Sethostname([]byte(c.setup.Hostname)) }},
	}
	for _, s := range steps {
		if err := s.act(); err != nil {
			return nil, &initproto.Failed{Step: s.name, Text: err.Error()}
		}
	}
	return c, nil
}

const noExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// attachAt moves a detached mount to a path and closes its descriptor.
func attachAt(mount *os.File, dir int, path string) error {
	defer mount.Close()
	return unix.MoveMount(int(mount.Fd()), "", dir, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// open resolves a path inside the new root: an absolute link or one that
// climbs stays inside it.
func open(tree int, path string) (int, error) {
	return unix.Openat2(tree, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func attachIn(mount *os.File, tree int, path string) error {
	defer mount.Close()
	return moveIn(int(mount.Fd()), tree, path)
}

func moveIn(mount, tree int, path string) error {
	target, err := open(tree, path)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return moveTo(mount, target)
}

func moveTo(mount, target int) error {
	return unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// mountIn mounts a file system of the container's own. The target is opened
// safely first; /proc/self/fd names it without a second walk.
func mountIn(tree int, path, kind string, flags uintptr, options string) error {
	target, err := open(tree, path)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return unix.Mount(kind, "/proc/self/fd/"+strconv.Itoa(target), kind, flags, options)
}

// mask hides what tells of the node. A path that this kernel doesn't have
// needs no mask.
func mask(tree int) error {
	null, err := open(tree, "dev/null")
	if err != nil {
		return err
	}
	defer unix.Close(null)
	if err := maskWith(tree, guard.MaskedFiles, func(int) (int, error) { return cloneOf(null) }); err != nil {
		return err
	}
	empty, err := emptyFolder()
	if err != nil {
		return err
	}
	defer unix.Close(empty)
	if err := maskWith(tree, guard.MaskedFolders, func(int) (int, error) {
		if cover, err := cloneOf(empty); err != unix.EINVAL {
			return cover, err
		}
		return emptyFolder() // before Linux 6.15 detached mounts can't be copied
	}); err != nil {
		return err
	}
	return maskWith(tree, guard.ReadOnlyFolders, func(target int) (int, error) { return readOnly(cloneOf(target)) })
}

// maskWith puts on each path what cover makes for it.
func maskWith(tree int, paths []string, cover func(target int) (int, error)) error {
	for _, path := range paths {
		target, err := open(tree, path)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return err
		}
		err = maskOne(target, cover)
		unix.Close(target)
		if err != nil {
			return err
		}
	}
	return nil
}

func maskOne(target int, cover func(target int) (int, error)) error {
	mount, err := cover(target)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	return moveTo(mount, target)
}

// emptyFolder makes a read-only, empty file system that covers folders.
func emptyFolder() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "4k"); err != nil {
		return -1, err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	const attributes = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
}

func cloneOf(mount int) (int, error) {
	return unix.OpenTree(mount, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
}

func readOnly(mount int, err error) (int, error) {
	if err != nil {
		return -1, err
	}
	attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, attributes); err != nil {
		unix.Close(mount)
		return -1, err
	}
	return mount, nil
}

func (c *container) bindAll(tree int) error {
	for i, mount := range c.binds {
		if err := makeTarget(tree, c.setup.Binds[i], int(mount.Fd())); err != nil {
			return err
		}
		if err := attachIn(mount, tree, c.setup.Binds[i]); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes the tree the root and lets the node's go, with everything below it.
func pivot(tree int) error {
	if err := unix.Fchdir(tree); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	unix.Close(tree)
	return unix.Chdir("/")
}
