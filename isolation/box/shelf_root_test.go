package box

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
)

// known is what one can know a file by: which it is and what it lets in.
type known struct {
	inode    uint64
	mode     uint32
	uid, gid uint32
	size     int64
}

// tree is all that lies below dir, by path; of folders the size says nothing.
func tree(t *testing.T, dir string) map[string]known {
	t.Helper()
	found := map[string]known{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err := errors.Join(err, unix.Lstat(path, &st)); err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		k := known{inode: st.Ino, mode: st.Mode, uid: st.Uid, gid: st.Gid, size: st.Size}
		if d.IsDir() {
			k.size = 0
		}
		found[name] = k
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// mustEnd takes a container back.
func mustEnd(t *testing.T, b *Box, id string) {
	t.Helper()
	if err := errors.Join(b.Destroy(t.Context(), id), b.Release(t.Context(), []string{id})); err != nil {
		t.Fatal(err)
	}
}

// shelved are the folders on the shelf, as the disk has them.
func shelved(t *testing.T, b *Box) []string {
	t.Helper()
	entries, err := filepath.Glob(filepath.Join(b.shelf.path, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// The former tenant does all that leaves something in its folder, and the next
// one has the same inodes and sees none of it.
func TestAFolderThatIsUsedAgainShowsNothingOfItsPast(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	first := place(t, m, b, 0)
	spoil := shell(1, "echo secret; echo secret >&2; chmod 777 /proc/self/fd/1; "+
		"(trap '' HUP; sleep 300) & exit 7")
	run(t, b, first.ID, spoil)
	run(t, b, first.ID, shell(2, "echo secret; exit 9"))
	run(t, b, first.ID, shell(3, "echo secret; exit 11"))
	for _, n := range []uint32{1, 2} { // the first's output is held still, so it is left
		if err := b.Forget(t.Context(), first.ID, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, note := range []string{`"secret"`, `"another secret"`} {
		if err := b.Note(t.Context(), first.ID, []byte(note)); err != nil {
			t.Fatal(err)
		}
	}
	past := tree(t, string(b.folder(first.ID)))
	mustEnd(t, b, first.ID)

	kept := shelved(t, b)
	if len(kept) != 1 {
		t.Fatalf("on the shelf are %v", kept)
	}
	empty := tree(t, kept[0])
	want := []string{".", "jobs", "jobs/next", "jobs/next/exit", "jobs/next/stderr", "jobs/next/stdout", "left",
		"spec", "spec.new", "used"}
	if !slices.Equal(names(empty), want) {
		t.Errorf("on the shelf is %v, want %v", names(empty), want)
	}
	for name, k := range empty {
		if k.size != 0 || k.uid != 0 || k.gid != 0 {
			t.Errorf("%s on the shelf is %+v", name, k)
		}
	}

	second := m.spec(1)
	if _, err := b.Create(t.Context(), second, shell(2, "echo mine; sleep 300")); err != nil {
		t.Fatal(err)
	}
	now := tree(t, string(b.folder(second.ID)))
	for name, k := range map[string]known{".": past["."], "jobs": past["jobs"]} {
		if now[name].inode != k.inode {
			t.Errorf("%s was made anew: the test shows nothing", name)
		}
	}
	expectLikeNew(t, m, b, now)
	for n := range uint32(4) {
		if n+1 == 2 {
			continue
		}
		if _, err := b.Wait(t.Context(), second.ID, n+1); !errors.Is(err, isolation.ErrNoJob) {
			t.Errorf("job %d of the former tenant: %v", n+1, err)
		}
	}
	// Numbers that the former one used are free.
	if exit, text := run(t, b, second.ID, shell(1, "echo one; exit 3")); exit.Code != 3 || text != "one\n" {
		t.Errorf("job 1 ended with %+v, said %q", exit, text)
	}
	if text := b.text(second.ID, 2, stdoutFile); text != "mine\n" {
		t.Errorf("job 2 said %q", text)
	}
}

// expectLikeNew compares with a container in a folder that was made for it.
func expectLikeNew(t *testing.T, m *machine, b *Box, now map[string]known) {
	t.Helper()
	spec := m.spec(1)
	made := folder(filepath.Join(t.TempDir(), spec.ID))
	fresh := &shelf{path: t.TempDir()}
	if err := made.intend(spec, fresh); err != nil {
		t.Fatal(err)
	}
	files, err := made.openJob(*shell(2, ""), b.ownerOf(spec, *shell(2, "")))
	if err != nil {
		t.Fatal(err)
	}
	defer files.close()
	for name, want := range tree(t, string(made)) {
		got := now[name]
		if got.mode != want.mode || got.uid != want.uid || got.gid != want.gid {
			t.Errorf("%s is %+v, a new one %+v", name, got, want)
		}
	}
}

// What is held by somebody, or is not as it was made, serves nobody else.
func TestWhatMayBeKnownToSomebodyIsNotUsedAgain(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, f folder){
		"an exit record that is held": func(t *testing.T, f folder) { hold(t, f.exit(1), unix.O_RDWR) },
		"a job's folder that is held": func(t *testing.T, f folder) {
			hold(t, f.job(1), unix.O_RDONLY|unix.O_DIRECTORY)
		},
		"a job's folder of an older agent": func(t *testing.T, f folder) {
			must(t, os.Chmod(f.job(1), 0o711))
		},
		"an exit record of another's": func(t *testing.T, f folder) {
			must(t, os.Chown(f.exit(1), 1000, 0))
		},
		"an exit record of another's group": func(t *testing.T, f folder) {
			must(t, os.Chown(f.exit(1), 0, 1000))
		},
		"an exit record with two names": func(t *testing.T, f folder) {
			must(t, os.Link(f.exit(1), filepath.Join(t.TempDir(), "second")))
		},
		"an exit record that is a pipe": func(t *testing.T, f folder) {
			must(t, errors.Join(os.Remove(f.exit(1)), unix.Mkfifo(f.exit(1), 0o600)))
		},
		"an exit record that is a link": func(t *testing.T, f folder) {
			must(t, errors.Join(os.Remove(f.exit(1)), os.Symlink(string(f), f.exit(1))))
		},
	} {
		t.Run(name, func(t *testing.T) { expectAnew(t, exitFile, spoil) })
	}
}

// expectAnew does something to a file of a job, and wants it to serve nobody else.
func expectAnew(t *testing.T, file string, spoil func(t *testing.T, f folder)) {
	t.Helper()
	f, s := usedFolder(t)
	before := tree(t, string(f))
	spoil(t, f)
	if !s.keep(string(f)) {
		t.Fatal("the folder itself was not kept")
	}
	for path, k := range tree(t, s.ready[0]) {
		if filepath.Base(path) == file && k.inode == before["jobs/1/"+file].inode {
			t.Error("the file is there:", path)
		}
	}
}

// A job's user owns its output: what he did to it is undone, or it serves nobody else.
func TestOutputIsUsedAgainOnlyAsNew(t *testing.T) {
	output := func(f folder) string { return filepath.Join(f.job(1), stdoutFile) }
	for name, spoil := range map[string]func(t *testing.T, f folder){
		"open for reading": func(t *testing.T, f folder) { held(t, output(f), unix.O_RDONLY) },
		"open for writing": func(t *testing.T, f folder) { held(t, output(f), unix.O_WRONLY) },
		"with an attribute": func(t *testing.T, f folder) {
			must(t, unix.Setxattr(output(f), "user.note", []byte("secret"), 0))
		},
		"with an access list": func(t *testing.T, f folder) {
			// Version 2, five entries: the owner, uid 1, the group, the mask, others.
			list := []byte{2, 0, 0, 0}
			for _, e := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, 6, 1}, {4, 4, 1<<32 - 1}, {16, 6, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
				list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
				list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
				list = binary.LittleEndian.AppendUint32(list, e[2])
			}
			must(t, unix.Setxattr(output(f), "system.posix_acl_access", list, 0))
		},
		"with a flag": func(t *testing.T, f folder) {
			file, err := os.Open(output(f))
			must(t, err)
			defer file.Close()
			must(t, unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, 0x40|0x80000)) // nodump, and ext4's own
		},
		"with two names": func(t *testing.T, f folder) {
			must(t, os.Link(output(f), filepath.Join(t.TempDir(), "second")))
		},
		"that is a pipe": func(t *testing.T, f folder) {
			must(t, errors.Join(os.Remove(output(f)), unix.Mkfifo(output(f), 0o600)))
		},
		"that is a link": func(t *testing.T, f folder) {
			must(t, errors.Join(os.Remove(output(f)), os.Symlink(f.exit(1), output(f))))
		},
	} {
		t.Run(name, func(t *testing.T) { expectAnew(t, stdoutFile, spoil) })
	}
	f, s := usedFolder(t)
	before := tree(t, string(f))["jobs/1/"+stdoutFile]
	must(t, errors.Join(os.Chmod(output(f), 0o4777), os.WriteFile(output(f), []byte("secret"), 0)))
	if !s.keep(string(f)) {
		t.Fatal("the folder was not kept")
	}
	now := tree(t, s.ready[0])["jobs/next/"+stdoutFile]
	if want := (known{inode: before.inode, mode: unix.S_IFREG | 0o600}); now != want {
		t.Errorf("it is %+v, want %+v", now, want)
	}
}

// held opens a file for as long as the test lasts.
func held(t *testing.T, name string, flags int) {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hold is a PID 1's copy of what it was lent.
func hold(t *testing.T, name string, flags int) {
	t.Helper()
	file, err := lend(name, flags)
	must(t, err)
	copied, err := unix.Dup(int(file.Fd()))
	must(t, errors.Join(err, file.Close()))
	t.Cleanup(func() { unix.Close(copied) })
}

// usedFolder is one with a job that has ended, and a shelf for it.
func usedFolder(t *testing.T) (folder, *shelf) {
	t.Helper()
	dir := t.TempDir()
	s, err := openShelf(filepath.Join(dir, "shelf"))
	must(t, err)
	f := folder(filepath.Join(dir, "f"))
	must(t, f.intend(isolation.Spec{ID: "f"}, s))
	files, err := f.openJob(isolation.Job{Number: 1, Stdin: []byte("in")}, 1000)
	must(t, err)
	_, err = files.exit.WriteString("an exit")
	must(t, err)
	files.close()
	return f, s
}

func TestTheShelfIsBounded(t *testing.T) {
	dir := t.TempDir()
	s, err := openShelf(filepath.Join(dir, "shelf"))
	must(t, err)
	const more = 5
	kept := 0
	for i := range shelfMax + more {
		f := folder(filepath.Join(dir, fmt.Sprint(i)))
		must(t, os.Mkdir(string(f), searchable))
		if s.keep(string(f)) {
			kept++
		}
	}
	if left, _ := filepath.Glob(s.path + "/*"); kept != shelfMax || len(left) != shelfMax {
		t.Errorf("%d were kept and %d are there, want %d", kept, len(left), shelfMax)
	}
	// A successor's shelf has no more either, and gives out names of nobody.
	for i := range more {
		must(t, os.Mkdir(filepath.Join(s.path, fmt.Sprint(1000+i)), searchable))
	}
	s, err = openShelf(s.path)
	must(t, err)
	if left, _ := filepath.Glob(s.path + "/*"); len(s.ready) != shelfMax || len(left) != shelfMax {
		t.Errorf("the successor has %d, and %d are there", len(s.ready), len(left))
	}
	taken := map[string]bool{}
	for range shelfMax + more {
		path, err := s.take()
		if err != nil || taken[path] {
			t.Fatalf("took %s, %v, a second time", path, err)
		}
		taken[path] = true
	}
}

// What lies there when an agent begins is whatever the last one was about.
func TestAShelfIsTakenOverEmptied(t *testing.T) {
	f, s := usedFolder(t)
	half := filepath.Join(s.path, "7") // has a record, but not its place yet
	must(t, os.Rename(string(f), half))
	must(t, record.Save(s.path, "junk", "secret"))
	must(t, os.Symlink("/etc", filepath.Join(s.path, "8")))
	must(t, os.WriteFile(filepath.Join(s.path, "9"), []byte("secret"), 0o600))
	must(t, os.MkdirAll(filepath.Join(s.path, "not a number", "deep"), 0o755))
	must(t, os.Mkdir(filepath.Join(s.path, "10"), 0o777))

	s, err := openShelf(s.path)
	must(t, err)

	if want := []string{half}; !slices.Equal(s.ready, want) {
		t.Errorf("ready is %v, want %v", s.ready, want)
	}
	want := []string{".", "7", "7/jobs", "7/jobs/next", "7/jobs/next/exit", "7/jobs/next/stderr",
		"7/jobs/next/stdout", "7/spec"}
	left := tree(t, s.path)
	if !slices.Equal(names(left), want) || left["7/spec"].size+left["7/jobs/next/exit"].size != 0 {
		t.Errorf("there is %+v, want %v, empty", left, want)
	}
	if next := s.fresh(); filepath.Base(next) != "8" {
		t.Errorf("the next is %s", next)
	}
}

func TestAContainersFolderIsNeverReplaced(t *testing.T) {
	f, s := usedFolder(t)
	before := tree(t, string(f))
	if err := f.intend(isolation.Spec{ID: "f"}, s); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v, want fs.ErrExist", err)
	}
	if now := tree(t, string(f)); !maps.Equal(now, before) {
		t.Errorf("it is %v, was %v", now, before)
	}
	empty := folder(filepath.Join(t.TempDir(), "empty")) // as an older agent has it for a moment
	must(t, os.Mkdir(string(empty), searchable))
	if err := empty.intend(isolation.Spec{ID: "empty"}, s); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an empty one: error is %v, want fs.ErrExist", err)
	}
	if left, _ := filepath.Glob(s.path + "/*"); len(left) != 0 {
		t.Errorf("left on the shelf: %v", left)
	}
}

// One job after the other, each forgotten: folder and exit record are those of
// the one before, and only what it says is new.
func TestAForgottenJobsFolderIsTheNextOnes(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	again := 0
	var last known
	for n := uint32(1); n <= 20; n++ {
		exit, text := run(t, b, spec.ID, script(n, fmt.Sprintf("echo %d; exit %d", n, n)))
		if exit.Code != int(n) || text != fmt.Sprintln(n) {
			t.Fatalf("job %d ended with %+v, said %q", n, exit, text)
		}
		now := tree(t, b.JobFolder(spec.ID, n))
		if want := []string{".", "exit", "stderr", "stdout"}; !slices.Equal(names(now), want) {
			t.Fatalf("job %d has %v", n, names(now))
		}
		if now["."].inode == last.inode {
			again++
		}
		last = now["."]
		// As soon as PID 1 has let it go; a moment before, the folder waits.
		wait(t, "the folder to be nobody's", func() bool {
			fd, err := claimed(b.JobFolder(spec.ID, n), unix.O_RDONLY|unix.O_DIRECTORY, unix.S_IFDIR|jobMode)
			return err == nil && unix.Close(fd) == nil
		})
		must(t, b.Forget(t.Context(), spec.ID, n))
		if err := b.Spawn(t.Context(), spec.ID, *shell(n, "true")); !errors.Is(err, errUsed) {
			t.Fatalf("job %d once more: %v", n, err)
		}
	}
	if again != 19 {
		t.Errorf("%d of 19 had the folder of the one before", again)
	}
}

// What a former job's output was followed to is nobody's any more, and no damage.
func TestAFolderThatIsUsedAgainIsNotCalledDamaged(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	first := place(t, m, b, 0)
	run(t, b, first.ID, shell(1, "echo mine"))
	must(t, record.Save(b.JobFolder(first.ID, 1), offsetsFile, map[string]int64{"stdout": 5}))
	mustEnd(t, b, first.ID)
	second := place(t, m, b, 1)
	run(t, b, second.ID, shell(1, "echo mine"))
	var taken map[string]int64
	must(t, record.Load(b.JobFolder(second.ID, 1), offsetsFile, &taken)) // else the test shows nothing
	if len(taken) != 0 {
		t.Errorf("of the next one's output was taken %v", taken)
	}
	if notes := b.inspect(second); len(notes) != 0 {
		t.Errorf("it is said that %q", notes)
	}
}

// PID 1 lets a job's folder go a moment after it told of the end. Forgotten
// before that, nothing of what the job said is left, and the folder waits.
func TestAJobForgottenBeforePID1LetItGoLeavesOnlyItsFolder(t *testing.T) {
	f, _ := usedFolder(t)
	hold(t, f.job(1), unix.O_RDONLY|unix.O_DIRECTORY)
	must(t, errors.Join(f.leave(1), f.clearLeft()))
	want := []string{".", "1", "1/exit"}
	if left := names(tree(t, filepath.Join(string(f), leftFolder))); !slices.Equal(left, want) {
		t.Errorf("left is %v, want %v", left, want)
	}
	if _, err := os.Stat(f.next()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the next job's folder: %v", err)
	}
}
