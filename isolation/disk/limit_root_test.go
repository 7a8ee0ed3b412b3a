package disk

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func bytesTo(bytes int64) Change { return Change{Bytes: &bytes} }

func inodesTo(inodes int64) Change { return Change{Inodes: &inodes} }

// areaOf is a fresh driver's one area, gone with the test.
func areaOf(t *testing.T, driver string, quota Quota) (Driver, Area) {
	t.Helper()
	d := openFor(t, state(t), driver)
	t.Cleanup(func() { d.Close() })
	area, err := d.Create("s1.1", quota, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(area.Close)
	return d, area
}

// append writes blocks of 64 KiB behind what a file has, until that fails.
func (a Area) append(name string, bytes int64) (written int64, err error) {
	fd, err := unix.Openat(int(a.Upper.Fd()), name, unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	block := make([]byte, 64<<10)
	for written < bytes {
		n, err := unix.Write(fd, block)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// touch makes empty files until that fails.
func (a Area) touch(prefix string, files int) (made int, err error) {
	for made < files {
		fd, err := unix.Openat(int(a.Upper.Fd()), fmt.Sprint(prefix, made), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return made, err
		}
		unix.Close(fd)
		made++
	}
	return made, nil
}

func full(err error) bool { return errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) }

func TestAQuotaGrowsAndShrinksUnderAWriter(t *testing.T) {
	const mib = 1 << 20
	for _, driver := range []string{"btrfs", "tmpfs"} {
		t.Run(driver, func(t *testing.T) {
			d, area := areaOf(t, driver, Quota{Bytes: 8 * mib})
			total, err := area.append("file", 64*mib)
			if !full(err) || total > 8*mib {
				t.Fatalf("at first %d bytes, %v", total, err)
			}

			if err := d.Limit("s1.1", bytesTo(16*mib)); err != nil {
				t.Fatal(err)
			}
			more, err := area.append("file", 64*mib)
			if total += more; !full(err) || total < 14*mib || total > 16*mib {
				t.Errorf("grown to %d: %d bytes, %v", 16*mib, total, err)
			}

			if err := unix.Unlinkat(int(area.Upper.Fd()), "file", 0); err != nil {
				t.Fatal(err)
			}
			if err := d.Limit("s1.1", bytesTo(4*mib)); err != nil {
				t.Fatal(err)
			}
			total, err = area.append("other", 64*mib)
			if !full(err) || total < 2*mib || total > 4*mib {
				t.Errorf("shrunk to %d: %d bytes, %v", 4*mib, total, err)
			}

			if err := d.Limit("s1.1", bytesTo(0)); err != nil {
				t.Fatal(err)
			}
			if _, err = area.append("other", 24*mib); err != nil {
				t.Errorf("without a bound: %v", err)
			}
			if quota, err := d.Quota("s1.1"); err != nil || quota != (Quota{}) {
				t.Errorf("without a bound the quota is %+v, %v", quota, err)
			}
		})
	}
}

func TestAQuotaReadsBackAsTheKernelHasIt(t *testing.T) {
	for driver, want := range map[string]int64{"btrfs": 10_000_001, "tmpfs": 10_002_432, "none": 0} {
		d, _ := areaOf(t, driver, Quota{})
		if quota, err := d.Quota("s1.1"); err != nil || quota != (Quota{}) {
			t.Errorf("%s: at first %+v, %v", driver, quota, err)
		}
		if err := d.Limit("s1.1", bytesTo(10_000_001)); (driver == "none") != errors.Is(err, ErrNoQuota) {
			t.Errorf("%s: %v", driver, err)
		}
		if quota, err := d.Quota("s1.1"); err != nil || quota != (Quota{Bytes: want}) {
			t.Errorf("%s: %+v, %v; want %d bytes", driver, quota, err, want)
		}
		if err := d.Limit("s1.1", bytesTo(0)); err != nil {
			t.Errorf("%s: taking the bound away: %v", driver, err)
		}
	}
}

// What is there stays, can be read and removed, and nothing can be added.
func TestABoundBelowWhatIsThereStopsBtrfsAndIsRefusedByTmpfs(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs"} {
		d, area := areaOf(t, driver, Quota{Bytes: 16 << 20})
		for _, name := range []string{"one", "two"} {
			if _, err := area.append(name, 4<<20); err != nil {
				t.Fatal(err)
			}
		}
		err := d.Limit("s1.1", bytesTo(6<<20))
		if (driver == "tmpfs") != errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v", driver, err)
		}
		if driver == "tmpfs" {
			if quota, err := d.Quota("s1.1"); err != nil || quota.Bytes != 16<<20 {
				t.Errorf("%s: a refused bound left %+v, %v", driver, quota, err)
			}
			continue
		}
		if written, err := area.append("two", 64<<10); !errors.Is(err, unix.EDQUOT) {
			t.Errorf("%s: %d bytes were added: %v", driver, written, err)
		}
		if err := unix.Unlinkat(int(area.Upper.Fd()), "one", 0); err != nil {
			t.Errorf("%s: removing: %v", driver, err)
		}
		if _, err := area.append("two", 1<<20); err != nil {
			t.Errorf("%s: there is room again, yet: %v", driver, err)
		}
	}
}

func TestInodesAreBoundedByTmpfsAndRefusedByTheOthers(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d, area := areaOf(t, driver, Quota{})
		change := inodesTo(50)
		change.Bytes = bytesTo(8 << 20).Bytes

		err := d.Limit("s1.1", change)

		if driver != "tmpfs" {
			if quota, failed := d.Quota("s1.1"); !errors.Is(err, ErrNoQuota) || failed != nil || quota != (Quota{}) {
				t.Errorf("%s: %v, and the quota is %+v, %v", driver, err, quota, failed)
			}
			if err := d.Limit("s1.1", inodesTo(0)); err != nil {
				t.Errorf("%s: no bound is refused: %v", driver, err)
			}
			continue
		}
		made, full := area.touch("a", 100)
		if err != nil || !errors.Is(full, unix.ENOSPC) || made < 40 || made > 50 {
			t.Errorf("%s: %v; %d files, then %v", driver, err, made, full)
		}
		if quota, err := d.Quota("s1.1"); err != nil || quota != (Quota{Bytes: 8 << 20, Inodes: 50}) {
			t.Errorf("%s: quota is %+v, %v", driver, quota, err)
		}
		if err := d.Limit("s1.1", inodesTo(0)); err != nil {
			t.Error(err)
		}
		if _, err := area.touch("b", 100); err != nil {
			t.Errorf("%s: without a bound: %v", driver, err)
		}
	}
}

func TestAnAccountIsWhatIsThere(t *testing.T) {
	const files = 1000
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d, area := areaOf(t, driver, Quota{Bytes: 64 << 20})
		empty, err := d.Account("s1.1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := area.append("file", 10<<20); err != nil { // and no sync
			t.Fatal(err)
		}
		if _, err := area.touch("f", files-1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Linkat(int(area.Upper.Fd()), "file", int(area.Upper.Fd()), "again", 0); err != nil {
			t.Fatal(err)
		}
		account, err := d.Account("s1.1")
		want := empty.Inodes + files
		if driver != "btrfs" {
			want++ // where names count
		}
		if err != nil || account.Inodes != want || account.Bytes < empty.Bytes+10<<20 {
			t.Errorf("%s: %+v, %v; empty it was %+v", driver, account, err, empty)
		}
		if _, err := d.Account("s9.9"); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("%s: of no area: %v", driver, err)
		}
	}
}

func TestASuccessorSeesAndChangesTheQuota(t *testing.T) {
	dir := state(t)
	before := openFor(t, dir, "btrfs")
	area, err := before.Create("s1.1", Quota{}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	defer area.Close()
	if err := errors.Join(before.Limit("s1.1", bytesTo(8<<20)), before.Close()); err != nil {
		t.Fatal(err)
	}
	after := openFor(t, dir, "btrfs")
	defer after.Close()
	if quota, err := after.Quota("s1.1"); err != nil || quota.Bytes != 8<<20 {
		t.Errorf("the successor finds %+v, %v", quota, err)
	}
	if err := after.Limit("s1.1", bytesTo(4<<20)); err != nil {
		t.Error(err)
	}
	if written, err := area.append("file", 16<<20); !errors.Is(err, unix.EDQUOT) || written > 4<<20 {
		t.Errorf("%d bytes, %v", written, err)
	}
}

func TestWhatAPredecessorHeldInMemoryIsRefused(t *testing.T) {
	d := openFor(t, state(t), "tmpfs")
	defer d.Close()
	if err := d.Limit("s1.1", bytesTo(8<<20)); !errors.Is(err, ErrNoQuota) {
		t.Errorf("error is %v", err)
	}
}

func TestACountStandsUntilSomethingChanges(t *testing.T) {
	var c counts
	var asked int64
	count := func(state timespec) int64 {
		n, err := c.count("s1.1", state, func() (int64, error) { asked++; return asked, nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if first, same := count(timespec{Seconds: 1}), count(timespec{Seconds: 1}); first != 1 || same != 1 {
		t.Errorf("counted %d, then %d of the same", first, same)
	}
	if n := count(timespec{Seconds: 1, Nanoseconds: 1}); n != 2 {
		t.Errorf("after a change: %d", n)
	}
	c.forget("s1.1")
	if n := count(timespec{Seconds: 1, Nanoseconds: 1}); n != 3 {
		t.Errorf("after it was forgotten: %d", n)
	}
}

// Every way of changing the number of inodes is a change of the subvolume.
func TestACountIsNeverOfAnOlderState(t *testing.T) {
	d, area := areaOf(t, "btrfs", Quota{})
	dir := int(area.Upper.Fd())
	for _, step := range []struct {
		name   string
		change func() error
		more   int64
	}{
		{"file", func() error { _, err := area.touch("f", 1); return err }, 1},
		{"folder", func() error { return unix.Mkdirat(dir, "d", 0o755) }, 1},
		{"symbolic link", func() error { return unix.Symlinkat("x", dir, "l") }, 1},
		{"second name", func() error { return unix.Linkat(dir, "f0", dir, "g", 0) }, 0},
		{"first name's end", func() error { return unix.Unlinkat(dir, "f0", 0) }, 0},
		{"last name's end", func() error { return unix.Unlinkat(dir, "g", 0) }, -1},
		{"folder's end", func() error { return unix.Unlinkat(dir, "d", unix.AT_REMOVEDIR) }, -1},
	} {
		before, err := d.Account("s1.1")
		if err == nil {
			err = step.change()
		}
		after, failed := d.Account("s1.1")
		if err != nil || failed != nil || after.Inodes != before.Inodes+step.more {
			t.Errorf("%s: %d inodes became %d, want %d more: %v, %v",
				step.name, before.Inodes, after.Inodes, step.more, err, failed)
		}
	}
}

// A measurement, not a check: run with -v.
func TestHowLongAnAccountTakes(t *testing.T) {
	const files = 5_000
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d, area := areaOf(t, driver, Quota{})
		if _, err := area.touch("f", files); err != nil {
			t.Fatal(err)
		}
		for _, round := range []string{"first", "second"} {
			begun := time.Now()
			if _, err := d.Account("s1.1"); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %d inodes, %s time: %s", driver, files, round, time.Since(begun))
		}
	}
}
