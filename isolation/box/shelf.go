package box

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/record"
)

// shelfMax is how many folders wait for a container; the rest are removed.
const shelfMax = 64

// shelf keeps the folders of containers that are gone for those that come.
// Making eight inodes for a container and removing them again was a twentieth
// of what a start costs, under ext4 (record.Replace says why). Kept are folders,
// records and notes of the node's own, emptied, and output that can be made what
// new files are (scrub): that belonged to the job's user, who could do with it
// what he liked.
type shelf struct {
	path string

	mu    sync.Mutex
	ready []string
	made  int
}

// openShelf takes over what an earlier agent left, whatever state it is in: one
// that was being taken when it died has a record in it already.
func openShelf(path string) (*shelf, error) {
	if err := os.MkdirAll(path, searchable); err != nil {
		return nil, err
	}
	spread(path)
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	s := &shelf{path: path}
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		number, err := strconv.Atoi(entry.Name())
		if err == nil && len(s.ready) < shelfMax && strip(name) == nil {
			s.made = max(s.made, number)
			s.ready = append(s.ready, name)
		} else if err := os.RemoveAll(name); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// take returns a folder that nobody knows of: the one that lay longest, because
// files are made slowest where others were removed last, or a new one.
func (s *shelf) take() (string, error) {
	if kept := s.first(); kept != "" {
		return kept, nil
	}
	made := s.fresh()
	return made, os.Mkdir(made, searchable)
}

func (s *shelf) first() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) == 0 {
		return ""
	}
	kept := s.ready[0]
	s.ready = s.ready[1:]
	return kept
}

// fresh returns a path at which nothing is.
func (s *shelf) fresh() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return filepath.Join(s.path, strconv.Itoa(s.made))
}

// keep empties a container's folder, which nobody may know of any more, and
// puts it on the shelf. It gets its place there last, so what a dead agent left
// half emptied is still among the trash.
func (s *shelf) keep(path string) bool {
	s.mu.Lock()
	full := len(s.ready) >= shelfMax
	s.mu.Unlock()
	if full || strip(path) != nil {
		return false
	}
	kept := s.fresh()
	if move(path, kept) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = append(s.ready, kept)
	return true
}

// errKnown says of a file or folder that it can serve nobody else: it is not as
// it was made, or somebody has it open still.
var errKnown = errors.New("it may be known to somebody")

// strip takes out of a container's folder what the container put there.
func strip(path string) error {
	return sift(path, searchable, func(name, path string) error {
		switch {
		case name == specRecord, name == usedFile, record.IsSpare(name):
			return blank(path)
		case name == jobsFolder:
			return sift(path, searchable, func(_, job string) error {
				if retire(job, filepath.Join(path, nextFolder)) == nil {
					return nil
				}
				return os.RemoveAll(job)
			})
		case name == leftFolder:
			return sift(path, rootsOnly, func(_, job string) error { return os.RemoveAll(job) })
		}
		return os.RemoveAll(path)
	})
}

// retire makes of a job's folder the next one's, unless there is one. Nobody
// else may use next meanwhile.
func retire(job, next string) error {
	err := sift(job, jobMode, func(name, path string) error {
		switch {
		case name == offsetsFile: // an empty one would be taken for a damaged one
			return fill(path, record.None)
		case name == exitFile, record.IsSpare(name):
			return blank(path)
		case (name == stdoutFile || name == stderrFile) && scrub(path) == nil:
			return nil
		}
		return os.RemoveAll(path)
	})
	if err == nil && job != next {
		err = move(job, next)
	}
	return err
}

// sift calls act for each entry of a folder that is as it was made and that
// nobody holds.
func sift(dir string, mode uint32, act func(name, path string) error) error {
	fd, err := claimed(dir, unix.O_RDONLY|unix.O_DIRECTORY, unix.S_IFDIR|mode)
	if err != nil {
		return err
	}
	folder := os.NewFile(uintptr(fd), dir)
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	for _, name := range names {
		err = errors.Join(err, act(name, filepath.Join(dir, name)))
	}
	return err
}

// blank empties a file of the node's own, or removes it where it may be known.
func blank(name string) error { return fill(name, nil) }

// fill is blank with something in it.
func fill(name string, content []byte) error {
	fd, err := claimed(name, unix.O_WRONLY|unix.O_NONBLOCK, unix.S_IFREG|rootsFile)
	if err != nil {
		return os.RemoveAll(name)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	if err := file.Truncate(0); err != nil || len(content) == 0 {
		return err
	}
	_, err = file.Write(content)
	return err
}

// claimed opens what is root's, has the mode and no second name, and is held by
// nobody whom it was lent to.
func claimed(name string, flags int, mode uint32) (fd int, err error) {
	if fd, err = unix.Open(name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	alone := st.Nlink == 1 || mode&unix.S_IFMT == unix.S_IFDIR
	if err == nil && (st.Mode != mode || st.Uid != 0 || st.Gid != 0 || !alone) {
		err = errKnown
	}
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
