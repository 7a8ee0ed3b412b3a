package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// sparesMax is how many empty files a Folder keeps; the rest are removed.
const sparesMax = 256

// Folder is a folder whose records change all the time. It makes no file where
// one is to be had, and removes none that can be used again: ext4 finds the
// number of a new file by passing over every one that was removed in the last
// minutes, and that was a tenth of what 100 starts at once cost.
//
// What it saved is read by Load and Names. It may be used by several at once,
// not for the same name.
type Folder struct {
	path   string
	rename func(from, to string, flags uint) error

	mu     sync.Mutex
	spares []string // files that hold nothing
	made   int
}

// NewFolder takes over the records of dir, and as spare files what an earlier
// agent left: those that it kept, and one that it was writing when it died.
func NewFolder(dir string) (*Folder, error) {
	left, err := filepath.Glob(filepath.Join(dir, "*"+temporarySuffix))
	if err != nil {
		return nil, fmt.Errorf("record: open %s: %w", dir, err)
	}
	f := &Folder{path: dir, rename: rename}
	for _, path := range left {
		number, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), temporarySuffix))
		if err != nil { // not a name of ours
			err = os.Remove(path)
		} else {
			f.made = max(f.made, number)
			f.give(path)
		}
		if err != nil {
			return nil, fmt.Errorf("record: open %s: %w", dir, err)
		}
	}
	return f, nil
}

// IsSpare says of a file's name in a Folder that it is no record's.
func IsSpare(name string) bool { return strings.HasSuffix(name, temporarySuffix) }

// Save is the package's Save.
func (f *Folder) Save(name string, v any) error {
	body, err := encode(v)
	if err != nil {
		return fmt.Errorf("record: encode %s: %w", name, err)
	}
	spare := f.take()
	left, err := f.place(spare, filepath.Join(f.path, name), body)
	if err != nil {
		os.Remove(spare)
		return fmt.Errorf("record: save %s: %w", name, err)
	}
	if left {
		f.give(spare)
	}
	return nil
}

// Remove takes a record away; one that is gone is success.
func (f *Folder) Remove(name string) error {
	f.mu.Lock()
	spare := f.fresh()
	f.mu.Unlock()
	err := os.Rename(filepath.Join(f.path, name), spare)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("record: remove %s: %w", name, err)
	}
	f.give(spare)
	return nil
}

// place writes the spare file and gives it the record's name. It says whether
// there is a file left under the spare's name: what the record was before.
func (f *Folder) place(spare, path string, body []byte) (left bool, err error) {
	file, err := os.OpenFile(spare, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if _, err := file.Write(body); err != nil {
		return false, err
	}
	switch err := f.rename(spare, path, unix.RENAME_NOREPLACE); err {
	case nil:
		return false, nil
	case unix.EEXIST:
	default: // a file system that knows no such rename
		return false, os.Rename(spare, path)
	}
	// As a file system does itself where one file replaces another: what the
	// new name means is on its way to the disk before the name is.
	unix.SyncFileRange(int(file.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	if err := f.rename(spare, path, unix.RENAME_EXCHANGE); err != nil {
		return false, os.Rename(spare, path)
	}
	return true, nil
}

// take returns the path of a file that holds nothing, or of none yet.
func (f *Folder) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := len(f.spares) - 1; last >= 0 {
		spare := f.spares[last]
		f.spares = f.spares[:last]
		return spare
	}
	return f.fresh()
}

// fresh returns a path at which nothing is.
func (f *Folder) fresh() string {
	f.made++
	return filepath.Join(f.path, strconv.Itoa(f.made)+temporarySuffix)
}

// give keeps a file for the next record. Records hold secrets, so it is emptied
// at once.
func (f *Folder) give(spare string) {
	err := os.Truncate(spare, 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.spares) == sparesMax || err != nil {
		os.Remove(spare)
		return
	}
	f.spares = append(f.spares, spare)
}

func rename(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}
