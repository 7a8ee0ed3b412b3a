package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

func (d *plain) Usage(name string) (bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(d.dir, name, upperName), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone while we looked
		}
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("disk: measure %s: %w", name, err)
	}
	return bytes, nil
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
