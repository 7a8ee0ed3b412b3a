package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// Forget takes away what is left of a job that has ended: its output, and the
// record of how it did. Its number stays used. What a process that the job left
// behind still writes to is taken away when that has ended too; it is bounded
// until then. Forgetting what is forgotten succeeds.
func (b *Box) Forget(ctx context.Context, id string, job uint32) error {
	if err := b.forget(ctx, id, job); err != nil {
		return fmt.Errorf("box: forget job %d of %s: %w", job, id, err)
	}
	return nil
}

func (b *Box) forget(ctx context.Context, id string, job uint32) error {
	over, err := b.turns.take(ctx, id)
	if err != nil {
		return err
	}
	defer over()
	c, err := b.holdOf(ctx, id)
	if err != nil && !errors.Is(err, isolation.ErrGone) {
		return err
	}
	if err == nil && c.init.Runs(job) {
		return errors.New("it runs")
	}
	f := b.folder(id)
	if f.forgot(job) {
		return f.clearLeft()
	}
	// First, so that the number is used whatever comes of the rest.
	if err := f.use(job); err != nil {
		return err
	}
	return errors.Join(f.leave(job), f.clearLeft())
}

// holdOf is find for whoever has the container's turn.
func (b *Box) holdOf(ctx context.Context, id string) (*container, error) {
	if c := b.held(id); c != nil {
		return c, nil
	}
	spec, err := b.folder(id).spec()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, isolation.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	return b.reach(ctx, spec)
}

// forgot says whether nothing is left of a job, or nothing ever was.
func (f folder) forgot(n uint32) bool {
	_, err := os.Lstat(f.job(n))
	return errors.Is(err, fs.ErrNotExist)
}

// used says whether a job of that number was forgotten.
func (f folder) used(n uint32) (bool, error) {
	file, err := open(filepath.Join(string(f), usedFile), unix.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	var bits [1]byte
	if _, err := file.ReadAt(bits[:], int64(n/8)); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bits[0]&(1<<(n%8)) != 0, nil
}

// use notes that the number is. One byte is written, so no reader and no
// successor finds half of it; the caller has the container's turn.
func (f folder) use(n uint32) error {
	file, err := open(filepath.Join(string(f), usedFile), unix.O_RDWR|unix.O_CREAT, rootsFile)
	if err != nil {
		return err
	}
	var bits [1]byte
	if _, err := file.ReadAt(bits[:], int64(n/8)); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, file.Close())
	}
	bits[0] |= 1 << (n % 8)
	_, err = file.WriteAt(bits[:], int64(n/8))
	return errors.Join(err, file.Close())
}

// leave moves a job's folder aside: who writes to what is in it by a path of
// the folder as it was writes nowhere from then on. PID 1 may have it open, and
// goes on bounding what is in it.
func (f folder) leave(n uint32) error {
	aside := filepath.Join(string(f), leftFolder)
	to := filepath.Join(aside, strconv.Itoa(int(n)))
	err := move(f.job(n), to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(aside, rootsOnly); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return move(f.job(n), to)
}

// clearLeft removes what was moved aside and is not written to any more. One
// folder of those is the next job's; of one that PID 1 has not let go of yet,
// which it does a moment after it told of the end, only the folder waits for
// the next time.
func (f folder) clearLeft() error {
	aside := filepath.Join(string(f), leftFolder)
	entries, err := os.ReadDir(aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, entry := range entries {
		if dir := filepath.Join(aside, entry.Name()); quiet(dir) {
			err = errors.Join(err, f.clear(dir))
		}
	}
	return err
}

// clear takes away all that a job said.
func (f folder) clear(dir string) error {
	switch err := retire(dir, f.next()); {
	case err == nil:
		return nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return errors.Join(remove(filepath.Join(dir, stdoutFile)), remove(filepath.Join(dir, stderrFile)))
	default:
		return os.RemoveAll(dir)
	}
}

func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// quiet makes sure that nobody writes to a job's output and nobody can begin
// to, not even the container's root by a descriptor that it kept: a file that
// has no name any more must not grow.
func quiet(dir string) bool {
	for _, name := range []string{stdoutFile, stderrFile} {
		if !seal(filepath.Join(dir, name)) {
			return false
		}
	}
	return true
}

// seal is PID 1's seal (cmd/deacon-init) with the rights of the node.
func seal(name string) bool {
	file, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return false
	}
	defer unix.Close(file) // and gives the lease back
	var before unix.Stat_t
	if unix.Fstat(file, &before) != nil || unix.Fchown(file, 0, 0) != nil {
		return false
	}
	if _, err := unix.FcntlInt(uintptr(file), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		unix.Fchown(file, int(before.Uid), int(before.Gid)) // PID 1 has to reach it for as long as it grows
		return false
	}
	return true
}
