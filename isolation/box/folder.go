package box

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

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
//	containers/<id>/jobs/<n>/stdin   gone as soon as the job has it open
//	containers/<id>/used             one bit for each job that was forgotten
//	containers/<id>/left/<n>         of one whose output is still written to
//	trash/<id>.<n>                   renamed aside, removed later
const (
	specRecord = "spec"
	initSocket = "init.sock"
	stdoutFile = "stdout"
	stderrFile = "stderr"
	exitFile   = "exit"
	stdinFile  = "stdin"
	usedFile   = "used"
	leftFolder = "left"
)

// folder is one container's place on disk.
type folder string

func (b *Box) folder(id string) folder { return folder(filepath.Join(b.containers, id)) }

func (f folder) socket() string       { return filepath.Join(string(f), initSocket) }
func (f folder) job(n uint32) string  { return filepath.Join(string(f), "jobs", strconv.Itoa(int(n))) }
func (f folder) exit(n uint32) string { return filepath.Join(f.job(n), exitFile) }

// intend makes the folder and the record in it, before anything else of the
// container exists: a folder without a readable record is of a container that
// was never begun. A folder that is there belongs to another's container and
// is not touched.
func (f folder) intend(spec isolation.Spec) error {
	// 0711: PID 1 connects nothing by path, but the socket's folder has to be
	// searchable for the agent's own tools; the record itself is 0600.
	if err := os.Mkdir(string(f), 0o711); err != nil {
		return fmt.Errorf("make the container's folder: %w", err)
	}
	if err := record.Save(string(f), specRecord, spec); err != nil {
		return errors.Join(err, os.RemoveAll(string(f)))
	}
	return nil
}

func (f folder) spec() (isolation.Spec, error) {
	var spec isolation.Spec
	err := record.Load(string(f), specRecord, &spec)
	return spec, err
}

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
	if files.exit, err = os.OpenFile(f.exit(job.Number), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return files, err
	}
	files.dir, err = os.Open(dir)
	return files, err
}

// claim makes the folder of a job whose number was never used.
func (f folder) claim(n uint32) error {
	used, err := f.used(n)
	if err != nil {
		return err
	}
	if used {
		return errUsed
	}
	dir := f.job(n)
	err = os.Mkdir(dir, 0o711)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(dir), 0o711); err == nil {
			err = os.Mkdir(dir, 0o711)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return errUsed
	}
	return err
}

// openInput opens what the job is to read: a file, so that a shell which reads
// its script ahead can go back and leave the rest to a command. It has no name
// by the time that the job runs, and belongs to nobody inside: nobody but who
// inherits the descriptor reads it. Where it is opened by the name /dev/stdin,
// which would begin at its beginning again, that is refused as for a pipe of
// another's.
func openInput(name string, content []byte) (*os.File, error) {
	if len(content) == 0 {
		return os.Open(os.DevNull)
	}
	if err := os.WriteFile(name, content, 0o400); err != nil {
		return nil, errors.Join(err, os.Remove(name))
	}
	file, err := os.Open(name)
	return file, errors.Join(err, os.Remove(name))
}

// openNowhere is openOutput for a job whose output nobody wants.
func openNowhere(string, int) (*os.File, error) { return os.OpenFile(os.DevNull, os.O_RDWR, 0) }

// openOutput opens for reading too: PID 1 punches holes through the same
// descriptor that the job writes to.
func openOutput(name string, owner int) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Chown(owner, owner); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// discard moves the folder aside in one rename; what it holds is removed by
// emptyTrash, off the way.
func (b *Box) discard(id string) error {
	err := os.Rename(string(b.folder(id)), filepath.Join(b.trash, id+"."+strconv.FormatInt(b.trashed.Add(1), 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (b *Box) emptyTrash() error {
	entries, err := os.ReadDir(b.trash)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.trash, entry.Name())))
	}
	return err
}
