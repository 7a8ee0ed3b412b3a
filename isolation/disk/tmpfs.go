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
	held map[string]memory
}

// memory is one area and the bounds that were asked for; without any the kernel
// has some of its own.
type memory struct {
	mount *os.File
	quota Quota
}

func newTmpfs() *tmpfs { return &tmpfs{held: map[string]memory{}} }

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
	d.held[name] = memory{mount, quota}
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
	account, err := d.Account(name)
	return account.Bytes, err
}

func (d *tmpfs) Account(name string) (Account, error) {
	held, err := d.hold(name)
	if err != nil {
		return Account{}, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	st, err := held.stat()
	if err != nil {
		return Account{}, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return Account{Bytes: int64(st.Blocks-st.Bfree) * st.Bsize, Inodes: int64(st.Files - st.Ffree)}, nil
}

// Quota is what the kernel made of the bounds; bytes are whole pages.
func (d *tmpfs) Quota(name string) (quota Quota, err error) {
	held, err := d.hold(name)
	if err != nil {
		return Quota{}, fmt.Errorf("disk: quota of %s: %w", name, err)
	}
	st, err := held.stat()
	if err != nil {
		return Quota{}, fmt.Errorf("disk: quota of %s: %w", name, err)
	}
	if held.quota.Bytes > 0 {
		quota.Bytes = int64(st.Blocks) * st.Bsize
	}
	if held.quota.Inodes > 0 {
		quota.Inodes = int64(st.Files)
	}
	return quota, nil
}

// Limit remounts. The kernel refuses a bound below what is there already, and
// a bound where there never was one: so that there always is one, none at all
// is half of the machine's memory, as the kernel starts with.
func (d *tmpfs) Limit(name string, change Change) error {
	held, err := d.hold(name)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s: only the agent that made it in memory could", ErrNoQuota, name)
	}
	if err != nil {
		return fmt.Errorf("disk: bound %s: %w", name, err)
	}
	options := map[string]string{}
	if change.Bytes != nil {
		held.quota.Bytes = *change.Bytes
		options["size"] = spell(*change.Bytes, "50%")
	}
	if change.Inodes != nil {
		most, err := halfThePages()
		if err != nil {
			return fmt.Errorf("disk: bound %s: %w", name, err)
		}
		held.quota.Inodes = *change.Inodes
		options["nr_inodes"] = spell(*change.Inodes, strconv.FormatInt(most, 10))
	}
	if err := remount(held.mount, options); err != nil {
		return fmt.Errorf("disk: bound %s to %v (no less than it holds): %w", name, options, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.held[name]; ok {
		d.held[name] = held
	}
	return nil
}

func spell(bound int64, none string) string {
	if bound == 0 {
		return none
	}
	return strconv.FormatInt(bound, 10)
}

// halfThePages is how many inodes the kernel allows where nobody says a number.
func halfThePages() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, os.NewSyscallError("sysinfo", err)
	}
	return int64(info.Totalram) * int64(info.Unit) / int64(os.Getpagesize()) / 2, nil
}

func remount(mount *os.File, options map[string]string) error {
	fs, err := unix.Fspick(int(mount.Fd()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return os.NewSyscallError("fspick", err)
	}
	defer unix.Close(fs)
	for name, value := range options {
		if err := unix.FsconfigSetString(fs, name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return unix.FsconfigReconfigure(fs)
}

func (d *tmpfs) hold(name string) (memory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held, ok := d.held[name]
	if !ok {
		return memory{}, os.ErrNotExist
	}
	return held, nil
}

func (m memory) stat() (st unix.Statfs_t, err error) {
	err = os.NewSyscallError("fstatfs", unix.Fstatfs(int(m.mount.Fd()), &st))
	return st, err
}

func (d *tmpfs) Discard(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if held, ok := d.held[name]; ok {
		delete(d.held, name)
		return held.mount.Close()
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
	for name, held := range d.held {
		failed = errors.Join(failed, held.mount.Close())
		delete(d.held, name)
	}
	return failed
}
