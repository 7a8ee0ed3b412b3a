package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// state makes a folder whose name the leftover checks know, so that a loop
// device on it would be found.
func state(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: making file systems needs root")
	}
	dir, err := os.MkdirTemp("", "deacon-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openFor(t *testing.T, dir, driver string) Driver {
	t.Helper()
	d, _, err := Open(Config{Dir: dir, Driver: driver, PoolBytes: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fill writes blocks of 64 KiB into a new file of the area until that fails.
func fill(area Area, limit int64) (written int64, err error) {
	fd, err := unix.Openat(int(area.Upper.Fd()), "fill", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	block := make([]byte, 64<<10)
	for written < limit {
		n, err := unix.Write(fd, block)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, unix.Fsync(fd)
}

func TestADriverStopsWritingAtTheLimit(t *testing.T) {
	const limit = 8 << 20
	for _, driver := range []string{"btrfs", "tmpfs"} {
		t.Run(driver, func(t *testing.T) {
			d := openFor(t, state(t), driver)
			defer d.Close()
			area, err := d.Create("s1.1", Quota{Bytes: limit}, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			defer area.Close()

			written, err := fill(area, 4*limit)

			if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
				t.Errorf("error at the limit is %v", err)
			}
			if written < limit/2 || written > limit {
				t.Errorf("%d bytes went into an area of %d", written, limit)
			}
		})
	}
}

func TestAnAreaBelongsToTheContainersRoot(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d := openFor(t, state(t), driver)
		defer d.Close()
		area, err := d.Create("s1.1", Quota{}, 123_456)
		if err != nil {
			t.Fatal(err)
		}
		defer area.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(area.Upper.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != 123_456 || st.Mode&0o777 != 0o755 {
			t.Errorf("%s: upper belongs to %d with mode %o", driver, st.Uid, st.Mode)
		}
	}
}

func TestAreasAreListedUntilTheyAreDiscarded(t *testing.T) {
	for _, driver := range []string{"btrfs", "none"} {
		d := openFor(t, state(t), driver)
		defer d.Close()
		for _, name := range []string{"s1.1", "s2.1"} {
			area, err := d.Create(name, Quota{Bytes: 8 << 20}, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			area.Close()
		}
		for range 2 { // the second time there is nothing left to discard
			if err := errors.Join(d.Discard("s1.1"), d.Reclaim(t.Context())); err != nil {
				t.Errorf("%s: %v", driver, err)
			}
		}
		if names, err := d.List(); err != nil || !slices.Equal(names, []string{"s2.1"}) {
			t.Errorf("%s: areas are %v, %v", driver, names, err)
		}
	}
}

func TestUsageIsWhatWasWritten(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d := openFor(t, state(t), driver)
		defer d.Close()
		area, err := d.Create("s1.1", Quota{Bytes: 64 << 20}, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		defer area.Close()
		if _, err := fill(area, 4<<20); err != nil {
			t.Fatal(err)
		}

		used, err := d.Usage("s1.1")

		if err != nil || used < 4<<20 || used > 5<<20 {
			t.Errorf("%s: usage is %d, %v; wrote %d", driver, used, err, 4<<20)
		}
	}
}

// A predecessor that died leaves its containers standing on the pool; here one
// area's open folder stands in for them. The successor has to find the very
// device, or it would mount the image twice.
func TestASuccessorFindsThePoolThatIsStillInUse(t *testing.T) {
	dir := state(t)
	before := openFor(t, dir, "btrfs")
	area, err := before.Create("s1.1", Quota{Bytes: 8 << 20}, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(loopsOn(t, dir)); n != 1 {
		t.Fatalf("%d loop devices on the pool with an area in use", n)
	}

	after := openFor(t, dir, "btrfs")
	if n := len(loopsOn(t, dir)); n != 1 {
		t.Errorf("%d loop devices on one pool", n)
	}
	if names, _ := after.List(); !slices.Equal(names, []string{"s1.1"}) {
		t.Errorf("the successor sees %v", names)
	}

	area.Close()
	after.Close()
	for range 200 { // the kernel frees the device behind our back
		if len(loopsOn(t, dir)) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("loop devices nobody uses: %v", loopsOn(t, dir))
}

func loopsOn(t *testing.T, dir string) (found []string) {
	t.Helper()
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		if image, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(image), dir) {
			found = append(found, file)
		}
	}
	return found
}

func TestAnUnknownDriverIsNamed(t *testing.T) {
	_, _, err := Open(Config{Dir: t.TempDir(), Driver: "floppy"})
	if err == nil || !strings.Contains(err.Error(), `"floppy"`) {
		t.Errorf("error is %v", err)
	}
}

// A measurement, not a check: run with -v. The pause keeps grace periods from
// hiding in one another.
func TestHowLongAnAreaTakes(t *testing.T) {
	for _, driver := range []string{"btrfs", "tmpfs", "none"} {
		d := openFor(t, state(t), driver)
		defer d.Close()
		var make, discard []time.Duration
		for range 15 {
			time.Sleep(20 * time.Millisecond)
			begun := time.Now()
			area, err := d.Create("s1.1", Quota{Bytes: 8 << 20}, 100_000)
			make = append(make, time.Since(begun))
			if err != nil {
				t.Fatal(err)
			}
			area.Close()
			begun = time.Now()
			if err := d.Discard("s1.1"); err != nil {
				t.Fatal(err)
			}
			discard = append(discard, time.Since(begun))
		}
		slices.Sort(make)
		slices.Sort(discard)
		t.Logf("%s: create p50 %s, discard p50 %s", driver, make[7], discard[7])
	}
}
