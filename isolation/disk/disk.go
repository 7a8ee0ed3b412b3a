package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Quota bounds an area; zero is no bound.
type Quota struct {
	Bytes  int64
	Inodes int64
}

// Change says which bounds of an area become others. What is nil stays; zero is
// no bound.
type Change struct{ Bytes, Inodes *int64 }

// Account is what an area takes.
type Account struct {
	Bytes int64
	// Inodes are files, folders and symbolic links, the area's own few folders
	// included; tmpfs and none count each name of a file. A count ends at countMax.
	Inodes int64
}

// countMax bounds a count of inodes: one that takes longer than a tenth of a
// second helps nobody.
const countMax = 200_000

// ErrNoQuota says that an area can't be bounded as asked, and nothing was changed.
var ErrNoQuota = errors.New("disk: this bound can't be enforced")

// Area is one container's place for an overlay: the folder that takes its
// writes, owned by the container's root, and the one that overlayfs needs
// beside it.
type Area struct{ Upper, Work *os.File }

// Close closes the descriptors; the area stays.
func (a Area) Close() {
	if a.Upper != nil {
		a.Upper.Close()
	}
	if a.Work != nil {
		a.Work.Close()
	}
}

// Driver keeps areas.
type Driver interface {
	// Name is the driver's name in the configuration.
	Name() string
	// Create makes an area for the container whose root is uid. One of that
	// name, left from before, is replaced.
	Create(name string, quota Quota, uid uint32) (Area, error)
	// Usage is how many bytes the area takes.
	Usage(name string) (int64, error)
	// Account is Usage with what has to be counted.
	Account(name string) (Account, error)
	// Quota is what bounds the area at this moment.
	Quota(name string) (Quota, error)
	// Limit changes an area's quota, whoever writes there meanwhile. A bound that
	// is refused changes nothing; ErrNoQuota says that the driver has none such.
	Limit(name string, change Change) error
	// Discard gives an area up; what that leaves is reclaimed later.
	Discard(name string) error
	// Reclaim does what Discard left, off the request path.
	Reclaim(ctx context.Context) error
	// List names the areas that exist.
	List() ([]string, error)
	// Close lets go of the driver's mounts. Containers keep what they stand on.
	Close() error
}

// Config chooses a driver.
type Config struct {
	Dir       string // a folder of the state for images and areas
	Driver    string // auto, btrfs, tmpfs or none; empty: auto
	PoolBytes int64  // size of the btrfs pool; 0: as large as its file system is free
}

// ErrNoDriver says that disk limits can't be enforced here as configured.
var ErrNoDriver = errors.New("disk: limits can't be enforced")

// Open opens the configured driver. The notes say why a better one was passed over.
func Open(config Config) (Driver, []string, error) {
	if err := os.MkdirAll(config.Dir, 0o711); err != nil {
		return nil, nil, fmt.Errorf("disk: %w", err)
	}
	switch config.Driver {
	case "", "auto", "btrfs":
		d, notes, err := openBtrfs(config)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w; install btrfs-progs, "+
				"or choose another way: disk { driver = \"tmpfs\" } or \"none\"", ErrNoDriver, err)
		}
		return d, append(notes, "inodes are not limited: btrfs has quotas for bytes only"), nil
	case "tmpfs":
		return newTmpfs(), []string{"disk limits are kept in memory: what applications write counts as memory"}, nil
	case "none":
		d, err := openPlain(config)
		return d, []string{"disk limits are not enforced: disk.driver is \"none\""}, err
	}
	return nil, nil, fmt.Errorf("disk: unknown driver %q; there are %s", config.Driver,
		strings.Join([]string{"auto", "btrfs", "tmpfs", "none"}, ", "))
}
