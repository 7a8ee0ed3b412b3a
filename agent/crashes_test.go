package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/messaging"
)

// newCrashes keeps logs in a folder of the test's; copied is what a copy does.
func newCrashes(t *testing.T, copied func(target string) error, records ...actors.Record) *crashes {
	t.Helper()
	return &crashes{
		dir: t.TempDir(), most: 1 << 20, disk: 0.8, inodes: 0.8, underWay: map[string]bool{},
		statfs: func(_ string, st *unix.Statfs_t) error {
			*st = unix.Statfs_t{Blocks: 100, Bfree: 100, Bavail: 100}
			return nil
		},
		records: func() []actors.Record { return records },
		copyOut: func(_ context.Context, _ string, c isolation.Copy) error { return copied(c.Target) },
	}
}

// writes is a copy of one file.
func writes(target string) error {
	return errors.Join(os.Mkdir(target, 0o755), os.WriteFile(filepath.Join(target, "out"), []byte("last words"), 0o600))
}

func (k *crashes) list(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func crashedAt(instance string, at int64) actors.Record {
	return actors.Record{Instance: instance, State: messaging.Crashed, Since: time.Unix(at, 0)}
}

func TestWhatIsKeptOfACrashCanBeOpened(t *testing.T) {
	copies := 0
	k := newCrashes(t, func(target string) error { copies++; return writes(target) }, crashedAt("i1", 1))
	for range 2 { // the second has nothing to do
		if err := k.Keep(t.Context(), "i1", "c1"); err != nil {
			t.Fatal(err)
		}
	}
	if copies != 1 || !slices.Equal(k.list(t), []string{"i1"}) {
		t.Errorf("%d copies, and there is %q", copies, k.list(t))
	}
	file, err := k.open("i1", "/logs/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if content, _ := io.ReadAll(file); string(content) != "last words" {
		t.Errorf("it reads %q", content)
	}
	if _, err := k.open("i2", "/"); !errors.Is(err, errNotKept) {
		t.Errorf("of another: %v", err)
	}
	if _, err := k.open("i1", "../i1/logs/out"); !errors.Is(err, os.ErrPermission) {
		t.Errorf("by a way round: %v", err)
	}
}

func TestACopyThatFailsKeepsWhatCame(t *testing.T) {
	failure := errors.New("no room")
	k := newCrashes(t, func(target string) error { return errors.Join(writes(target), failure) })
	if err := k.Keep(t.Context(), "part", "c"); !errors.Is(err, failure) {
		t.Errorf("error is %v", err)
	}
	k.copyOut = func(context.Context, string, isolation.Copy) error { return isolation.ErrGone }
	if err := k.Keep(t.Context(), "nothing", "c"); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("error is %v", err)
	}
	if got := k.list(t); !slices.Equal(got, []string{"part"}) {
		t.Errorf("there is %q", got)
	}
}

func TestASweepRemovesWhatNoRecordIsOf(t *testing.T) {
	k := newCrashes(t, writes, crashedAt("kept", 1), actors.Record{Instance: "stopped", State: messaging.Stopping})
	for _, name := range []string{"kept", "stopped", "unknown"} {
		if err := k.Keep(t.Context(), name, "c"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(k.dir, ".killed/logs"), 0o700); err != nil { // an agent died over it
		t.Fatal(err)
	}
	busy := make(chan []string, 1)
	k.copyOut = func(ctx context.Context, _ string, c isolation.Copy) error {
		gone, err := k.Sweep(ctx) // another is being copied meanwhile
		busy <- gone
		return errors.Join(err, writes(c.Target))
	}
	if err := k.Keep(t.Context(), "busy", "c"); err != nil {
		t.Error(err)
	}
	if gone := <-busy; len(gone) > 0 {
		t.Errorf("%q went", gone)
	}
	if got := k.list(t); !slices.Equal(got, []string{"busy", "kept"}) {
		t.Errorf("there is %q", got)
	}
	if _, err := k.Sweep(t.Context()); err != nil || !slices.Equal(k.list(t), []string{"kept"}) {
		t.Errorf("there is %q, %v", k.list(t), err)
	}
}

// The oldest go until there is room, whether it is blocks or inodes that lack.
func TestTheOldestCrashesMakeRoom(t *testing.T) {
	for name, st := range map[string]func(left int) unix.Statfs_t{
		"blocks": func(left int) unix.Statfs_t {
			return unix.Statfs_t{Blocks: 110, Bfree: uint64(30 - 5*left), Bavail: uint64(20 - 5*left)}
		},
		"inodes": func(left int) unix.Statfs_t {
			return unix.Statfs_t{Blocks: 100, Bfree: 50, Bavail: 50, Files: 100, Ffree: uint64(20 - 5*left)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCrashes(t, writes, crashedAt("young", 3), crashedAt("old", 1), crashedAt("middle", 2))
			k.statfs = func(_ string, into *unix.Statfs_t) error { *into = st(max(0, len(k.list(t))-1)); return nil }
			for _, instance := range []string{"young", "old", "middle"} {
				if err := k.Keep(t.Context(), instance, "c"); err != nil {
					t.Fatal(err)
				}
			}
			gone, err := k.Sweep(t.Context())
			if err != nil || !slices.Equal(gone, []string{"old", "middle"}) || !slices.Equal(k.list(t), []string{"young"}) {
				t.Errorf("%q went, there is %q, %v", gone, k.list(t), err)
			}
		})
	}
}

func TestTheSealOutlivesTheAgent(t *testing.T) {
	state := t.TempDir()
	first, notes, err := recallSeal(state)
	if err != nil || len(notes) > 0 || !first.whole() {
		t.Fatalf("%+v, %q, %v", first, notes, err)
	}
	info, err := os.Stat(filepath.Join(state, directoryRecord))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file has the mode %v, %v", info.Mode(), err)
	}
	again, notes, err := recallSeal(state)
	if err != nil || len(notes) > 0 || again.Label != first.Label || !bytes.Equal(again.Key, first.Key) {
		t.Errorf("the next agent has %+v, %q, %v", again, notes, err)
	}
}

func TestADamagedSealIsDrawnAnewAndSaid(t *testing.T) {
	for name, damage := range map[string]func(state string) error{
		"bits": func(state string) error {
			return os.WriteFile(filepath.Join(state, directoryRecord), []byte("{}\nxx\n"), 0o600)
		},
		"short": func(state string) error {
			return record.Save(state, directoryRecord, seal{Label: "0f", Key: []byte("k")})
		},
		"empty": func(state string) error { return record.Save(state, directoryRecord, record.None) },
	} {
		state := t.TempDir()
		if err := damage(state); err != nil {
			t.Fatal(err)
		}
		s, notes, err := recallSeal(state)
		if err != nil || !s.whole() || len(notes) != 1 || !strings.Contains(notes[0], "links to files that were given out are refused") {
			t.Errorf("%s: %+v, %q, %v", name, s, notes, err)
		}
	}
}
