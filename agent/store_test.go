package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

func recordOf(instance string, index int) actors.Record {
	return actors.Record{
		Instance: instance, PrivateInstance: "p" + instance, State: messaging.Running, URIs: []string{"a.example"},
		Start: messaging.StartInstance{Application: "app", Index: index, VCAPApplication: []byte(`{"a":1}`),
			Environment: []messaging.Variable{{Name: "SECRET", Value: "<hunter2>"}}},
		Placement: actors.Placement{Container: "abcdefghijk", Port: 20001, Started: time.Unix(1772362800, 5).UTC()},
		Since:     time.Unix(1772362801, 0).UTC(), ExitStatus: -1, BootID: "boot",
	}
}

func mustOpen(t *testing.T, state string) *store {
	t.Helper()
	s, err := openStore(state)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustClose(t *testing.T, s *store) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// found is what an agent would load that starts now, whatever became of its
// predecessor.
func found(t *testing.T, state string) []actors.Record {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(state)); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, copied)
	defer mustClose(t, s)
	if len(s.notes) > 0 {
		t.Errorf("notes: %q", s.notes)
	}
	return s.All()
}

func TestWhatWasFlushedIsFoundAfterAKill(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	defer mustClose(t, s)
	want := []actors.Record{recordOf("i0", 0), recordOf("i1", 1), recordOf("i2", 2)}
	for _, i := range []int{2, 0, 1} {
		s.Put(want[i])
	}
	s.Put(recordOf("gone", 3))
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Remove("gone")
	s.Remove("never there")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, found(t, state)); diff != "" {
		t.Error("found (-want +got):\n", diff)
	}
	if diff := cmp.Diff(want, s.All()); diff != "" {
		t.Error("in memory (-want +got):\n", diff)
	}
	if got, ok := s.Get("i1"); !ok || !cmp.Equal(got, want[1]) {
		t.Errorf("Get: %+v, %t", got, ok)
	}
}

func TestClosingKeepsWhatWasNotFlushed(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	for i := range 50 {
		s.Put(recordOf(fmt.Sprintf("i%02d", i), i))
	}
	s.Remove("i07")
	mustClose(t, s)
	if got := found(t, state); len(got) != 49 || got[7].Instance != "i08" {
		t.Errorf("found %d records", len(got))
	}
}

func TestNobodyElseReadsTheRecords(t *testing.T) {
	state := t.TempDir()
	if err := os.Mkdir(filepath.Join(state, instancesDir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, state)
	s.Put(recordOf("i0", 0))
	mustClose(t, s)
	for name, want := range map[string]os.FileMode{"": 0o700, "i0": 0o600} {
		info, err := os.Stat(filepath.Join(state, instancesDir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

// A damaged record harms no other, is kept for whoever wants to look, and said.
func TestADamagedRecordIsMovedAsideAndSaid(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	for _, name := range []string{"good", "torn", "other"} {
		s.Put(recordOf(name, 0))
	}
	mustClose(t, s)
	dir := filepath.Join(state, instancesDir)
	if err := os.Truncate(filepath.Join(dir, "torn"), 20); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "good.new"), []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}

	s = mustOpen(t, state)
	defer mustClose(t, s)
	if got := s.All(); len(got) != 1 || got[0].Instance != "good" {
		t.Errorf("loaded %+v", got)
	}
	if len(s.notes) != 2 || !strings.Contains(s.notes[0], `"other"`) || !strings.Contains(s.notes[1], "instance torn") {
		t.Errorf("notes are %q", s.notes)
	}
	for _, note := range s.notes {
		if strings.Contains(note, "hunter2") {
			t.Errorf("a note shows a secret: %s", note)
		}
	}
	left, _ := filepath.Glob(dir + "/*")
	aside, _ := filepath.Glob(filepath.Join(state, damagedDir, "*"))
	if len(left) != 1 || len(aside) != 2 {
		t.Errorf("left are %q, aside %q", left, aside)
	}
}

// Whatever happens in whatever order: after a flush, the disk says what the
// memory says.
func TestTheDiskFollowsTheMemory(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	defer mustClose(t, s)
	rapid.Check(t, func(r *rapid.T) {
		want := map[string]actors.Record{}
		for _, old := range s.All() {
			want[old.Instance] = old
		}
		for range rapid.IntRange(1, 30).Draw(r, "acts") {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "instance")
			switch rapid.IntRange(0, 3).Draw(r, "act") {
			case 0:
				s.Remove(name)
				delete(want, name)
			case 1:
				if err := s.Flush(context.Background()); err != nil {
					r.Fatal(err)
				}
			default:
				want[name] = recordOf(name, rapid.IntRange(0, 5).Draw(r, "index"))
				s.Put(want[name])
			}
		}
		if err := s.Flush(context.Background()); err != nil {
			r.Fatal(err)
		}
		got := map[string]actors.Record{}
		for _, stored := range found(t, state) {
			got[stored.Instance] = stored
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Fatal("(-want +got):\n", diff)
		}
	})
}

func TestManyAtOnceLoseNothing(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	defer mustClose(t, s)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for round := range 20 {
				r := recordOf(fmt.Sprintf("i%02d", i), round)
				s.Put(r)
				if err := s.Flush(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	got := found(t, state)
	if len(got) != 16 || slices.ContainsFunc(got, func(r actors.Record) bool { return r.Start.Index != 19 }) {
		t.Errorf("found %d records, some of them old", len(got))
	}
}

// Many changes within a second are one sync a record, and one of the folder.
func TestChangesReachTheDiskItselfWithinASecondOrSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, t.TempDir())
		var mu sync.Mutex
		synced := map[string]int{}
		s.mu.Lock()
		s.sync = func(path string) error {
			mu.Lock()
			defer mu.Unlock()
			synced[filepath.Base(path)]++
			return nil
		}
		s.mu.Unlock()
		start := time.Now()
		for i := range 100 {
			s.Put(recordOf("a", i))
			s.Put(recordOf("b", i))
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("flushing took %s; it waits for no sync", took)
		}
		time.Sleep(durableAfter) // the bubble's clock, no waiting
		synctest.Wait()
		mu.Lock()
		if want := map[string]int{"a": 1, "b": 1, instancesDir: 1}; !cmp.Equal(want, synced) {
			t.Errorf("synced %v, want %v", synced, want)
		}
		mu.Unlock()
		mustClose(t, s)
	})
}

// What a start changes in a row is one file written once, as soon as somebody waits.
func TestChangesInARowAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, t.TempDir())
		start := time.Now()
		s.Put(recordOf("i0", 0))
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(s.dir, "i0")); err == nil {
			t.Error("the first change was written at once")
		}
		s.Put(recordOf("i0", 1))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("flushing took %s; it waits for no other change", took)
		}
		s.Put(recordOf("i1", 1))
		time.Sleep(gatherFor)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(s.dir, "i1")); err != nil {
			t.Errorf("nobody waited, and it was not written: %v", err)
		}
		mustClose(t, s)
	})
}

// Where the disk refuses, whoever waits is told, nothing is forgotten, and it
// is tried again by itself.
func TestARefusedWriteIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := t.TempDir()
		s := mustOpen(t, state)
		var told atomic.Int32
		s.onTrouble(func(error) { told.Add(1) })
		dir := filepath.Join(state, instancesDir)
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		s.Put(recordOf("i0", 0))
		s.Put(recordOf("i1", 1))
		if err := s.Flush(t.Context()); !errors.Is(err, syscall.ENOENT) || told.Load() == 0 {
			t.Errorf("error is %v, told %d times; want the reason", err, told.Load())
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter)
		synctest.Wait()
		if got := found(t, state); len(got) != 2 {
			t.Errorf("found %d records, want both", len(got))
		}
		mustClose(t, s)
	})
}

// After a failed sync the kernel has dropped the page: the record is written anew.
func TestARefusedSyncWritesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, t.TempDir())
		var calls, told atomic.Int32
		s.onTrouble(func(err error) {
			if errors.Is(err, syscall.EIO) {
				told.Add(1)
			}
		})
		s.mu.Lock()
		s.sync = func(path string) error {
			if filepath.Base(path) == "i0" && calls.Add(1) == 1 {
				return syscall.EIO
			}
			return nil
		}
		s.mu.Unlock()
		s.Put(recordOf("i0", 0))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(filepath.Join(s.dir, "i0"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * durableAfter)
		synctest.Wait()
		after, err := os.Stat(filepath.Join(s.dir, "i0"))
		if err != nil || os.SameFile(before, after) || calls.Load() != 2 || told.Load() != 1 {
			t.Errorf("%v; same file: %t, syncs: %d, told: %d", err, os.SameFile(before, after), calls.Load(), told.Load())
		}
		mustClose(t, s)
	})
}

// A record that can never be written fails the flush that waits for it, and no
// later one.
func TestARecordThatCannotBeWrittenHarmsNoOther(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	for _, name := range []string{"../escape", "", "a/b", ".hidden", "x.new", strings.Repeat("x", 200)} {
		s.Put(recordOf(name, 0))
		if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "can't name a file") {
			t.Errorf("%q: error is %v", name, err)
		}
	}
	large := recordOf("large", 0)
	large.Start.Environment = []messaging.Variable{{Name: "X", Value: strings.Repeat("<", 1<<20)}}
	s.Put(large)
	if err := s.Flush(t.Context()); err == nil || strings.Contains(err.Error(), "<<") {
		t.Errorf("error is %.200v, want one without the record", err)
	}
	s.Put(recordOf("i0", 0))
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(state, "escape")); err == nil {
		t.Error("a record left its folder")
	}
	mustClose(t, s)
}

func TestFlushingEndsWithItsContext(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	s.sync = func(string) error { return nil }
	pipe := filepath.Join(s.dir, "1.new")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil { // opening it waits for a reader
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ctx); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
	s.Put(recordOf("i0", 0))
	if err := s.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the context's", err)
	}
	if _, err := os.ReadFile(pipe); err != nil { // lets the writer go on
		t.Error(err)
	}
	mustClose(t, s)
}

// What a start waits for: a record that is new, and one that replaces another.
func BenchmarkPutAndFlush(b *testing.B) {
	for _, kind := range []string{"new", "replaced"} {
		b.Run(kind, func(b *testing.B) {
			s, err := openStore(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			r := recordOf("i0", 0)
			for i := 0; b.Loop(); i++ {
				if kind == "new" {
					s.Remove(r.Instance)
					r.Instance = fmt.Sprintf("i%d", i)
				}
				s.Put(r)
				if err := s.Flush(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
