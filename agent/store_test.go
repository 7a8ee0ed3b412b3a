package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/journal"
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
	s := mustOpen(t, state)
	s.Put(recordOf("i0", 0))
	mustClose(t, s)
	info, err := os.Stat(filepath.Join(state, instancesFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v; want 0600", info.Mode(), err)
	}
}

// A damaged record harms no other, is kept for whoever wants to look, and said.
func TestADamagedRecordIsSaidAndHarmsNoOther(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	for _, name := range []string{"good", "other", "torn"} {
		s.Put(recordOf(name, 0))
	}
	mustClose(t, s)
	path := filepath.Join(state, instancesFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte(`"instance":"torn"`), []byte(`"instance":"t0rn"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}

	s = mustOpen(t, state)
	if got := s.All(); len(got) != 2 || got[0].Instance != "good" || got[1].Instance != "other" {
		t.Errorf("loaded %+v", got)
	}
	if len(s.notes) != 1 || !strings.Contains(s.notes[0], "seems to be of torn") || strings.Contains(s.notes[0], "hunter2") {
		t.Errorf("notes are %q", s.notes)
	}
	if aside, err := filepath.Glob(path + ".damaged"); err != nil || len(aside) != 1 {
		t.Errorf("aside is %q", aside)
	}
	s.Put(recordOf("new", 0))
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if got := found(t, state); len(got) != 3 { // and not a note: it was written anew
		t.Errorf("found %d records", len(got))
	}
}

// What is whole and yet no record of the instance is passed over, and said.
func TestARecordOfAnotherIsSaid(t *testing.T) {
	state := t.TempDir()
	kept, _, _, err := journal.Open(filepath.Join(state, instancesFile))
	if err != nil {
		t.Fatal(err)
	}
	err = kept.Append([]journal.Change{
		{Name: "a", Value: []byte(`{"instance":"b"}`)}, {Name: "c", Value: []byte(`[]`)},
	})
	if err = errors.Join(err, kept.Close()); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, state)
	defer mustClose(t, s)
	if len(s.All()) != 0 || len(s.notes) != 2 || !strings.Contains(s.notes[0], `instance a can't be used: it is of instance "b"`) {
		t.Errorf("loaded %d, notes are %q", len(s.All()), s.notes)
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

// An instance and its supervisor both write in one record.
func TestChangesOfSeveralLoseNothing(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	defer mustClose(t, s)
	s.Put(recordOf("i", 0))
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 20 {
				if _, there := s.Change("i", func(r *actors.Record) { r.Start.Index += 1 + i%2; r.ExitStatus-- }); !there {
					t.Error("the record is not there")
				}
			}
		})
	}
	all.Wait()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := found(t, state); len(got) != 1 || got[0].Start.Index != 480 || got[0].ExitStatus != -321 {
		t.Errorf("some changes were lost: %+v", got)
	}
	if _, there := s.Change("nobody", func(r *actors.Record) { t.Error("a record that isn't there is changed") }); there {
		t.Error("a record that isn't there was changed")
	}
	if _, there := s.Get("nobody"); there {
		t.Error("a change made a record")
	}
}

func TestHistoryIsThrownAway(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	r := recordOf("i0", 0)
	r.Start.Environment = []messaging.Variable{{Name: "X", Value: strings.Repeat("x", 100_000)}}
	for range 100 {
		s.Put(r)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	info, err := os.Stat(filepath.Join(state, instancesFile))
	if err != nil || info.Size() > 3<<20 {
		t.Errorf("%d bytes for one record of 100,000, %v", info.Size(), err)
	}
	if got := found(t, state); len(got) != 1 {
		t.Errorf("found %d records", len(got))
	}
}

// A record that can never be written fails the flush that waits for it, and no
// later one.
func TestARecordThatCannotBeWrittenHarmsNoOther(t *testing.T) {
	state := t.TempDir()
	s := mustOpen(t, state)
	for _, name := range []string{"../escape", "", "a/b", ".hidden", strings.Repeat("x", 200)} {
		s.Put(recordOf(name, 0))
		if err := s.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be a name") {
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
	goOn := make(chan struct{})
	s := mustFail(t, t.TempDir(), &failing{append: func() error { <-goOn; return nil }})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ctx); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
	s.Put(recordOf("i0", 0))
	if err := s.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the context's", err)
	}
	close(goOn)
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
