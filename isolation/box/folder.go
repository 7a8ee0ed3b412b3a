package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
)

// The layout below the state folder:
//
//	containers/<id>/spec             the intent record
//	containers/<id>/init.sock        PID 1 listens here
//	containers/<id>/jobs/<n>/stdout  written by the job itself
//	containers/<id>/jobs/<n>/stderr
//	containers/<id>/jobs/<n>/exit    written by PID 1, once
//	containers/<id>/jobs/<n>/stdin   of a long one, gone as soon as the job has it open
//	containers/<id>/jobs/<n>/offsets how far the output was published
//	containers/<id>/jobs/next        of one that was forgotten, emptied for the next
//	containers/<id>/used             one bit for each job that was forgotten
//	containers/<id>/left/<n>         of one whose output is still written to
//	trash/<id>.<n>                   renamed aside, emptied or removed later
//	shelf/<n>                        emptied for the next container (shelf)
const (
	specRecord = "spec"
	initSocket = "init.sock"
	jobsFolder = "jobs"
	nextFolder = "next"
	stdoutFile = "stdout"
	stderrFile = "stderr"
	exitFile   = "exit"
	stdinFile  = "stdin"
	// offsetsFile is isolation/output's: how far the output was published.
	offsetsFile = "offsets"
	usedFile    = "used"
	leftFolder  = "left"
)

// What belongs to the node alone, and by these modes to nobody else, may serve
// one tenant after the other.
const (
	// The socket's folder has to be searchable for the agent's own tools; the
	// record itself is root's.
	searchable = 0o711
	// A job's folder is for PID 1, which is a stranger there and has it open.
	// What it has open was lent by a lock: where the mode is another, by an
	// older agent, without one.
	jobMode   = 0o701
	rootsOnly = 0o700
	rootsFile = 0o600
)

// folder is one container's place on disk.
type folder string

func (b *Box) folder(id string) folder { return folder(filepath.Join(b.containers, id)) }

func (f folder) socket() string       { return filepath.Join(string(f), initSocket) }
func (f folder) jobs() string         { return filepath.Join(string(f), jobsFolder) }
func (f folder) next() string         { return filepath.Join(f.jobs(), nextFolder) }
func (f folder) job(n uint32) string  { return filepath.Join(f.jobs(), strconv.Itoa(int(n))) }
func (f folder) exit(n uint32) string { return filepath.Join(f.job(n), exitFile) }

// intend makes the folder with the record in it, before anything else of the
// container exists. The record is written first, while the folder is nobody's
// yet: so a container's folder is there with its record or not at all, at
// whatever moment the agent dies. One without a readable record is of a
// container that was never begun, or was damaged. A folder that is there
// belongs to another's container and is not touched.
func (f folder) intend(spec isolation.Spec, from *shelf) error {
	blank, err := from.take()
	if err != nil {
		return fmt.Errorf("make the container's folder: %w", err)
	}
	// Replaced, and not saved: an empty record is there mostly.
	if err = record.Replace(blank, specRecord, spec); err == nil {
		err = move(blank, string(f))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make the container's folder: %w", err), os.RemoveAll(blank))
	}
	return nil
}

// move renames a folder, and never over another: that is fs.ErrExist.
func move(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// A file system that knows no such wish. It replaces only a folder with
		// nothing in it, which is of nothing that was ever begun.
		return os.Rename(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (f folder) spec() (isolation.Spec, error) {
	var spec isolation.Spec
	err := record.Load(string(f), specRecord, &spec)
	return spec, err
}

// discard moves the folder aside in one rename; what it holds is removed by
// emptyTrash, off the way.
func (b *Box) discard(id string) error {
	err := move(string(b.folder(id)), filepath.Join(b.trash, id+"."+strconv.FormatInt(b.trashed.Add(1), 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// emptyTrash puts on the shelf what the next container can have, and removes
// the rest. One does it at a time: by the time that a second one had looked,
// what it looks at may be another container's.
func (b *Box) emptyTrash() error {
	b.emptying.Lock()
	defer b.emptying.Unlock()
	entries, err := os.ReadDir(b.trash)
	for _, entry := range entries {
		if path := filepath.Join(b.trash, entry.Name()); !b.shelf.keep(path) {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return err
}
