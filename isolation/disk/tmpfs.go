package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// tmpfs gives each container a memory file system of its own. Its descriptor
// is held until the area is discarded; a successor can't hold it again, and
// need not: the container's root keeps it.
type tmpfs struct {
	mu   sync.Mutex
	held map[string]*os.File
}

func newTmpfs() *tmpfs { return &tmpfs{held: map[string]*os.File{}} }

func (d *tmpfs) Name() string { return "tmpfs" }

func (d *tmpfs) Create(name string, quota Quota, uid uint32) (Area, error) {
	mount, err := mountTmpfs(quota)
	if err != nil {
		return Area{}, fmt.Errorf("disk: tmpfs for %s: %w", name, err)
	}
	if err := d.Discard(name); err != nil {
		return Area{}, err
	}
	area, err := makeArea(int(mount.Fd()), ".", uid)
	if err != nil {
		mount.Close()
		return Area{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[name] = mount
	return area, nil
}

func mountTmpfs(quota Quota) (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	options := map[string]string{"mode": "0711", "source": "deacon"}
	if quota.Bytes > 0 {
		options["size"] = strconv.FormatInt(quota.Bytes, 10)
	}
	if quota.Inodes > 0 {
		options["nr_inodes"] = strconv.FormatInt(quota.Inodes, 10)
	}
	for name, value := range options {
		if err := unix.FsconfigSetString(fs, name, value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tmpfs"), nil
}

func (d *tmpfs) Usage(name string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	mount, ok := d.held[name]
	if !ok {
		return 0, fmt.Errorf("disk: measure %s: %w", name, os.ErrNotExist)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mount.Fd()), &st); err != nil {
		return 0, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, nil
}

func (d *tmpfs) Discard(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if mount, ok := d.held[name]; ok {
		delete(d.held, name)
		return mount.Close()
	}
	return nil
}

func (d *tmpfs) Reclaim(context.Context) error { return nil }

// List names none: an area nobody holds is gone.
func (d *tmpfs) List() ([]string, error) { return nil, nil }

func (d *tmpfs) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed error
	for name, mount := range d.held {
		failed = errors.Join(failed, mount.Close())
		delete(d.held, name)
	}
	return failed
}
