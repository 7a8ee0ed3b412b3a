package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// The pool is a sparse image. Where the file system below has no room left the
// kernel can't write the pool, ends writing to it for good, and refuses to mount
// it again for as long as a container stands on it. The next agent must start
// all the same, with a pool for new areas, and leave the old ones readable.
func TestAPoolThatAFullDiskBrokeIsReplaced(t *testing.T) {
	dir := state(t)
	if err := unix.Mount("deacon-disk", dir, "tmpfs", 0, "size=300m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	d := openFor(t, dir, "btrfs")
	area, err := d.Create("s1.1", Quota{Bytes: 256 << 20}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	defer area.Close() // as a living container holds it
	kept := filepath.Join(dir, "kept")
	if err := os.WriteFile(kept, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for size := int64(128 << 20); size >= 4096; size /= 2 {
		for at, _ := ballast.Seek(0, 2); unix.Fallocate(int(ballast.Fd()), 0, at, size) == nil; {
			at, _ = ballast.Seek(0, 2)
		}
	}
	if written, err := fill(area, 128<<20); err == nil {
		t.Fatalf("%d bytes were written on a full disk", written)
	}
	if err := breaks(area); err == nil {
		t.Fatal("the pool is not broken: the test has no subject")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	ballast.Close()

	next, notes, err := Open(Config{Dir: dir, Driver: "btrfs", PoolBytes: 512 << 20})
	if err != nil {
		t.Fatal("a next agent can't start:", err)
	}
	defer next.Close()
	if len(notes) < 2 { // that inodes are not limited is always said
		t.Error("nobody is told")
	}
	if names, err := next.List(); err != nil || len(names) != 0 {
		t.Errorf("the new pool has %v, %v", names, err)
	}
	fresh, err := next.Create("s2.1", Quota{Bytes: 16 << 20}, 200_000)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if _, err := fill(fresh, 1<<20); err != nil {
		t.Error("the new area can't be written:", err)
	}
	if _, err := unix.Openat(int(area.Upper.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Error("the old area can't be read:", err)
	}
}

// breaks writes and syncs until the kernel ends writing to the file system.
func breaks(area Area) error {
	const rounds = 200
	for range rounds {
		fd, err := unix.Openat(int(area.Upper.Fd()), "more", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err == unix.EROFS {
			return err
		}
		if err == nil {
			unix.Write(fd, make([]byte, 64<<10))
			unix.Fsync(fd)
			unix.Syncfs(fd)
			unix.Close(fd)
		}
	}
	return nil
}
