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
	"github.com/deacon-agent/deacon/isolation/initproto"
)

// jobFiles are the descriptors that a job and its PID 1 get.
type jobFiles struct{ stdin, stdout, stderr, exit, dir *os.File }

// list is the order in which PID 1 expects them.
func (j jobFiles) list() []*os.File {
	return []*os.File{j.stdin, j.stdout, j.stderr, j.exit, j.dir}
}

func (j jobFiles) close() { closeAll(j.list()) }

// errUsed says that a job's number is not free, for ever.
var errUsed = fmt.Errorf("the number was used before: %w", fs.ErrExist)

// openJob makes the job's folder and the files in it. The output files belong
// to the job's user, so that an application that opens /dev/stdout by name may
// do so; the exit record belongs to nobody inside and is reached only through
// PID 1's descriptor. A folder that is there belongs to another job.
func (f folder) openJob(job isolation.Job, owner int) (_ jobFiles, err error) {
	if err := f.claim(job.Number); err != nil {
		return jobFiles{}, err
	}
	dir := f.job(job.Number)
	var files jobFiles
	defer func() {
		if err != nil {
			files.close()
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if files.stdin, err = openInput(filepath.Join(dir, stdinFile), job.Stdin); err != nil {
		return files, err
	}
	output := openOutput
	if job.Discard {
		output = openNowhere
	}
	if files.stdout, err = output(filepath.Join(dir, stdoutFile), owner); err != nil {
		return files, err
	}
	if files.stderr, err = output(filepath.Join(dir, stderrFile), owner); err != nil {
		return files, err
	}
	if files.exit, err = lend(f.exit(job.Number), unix.O_RDWR|unix.O_CREAT); err != nil {
		return files, err
	}
	// Room for how it ends, should the disk be full by then. A file system that
	// can't say so gives it when it is written.
	_ = unix.Fallocate(int(files.exit.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, initproto.ExitSize)
	files.dir, err = lend(dir, unix.O_RDONLY|unix.O_DIRECTORY)
	return files, err
}

// claim makes the folder of a job whose number was never used. Whether it was,
// is asked last: who forgets a job notes its number before the folder goes, so
// a folder that could be made while that was under way is found out.
func (f folder) claim(n uint32) error {
	dir := f.job(n)
	err := move(f.next(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = f.makeJob(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		return errUsed
	}
	if err != nil {
		return err
	}
	used, err := f.used(n)
	if err == nil && used {
		err = errUsed
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

func (f folder) makeJob(dir string) error {
	err := os.Mkdir(dir, jobMode)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(f.jobs(), searchable); err != nil {
		return err
	}
	return os.Mkdir(dir, jobMode)
}

// open is os.OpenFile for what is only handed on: it doesn't try to wait for
// it with the runtime's poller, which takes no file of a disk.
func open(name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Open(name, flags|unix.O_CLOEXEC, mode)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// lend opens what PID 1 may hold on to for longer than the agent knows. The
// lock goes with the descriptor: it ends with the last copy of it, wherever
// that is, and until then nothing is made of the file for anybody else (blank).
func lend(name string, flags int) (*os.File, error) {
	file, err := open(name, flags, rootsFile)
	if err != nil {
		return nil, err
	}
	// Waiting: a process that was forked while the file was emptied may have it
	// until its exec.
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH); err != nil {
		file.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return file, nil
}

// memoryInput is how long an input may be that is kept in memory: scripts are
// shorter, and a file that lives for a moment costs more than its bytes.
const memoryInput = 64 << 10

// openInput opens what the job is to read: a file, so that a shell which reads
// its script ahead can go back and leave the rest to a command. It has no name
// by the time that the job runs, and belongs to nobody inside: nobody but who
// inherits the descriptor reads it. Where it is opened by the name /dev/stdin,
// which would begin at its beginning again, that is refused as for a pipe of
// another's.
func openInput(name string, content []byte) (*os.File, error) {
	if len(content) == 0 {
		return open(os.DevNull, unix.O_RDONLY, 0)
	}
	if len(content) <= memoryInput {
		if file, err := openMemory(content); err == nil {
			return file, nil
		}
	}
	if err := os.WriteFile(name, content, 0o400); err != nil {
		return nil, errors.Join(err, os.Remove(name))
	}
	file, err := open(name, unix.O_RDONLY, 0)
	return file, errors.Join(err, os.Remove(name))
}

// openMemory is a file that never had a name, open for reading only.
func openMemory(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(stdinFile, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), stdinFile)
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		return nil, err
	}
	if err := file.Chmod(0o400); err != nil {
		return nil, err
	}
	return open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY, 0)
}

// openNowhere is openOutput for a job whose output nobody wants.
func openNowhere(string, int) (*os.File, error) { return open(os.DevNull, unix.O_RDWR, 0) }

// openOutput opens for reading too: PID 1 punches holes through the same
// descriptor that the job writes to. The file is new or as new (scrub).
func openOutput(name string, owner int) (*os.File, error) {
	const flags = unix.O_RDWR | unix.O_APPEND | unix.O_NOFOLLOW
	file, err := open(name, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = open(name, flags|unix.O_CREAT|unix.O_EXCL, rootsFile)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Fchown(int(file.Fd()), owner, owner); err != nil {
		file.Close()
		return nil, &fs.PathError{Op: "chown", Path: name, Err: err}
	}
	return file, nil
}
