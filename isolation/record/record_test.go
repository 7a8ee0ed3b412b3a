package record

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

type fact struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

func TestARecordComesBackAsItWasSaved(t *testing.T) {
	dir := t.TempDir()
	for name, save := range map[string]func(string, string, any) error{"plain": Save, "durable": SaveDurable} {
		want := fact{Name: name, Count: 7}
		if err := save(dir, name, want); err != nil {
			t.Fatal(err)
		}

		var got fact
		if err := Load(dir, name, &got); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	if found, _ := names(dir); !slices.Equal(found, []string{"durable", "plain"}) {
		t.Errorf("names are %v", found)
	}
}

// Every single bit that flips, and every length the file may be cut to, has to
// be noticed.
func TestDamageIsNoticedWhereverItIs(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, "r", fact{Name: "x", Count: 1}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "r"))
	if err != nil {
		t.Fatal(err)
	}
	expectCorrupt := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "r"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		var got fact
		if err := Load(dir, "r", &got); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error is %v, want ErrCorrupt", what, err)
		}
	}
	for i := range whole {
		for bit := range 8 {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << bit
			expectCorrupt("bit flipped", damaged)
		}
		expectCorrupt("truncated", whole[:i])
	}
}

func TestWhatIsNotThereIsSaidSo(t *testing.T) {
	dir := t.TempDir()
	var got fact
	if err := Load(dir, "nothing", &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want fs.ErrNotExist", err)
	}
}

func TestAnUnfinishedRecordIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r"+temporarySuffix), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}

	if found, err := names(dir); err != nil || len(found) != 0 {
		t.Errorf("names are %v, %v; want none", found, err)
	}
	if err := Save(dir, "r", fact{}); err != nil {
		t.Errorf("a left-over hinders the next save: %v", err)
	}
}

// names are the files in dir that are records.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, entry := range entries {
		if !IsSpare(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

func TestARecordIsReplacedByTheSameTwoFiles(t *testing.T) {
	dir := t.TempDir()
	var first map[uint64]bool
	for i, name := range []string{"first", "a longer second", "3", "the fourth"} {
		if err := Replace(dir, "r", fact{Name: name, Count: i}); err != nil {
			t.Fatal(err)
		}
		var got fact
		if err := Load(dir, "r", &got); err != nil || got.Name != name {
			t.Errorf("got %+v, %v; want %s", got, err, name)
		}
		if i == 1 {
			first = numbers(t, dir)
		}
	}
	if now := numbers(t, dir); len(now) != 2 || !maps.Equal(now, first) {
		t.Errorf("files are %v, were %v", now, first)
	}
	if found, err := names(dir); err != nil || !slices.Equal(found, []string{"r"}) {
		t.Errorf("records are %q, %v", found, err)
	}
}

// numbers are the inode numbers of a folder's files.
func numbers(t *testing.T, dir string) map[uint64]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uint64]bool{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		found[info.Sys().(*syscall.Stat_t).Ino] = true
	}
	return found
}
