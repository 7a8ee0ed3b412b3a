package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// ValueMax bounds one value, in bytes.
	ValueMax = 4 << 20
	// wordyAt is how long a journal may become whatever there is in it.
	wordyAt = 1 << 20
	// wordyFactor is how much longer than what it says a journal may become.
	wordyFactor = 4

	// reserve is how much room on the disk is the journal's before it is needed:
	// what stops, ends and is given back while the disk is full is on record.
	reserve = 256 << 10

	newSuffix = ".new"
)

// nameForm is what may be a name: no space, and nothing that leads elsewhere
// where somebody makes a path of it.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// Change is a name's value from now on.
type Change struct {
	Name  string
	Value []byte // JSON on one line; nil: the name is forgotten
}

// Check says what is wrong with a change, whatever the disk is like.
func (c Change) Check() error {
	if !nameForm.MatchString(c.Name) {
		return fmt.Errorf("journal: %q can't be a name (%s)", c.Name, nameForm)
	}
	if len(c.Value) > ValueMax {
		return fmt.Errorf("journal: the value of %s: %d bytes are more than %d", c.Name, len(c.Value), ValueMax)
	}
	return nil
}

// Journal is an open journal. Its methods may be called by several at once.
type Journal struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64 // up to where the file is known to be whole
	room    int64 // up to where it has room on the disk
	torn    bool  // there may be something behind that
	spoken  int64 // how long it would be if it said everything once
	damaged bool  // there are lines in it that can't be read
	unnamed bool  // the disk itself may not know the file by its name yet
}

// Append adds changes, in one write: when it returns, they outlive this process,
// and after the next Sync a power failure. On error none of them was added. The
// error is a syscall.Errno where the machine refused.
func (j *Journal) Append(changes []Change) error {
	lines, err := lines(changes)
	if err != nil || len(lines) == 0 {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	err = j.mend()
	if err == nil {
		_, err = j.file.WriteAt(lines, j.size)
	}
	if err != nil {
		j.torn = true
		return fmt.Errorf("journal: %w", errors.Join(err, j.mend()))
	}
	j.size += int64(len(lines))
	j.makeRoom()
	return nil
}

// makeRoom sees to it that the next changes find room. Where the disk has none
// any more, or the file system can't say, a write tells.
func (j *Journal) makeRoom() {
	if j.room-j.size > reserve/2 {
		return
	}
	if unix.Fallocate(int(j.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, j.size, reserve) == nil {
		j.room = j.size + reserve
	}
}

// mend cuts off what a refused write left.
func (j *Journal) mend() error {
	if !j.torn {
		return nil
	}
	err := j.file.Truncate(j.size)
	j.torn = err != nil
	j.room = j.size // what was behind it is given back
	j.makeRoom()
	return err
}

// Sync brings everything that was appended to the disk itself. After an error
// it is not known what the disk has, and the kernel won't say it again: only a
// Rewrite mends that.
func (j *Journal) Sync() error {
	j.mu.Lock()
	file, unnamed := j.file, j.unnamed
	j.mu.Unlock()
	err := file.Sync()
	if errors.Is(err, os.ErrClosed) { // rewritten meanwhile, and synced
		err = nil
	}
	if err == nil && unnamed {
		err = j.syncName()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// syncName has the disk itself know the file by its name.
func (j *Journal) syncName() error {
	folder, err := os.Open(filepath.Dir(j.path))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unnamed = false
	return nil
}

// Wordy says that most of the journal is history, or that some of it can't be
// read, and a Rewrite is due.
func (j *Journal) Wordy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.damaged || j.size > max(wordyAt, wordyFactor*j.spoken)
}

// Rewrite replaces the journal by one that says just what is given. The content
// is on the disk itself when it returns, the name after the next Sync. On error
// the journal is what it was.
func (j *Journal) Rewrite(all []Change) error {
	content, err := lines(all)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	file, err := j.replace(content)
	if err != nil {
		j.spoken, j.damaged = max(j.spoken, j.size), false // not again at each change
		return fmt.Errorf("journal: rewrite: %w", err)
	}
	j.file.Close()
	j.file, j.size, j.spoken = file, int64(len(content)), int64(len(content))
	j.torn, j.damaged, j.unnamed = false, false, true
	j.room = j.size
	j.makeRoom()
	return nil
}

func (j *Journal) replace(content []byte) (_ *os.File, err error) {
	file, err := create(j.path + newSuffix)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(j.path+newSuffix))
		}
	}()
	if _, err := file.Write(content); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	return file, os.Rename(j.path+newSuffix, j.path)
}

// Close syncs and closes the journal.
func (j *Journal) Close() error { return errors.Join(j.Sync(), j.file.Close()) }

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
}
