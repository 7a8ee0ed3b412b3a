package journal

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

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
