package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// What changes while the disk is full is on record all the same: the journal has
// room of its own, also after a successor opened it and after it was written anew.
func TestAFullDiskTakesTheJournalsOwnChanges(t *testing.T) {
	folder := t.TempDir()
	if err := unix.Mount("deacon-test", folder, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	path := filepath.Join(folder, "j")
	j, _, _ := opened(t, path)
	mustAppend(t, j, put("a", `"before"`))
	fill(t, filepath.Join(folder, "ballast"))
	value := `"` + strings.Repeat("x", 1<<10) + `"`
	for range 100 {
		mustAppend(t, j, put("a", value))
	}
	j, found, notes := opened(t, path)
	if found["a"] != value || len(notes) > 0 {
		t.Errorf("found %v, %q", found, notes)
	}
	for range 10 {
		mustAppend(t, j, put("b", value), forget("a"))
	}
	if _, found, _ := opened(t, path); found["b"] != value || len(found) != 1 {
		t.Errorf("a successor on the full disk leaves %v", found)
	}
	if err := os.Remove(filepath.Join(folder, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := j.Rewrite([]Change{put("c", value)}); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(folder, "ballast"))
	mustAppend(t, j, put("d", value))
}

// fill leaves no byte of a disk free.
func fill(t *testing.T, name string) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// On a full disk a change is refused whole, also where the half of it found
// room, and nothing that was said before is lost.
func TestAFullDiskRefusesAChangeWhole(t *testing.T) {
	folder := t.TempDir()
	if err := unix.Mount("deacon-test", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	path := filepath.Join(folder, "j")
	j, _, _ := opened(t, path)
	mustAppend(t, j, put("a", "1"))
	large := put("b", `"`+strings.Repeat("x", 80<<10)+`"`)
	for range 3 {
		if err := j.Append([]Change{put("a", "2"), large}); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("error is %v, want that the disk is full", err)
		}
	}
	if err := j.Rewrite([]Change{put("a", "3"), large}); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("error is %v, want that the disk is full", err)
	}
	mustAppend(t, j, put("c", "3"))
	_, found, notes := opened(t, path)
	if len(found) != 2 || found["a"] != "1" || found["c"] != "3" || len(notes) > 0 {
		t.Errorf("found %v, %q", found, notes)
	}
	if names, _ := filepath.Glob(path + "*"); len(names) != 1 {
		t.Errorf("left are %q", names)
	}
}
