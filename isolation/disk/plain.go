package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// plain keeps areas as folders without a limit.
type plain struct {
	dir  string
	root *os.File
}

func openPlain(config Config) (*plain, error) {
	dir := filepath.Join(config.Dir, "plain")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	root, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return &plain{dir, root}, nil
}

func (d *plain) Name() string { return "none" }

func (d *plain) Create(name string, _ Quota, uid uint32) (Area, error) {
	if err := d.Discard(name); err != nil {
		return Area{}, err
	}
	if err := unix.Mkdirat(int(d.root.Fd()), name, 0o711); err != nil {
		return Area{}, fmt.Errorf("disk: make %s: %w", name, err)
	}
	return makeArea(int(d.root.Fd()), name, uid)
}

func (d *plain) Usage(name string) (int64, error) {
	account, err := d.measure(name, math.MaxInt64)
	return account.Bytes, err
}

// Account walks the area, as there is no counter: some microseconds for each
// inode. It ends at countMax: then both figures are too low.
func (d *plain) Account(name string) (Account, error) { return d.measure(name, countMax) }

func (d *plain) measure(name string, most int64) (account Account, err error) {
	err = filepath.WalkDir(filepath.Join(d.dir, name, upperName), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		info, err := e.Info()
		if err != nil {
			return ignoreGone(err)
		}
		account.Bytes += info.Size()
		if account.Inodes++; account.Inodes >= most {
			return fs.SkipAll
		}
		return nil
	})
	if err == nil && account.Inodes == 0 {
		err = fs.ErrNotExist // not even its own folder
	}
	if err != nil {
		return Account{}, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return account, nil
}

// ignoreGone passes over what went while we looked.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Quota is none.
func (d *plain) Quota(string) (Quota, error) { return Quota{}, nil }

// Limit can only take away what is not there.
func (d *plain) Limit(name string, change Change) error {
	for unit, bound := range map[string]*int64{"bytes": change.Bytes, "inodes": change.Inodes} {
		if bound != nil && *bound != 0 {
			return fmt.Errorf("%w: %d %s for %s: disk.driver is \"none\"", ErrNoQuota, *bound, unit, name)
		}
	}
	return nil
}

// discarded marks a folder that was renamed aside.
const discarded = ".discarded"

func (d *plain) Discard(name string) error {
	path := filepath.Join(d.dir, name)
	err := os.Rename(path, path+discarded)
	if errors.Is(err, fs.ErrExist) { // one of that name waits for Reclaim still
		err = os.RemoveAll(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("disk: discard %s: %w", name, err)
	}
	return nil
}

func (d *plain) Reclaim(ctx context.Context) error {
	waiting, err := filepath.Glob(filepath.Join(d.dir, "*"+discarded))
	for _, path := range waiting {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

func (d *plain) List() ([]string, error) { return listFolders(d.dir) }

func (d *plain) Close() error { return d.root.Close() }

func listFolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("disk: list: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && filepath.Ext(e.Name()) != discarded {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
