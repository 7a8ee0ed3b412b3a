package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// poolName is the image below the configured folder.
const poolName = "pool.btrfs"

// poolMin is the least that mkfs.btrfs makes sense of.
const poolMin = 256 << 20

// btrfs keeps every area as a subvolume of one pool.
type btrfs struct {
	mount *os.File // the detached mount
	root  *os.File // its top folder, open for ioctls
	// groups is where the kernel shows the figures of the subvolumes' groups.
	groups string
	counts counts
}

// broken are the errors of a mount by which a pool is given up on: the kernel has
// ended writing to it, as it does when the file system below is full, or it
// can't be read. Nothing in a pool has to outlive that: areas are thrown away
// after a reboot too.
var broken = []error{unix.EINVAL, unix.EROFS, unix.EIO, unix.EUCLEAN}

// errBroken says that there is a pool, and that it can't be used any more.
var errBroken = errors.New("the pool is broken")

// openBtrfs opens the pool, or a new one in place of one that is broken. Whoever
// lives on the old one keeps it for as long as he lives.
func openBtrfs(config Config) (d *btrfs, notes []string, err error) {
	d, err = openPool(config)
	if !errors.Is(err, errBroken) {
		return d, nil, err
	}
	path := filepath.Join(config.Dir, poolName)
	if failed := os.Remove(path); failed != nil {
		return nil, nil, errors.Join(err, failed)
	}
	notes = append(notes, fmt.Sprintf("the pool of the containers' disks is broken (%v): there is a new one, "+
		"and containers that live keep what they have of the old one, but can't write", err))
	d, err = openPool(config)
	return d, notes, err
}

func openPool(config Config) (_ *btrfs, err error) {
	image, err := openImage(filepath.Join(config.Dir, poolName), config.PoolBytes)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	device, err := attachLoop(image)
	if err != nil {
		return nil, fmt.Errorf("attach %s: %w", image.Name(), err)
	}
	defer device.Close()
	d := &btrfs{}
	d.mount, err = mountBtrfs(device.Name())
	if slices.ContainsFunc(broken, func(b error) bool { return errors.Is(err, b) }) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", image.Name(), err)
	}
	fd, err := unix.Openat(int(d.mount.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		d.mount.Close()
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	d.root = os.NewFile(uintptr(fd), "pool")
	if err := d.enableQuotas(); err != nil {
		d.Close()
		return nil, fmt.Errorf("enable quotas: %w", err)
	}
	if d.groups, err = d.groupsFolder(); err != nil {
		d.Close()
		return nil, fmt.Errorf("find the quotas' figures: %w", err)
	}
	return d, nil
}

// openImage opens the pool's file and makes it where there is none. It appears
// under its name only when it is a file system: an agent that dies in the
// middle leaves a temporary file, which the next one replaces.
func openImage(path string, size int64) (*os.File, error) {
	image, err := os.OpenFile(path, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return image, err
	}
	mkfs, err := exec.LookPath("mkfs.btrfs")
	if err != nil {
		return nil, errors.New("the program mkfs.btrfs is not installed")
	}
	if size == 0 {
		if size, err = freeBytes(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := file.Truncate(max(size, poolMin)); err != nil {
		return nil, err
	}
	// One copy of metadata: a second one on the same disk saves nobody, and
	// what is in here is thrown away after a power failure.
	if out, err := exec.Command(mkfs, "-q", "-f", "-m", "single", "-d", "single", temporary).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mkfs.btrfs: %w: %s", err, out)
	}
	if err := os.Rename(temporary, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func mountBtrfs(device string) (*os.File, error) {
	fs, err := unix.Fsopen("btrfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("fsopen", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "source", device); err != nil {
		return nil, os.NewSyscallError("fsconfig source", err)
	}
	// Blocks of removed files go back to the image and so to the node's disk.
	if err := unix.FsconfigSetString(fs, "discard", "async"); err != nil {
		return nil, os.NewSyscallError("fsconfig discard", err)
	}
	// A pool that a container keeps alive has a superblock already; creating
	// "again" finds it.
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, os.NewSyscallError("fsconfig create", err)
	}
	const attributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOATIME
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, os.NewSyscallError("fsmount", err)
	}
	return os.NewFile(uintptr(fd), device), nil
}

func (d *btrfs) Name() string { return "btrfs" }

func (d *btrfs) Create(name string, quota Quota, uid uint32) (Area, error) {
	err := d.makeSubvolume(name, quota.Bytes)
	if errors.Is(err, unix.EEXIST) {
		if err := d.Discard(name); err != nil {
			return Area{}, err
		}
		err = d.makeSubvolume(name, quota.Bytes)
	}
	if err != nil {
		return Area{}, fmt.Errorf("disk: make subvolume %s: %w", name, err)
	}
	return makeArea(int(d.root.Fd()), name, uid)
}

// Discard removes the subvolume; btrfs frees its blocks in the background, and
// a container that still stands on it keeps it until it goes.
func (d *btrfs) Discard(name string) error {
	d.counts.forget(name)
	if err := d.removeSubvolume(name); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("disk: remove subvolume %s: %w", name, err)
	}
	return nil
}

func (d *btrfs) Reclaim(context.Context) error { return nil }

func (d *btrfs) List() ([]string, error) {
	// A second descriptor: reading moves a folder's position.
	fd, err := unix.Openat(int(d.root.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: list: %w", err)
	}
	top := os.NewFile(uintptr(fd), "pool")
	defer top.Close()
	names, err := top.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("disk: list: %w", err)
	}
	return names, nil
}

func (d *btrfs) Close() error { return errors.Join(d.root.Close(), d.mount.Close()) }
