package record

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func openFolder(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustSave(t *testing.T, f *Folder, name string, v any) {
	t.Helper()
	if err := f.Save(name, v); err != nil {
		t.Fatal(err)
	}
}

func expectFact(t *testing.T, dir, name string, want fact) {
	t.Helper()
	var got fact
	if err := Load(dir, name, &got); err != nil || got != want {
		t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
	}
}

func TestAFolderKeepsTheLastValue(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	// The second is shorter than the first, the third longer.
	for _, name := range []string{"middling", "x", strings.Repeat("long", 3000)} {
		mustSave(t, f, "r", fact{Name: name, Count: len(name)})
		expectFact(t, dir, "r", fact{Name: name, Count: len(name)})
	}
	if err := errors.Join(f.Remove("r"), f.Remove("r"), f.Remove("never")); err != nil {
		t.Error(err)
	}
	if err := Load(dir, "r", &fact{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
	mustSave(t, f, "s", fact{Name: "after"})
	expectFact(t, dir, "s", fact{Name: "after"})
}

// numbers are the inodes of all files below dir.
func numbers(t *testing.T, dir string) map[uint64]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]bool{}
	for _, entry := range entries {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, entry.Name()), &st); err != nil {
			t.Fatal(err)
		}
		found[st.Ino] = true
	}
	return found
}

func TestAFolderUsesItsFilesAgain(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	for i := range 3 {
		mustSave(t, f, fmt.Sprint("r", i), fact{Count: i})
		mustSave(t, f, fmt.Sprint("r", i), fact{Count: -i})
	}
	first := numbers(t, dir)
	for i := range 50 {
		mustSave(t, f, "r1", fact{Count: i})
		if err := f.Remove("r2"); err != nil {
			t.Fatal(err)
		}
		mustSave(t, f, "r2", fact{Count: i})
		for ino := range numbers(t, dir) {
			if !first[ino] {
				t.Fatalf("round %d made a new file", i)
			}
		}
	}
}

// What a record was must not lie about: it may have held secrets.
func TestAFolderEmptiesWhatItKeeps(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	for i := range sparesMax + 9 {
		mustSave(t, f, fmt.Sprint("r", i), fact{Name: "hunter2"})
	}
	mustSave(t, f, "r0", fact{Name: "harmless"})
	for i := range sparesMax + 8 {
		if err := f.Remove(fmt.Sprint("r", i+1)); err != nil {
			t.Fatal(err)
		}
	}

	names, err := filepath.Glob(dir + "/*")
	if err != nil || len(names) != 1+sparesMax {
		t.Errorf("%d files, %v; want the record and %d spare ones", len(names), err, sparesMax)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil || strings.Contains(string(content), "hunter2") {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
}

func TestAFolderTakesOverWhatWasLeft(t *testing.T) {
	dir := t.TempDir()
	mustSave(t, openFolder(t, dir), "r", fact{Name: "stays"})
	for _, name := range []string{"7", "2", "half"} {
		if err := os.WriteFile(filepath.Join(dir, name+temporarySuffix), []byte("hunter2"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := openFolder(t, dir)
	for _, name := range []string{"7", "2"} {
		content, err := os.ReadFile(filepath.Join(dir, name+temporarySuffix))
		if err != nil || len(content) != 0 {
			t.Errorf("%s: %q, %v; want it emptied", name, content, err)
		}
	}
	first := numbers(t, dir)
	for i := range 2 {
		mustSave(t, f, fmt.Sprint("new", i), fact{Count: i})
	}
	if now := numbers(t, dir); len(now) != 3 || !maps.Equal(now, first) {
		t.Errorf("files are %v, were %v", now, first)
	}
	// Names that are given out from now on are nobody's.
	mustSave(t, f, "new2", fact{Count: 2})
	if err := errors.Join(f.Remove("new0"), f.Remove("new1")); err != nil {
		t.Error(err)
	}
	expectFact(t, dir, "new2", fact{Count: 2})
	expectFact(t, dir, "r", fact{Name: "stays"})
}

// Some file systems know no exchange of two names.
func TestAFolderWorksWhereNamesCantBeExchanged(t *testing.T) {
	for name, known := range map[string]uint{"neither": 0, "only noreplace": unix.RENAME_NOREPLACE} {
		dir := t.TempDir()
		f := openFolder(t, dir)
		f.rename = func(from, to string, flags uint) error {
			if flags&^known != 0 {
				return unix.EINVAL
			}
			return rename(from, to, flags)
		}
		for i := range 3 {
			mustSave(t, f, "r", fact{Name: name, Count: i})
			expectFact(t, dir, "r", fact{Name: name, Count: i})
		}
		if found, _ := names(dir); !slices.Equal(found, []string{"r"}) {
			t.Errorf("%s: names are %q", name, found)
		}
	}
}

func TestAFailedSaveLeavesTheOldValue(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	mustSave(t, f, "r", fact{Name: "old"})
	if err := f.Save("r", func() {}); err == nil {
		t.Error("a function was saved")
	}
	if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(f.made+1)+temporarySuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Save("r", fact{Name: "new"}); !errors.Is(err, unix.EISDIR) {
		t.Errorf("error is %v, want EISDIR", err)
	}
	expectFact(t, dir, "r", fact{Name: "old"})
}

func TestAFolderServesManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	f := openFolder(t, dir)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			name := fmt.Sprint("r", i)
			for n := range 100 {
				if err := f.Save(name, fact{Name: name, Count: n}); err != nil {
					t.Error(err)
				}
				if n%10 == 5 {
					if err := f.Remove(name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	for i := range 8 {
		name := fmt.Sprint("r", i)
		expectFact(t, dir, name, fact{Name: name, Count: 99})
	}
}
