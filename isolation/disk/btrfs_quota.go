package disk

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// groupsFolder is where sysfs has the groups. Unlike the quota tree, which is
// written with a transaction, up to 30 s later, its figures are those that the
// kernel decides by.
func (d *btrfs) groupsFolder() (string, error) {
	uuid, err := d.uuid()
	if err != nil {
		return "", err
	}
	path := filepath.Join("/sys/fs/btrfs", uuid, "qgroups")
	_, err = os.Stat(path)
	return path, err
}

// figure reads one number. Not with os.ReadFile: it has the runtime's poller
// watch the file, which wakes another thread each time.
func (d *btrfs) figure(subvolume uint64, name string) (int64, error) {
	path := filepath.Join(d.groups, fmt.Sprintf("0_%d", subvolume), name)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, figureMax))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(content)), 0, 64)
}

// figureMax is longer than a number of 64 bits.
const figureMax = 64

// Usage is what the kernel holds against the limit: what is on disk, and what
// is written but not there yet.
func (d *btrfs) Usage(name string) (int64, error) {
	info, err := d.info(name)
	if err != nil {
		return 0, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	used, err := d.used(info)
	if err != nil {
		return 0, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return used, nil
}

func (d *btrfs) used(info *subvolumeInfo) (int64, error) {
	referenced, err := d.figure(info.ID, "referenced")
	if err != nil {
		return 0, err
	}
	reserved, err := d.figure(info.ID, "rsv_data")
	return referenced + reserved, err
}

// Account counts inodes, as btrfs has no counter of them: 0.5 us each, and only
// where something was changed since the last time (counts).
func (d *btrfs) Account(name string) (account Account, err error) {
	info, err := d.info(name)
	if err != nil {
		return Account{}, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	if account.Bytes, err = d.used(info); err == nil {
		count := func() (int64, error) { return d.countInodes(info.ID) }
		account.Inodes, err = d.counts.count(name, info.ChangedAt, count)
	}
	if err != nil {
		return Account{}, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return account, nil
}

// Quota reads the limit; the flag says whether the number counts.
func (d *btrfs) Quota(name string) (Quota, error) {
	info, err := d.info(name)
	if err != nil {
		return Quota{}, fmt.Errorf("disk: quota of %s: %w", name, err)
	}
	flags, err := d.figure(info.ID, "limit_flags")
	if err != nil {
		return Quota{}, fmt.Errorf("disk: quota of %s: %w", name, err)
	}
	if flags&limitMaxReferenced == 0 {
		return Quota{}, nil
	}
	limit, err := d.figure(info.ID, "max_referenced")
	if err != nil {
		return Quota{}, fmt.Errorf("disk: quota of %s: %w", name, err)
	}
	return Quota{Bytes: limit}, nil
}

// Limit takes any bound on bytes, also one below what is there already: then
// nothing more can be written, as with a user's quota.
func (d *btrfs) Limit(name string, change Change) error {
	if change.Inodes != nil && *change.Inodes != 0 {
		return fmt.Errorf("%w: %d inodes for %s: btrfs has quotas for bytes only", ErrNoQuota, *change.Inodes, name)
	}
	if change.Bytes == nil {
		return nil
	}
	info, err := d.info(name)
	if err != nil {
		return fmt.Errorf("disk: bound %s: %w", name, err)
	}
	limit := uint64(*change.Bytes)
	if limit == 0 {
		limit = noLimit
	}
	if err := d.limitReferenced(info.ID, limit); err != nil {
		return fmt.Errorf("disk: bound %s to %d bytes: %w", name, *change.Bytes, err)
	}
	return nil
}

// counts remembers what was counted, and of which state of the subvolume: its
// last change, which the kernel tells to the nanosecond.
type counts struct {
	mu   sync.Mutex
	last map[string]counted
}

type counted struct {
	state  timespec
	inodes int64
}

// count counts where something has changed.
func (c *counts) count(name string, state timespec, inodes func() (int64, error)) (int64, error) {
	c.mu.Lock()
	last, ok := c.last[name]
	c.mu.Unlock()
	if ok && last.state == state {
		return last.inodes, nil
	}
	n, err := inodes()
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[string]counted{}
	}
	c.last[name] = counted{state, n}
	return n, nil
}

func (c *counts) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.last, name)
}
