package output

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation/record"
)

func TestFollowingGoesOnWhereItEnded(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	j.write("stdout", "one\ntwo\nunfin")
	ctx, cancel := context.WithCancelCause(context.Background())
	detached := errors.New("the agent detaches")
	result := make(chan error, 1)
	go func() { result <- f.Follow(ctx, Files{Dir: j.dir}, j.emit) }()
	j.await("one", "two")

	cancel(detached)
	if err := <-result; !errors.Is(err, detached) {
		t.Fatalf("error is %v", err)
	}
	j.write("stdout", "ished\nthree\n")
	if err := j.followOnce(f, j.emit); err != nil {
		t.Fatal(err)
	}
	j.await("one", "two", "unfinished", "three")
}

func TestWhatWasRefusedComesAgain(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	j.write("stdout", strings.Repeat("x\n", BatchMax)+"y\n")
	refused, batches := errors.New("no"), 0
	err := j.followOnce(f, func(lines []Line) error {
		if batches++; batches == 2 {
			return refused
		}
		if len(lines) != BatchMax {
			t.Errorf("a batch of %d lines", len(lines))
		}
		return nil
	})
	if !errors.Is(err, refused) {
		t.Fatalf("error is %v", err)
	}

	if err := j.followOnce(f, j.emit); err != nil {
		t.Fatal(err)
	}
	j.await("y")
}

// An agent that was killed has recorded less than it sent: the rest comes
// twice. A damaged record makes everything come again, and nothing is lost.
func TestAnOldRecordResendsAndADamagedOneResendsAll(t *testing.T) {
	recorded := func(offset int64) func(string) error {
		return func(dir string) error { return record.Save(dir, offsetsRecord, offsets{"stdout": offset}) }
	}
	damaged := func(dir string) error {
		return os.WriteFile(filepath.Join(dir, offsetsRecord), []byte("{}"), 0o600)
	}
	for name, c := range map[string]struct {
		record func(dir string) error
		want   []string
	}{
		"old":            {recorded(4), []string{"two", "three"}},
		"damaged":        {damaged, []string{"one", "two", "three"}},
		"beyond the end": {recorded(400), []string{"one", "two", "three"}},
		"negative":       {recorded(-1), []string{"one", "two", "three"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t)
			j.write("stdout", "one\ntwo\nthree\n")
			if err := c.record(j.dir); err != nil {
				t.Fatal(err)
			}
			if err := j.followOnce(newFollower(t), j.emit); err != nil {
				t.Fatal(err)
			}
			j.await(c.want...)
		})
	}
}

// While lines come the offsets are recorded, not only at the end: that is what
// a killed agent's successor has.
func TestOffsetsAreRecordedWhileFollowing(t *testing.T) {
	j := newJob(t)
	finish := j.follow(newFollower(t))
	j.write("stdout", "one\n")
	j.await("one")

	var got offsets
	for deadline := time.Now().Add(limit); got["stdout"] != 4; {
		if err := record.Load(j.dir, offsetsRecord, &got); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("the offset was never recorded")
		}
		time.Sleep(time.Millisecond) // the record is a file; nothing tells of it
	}
	finish()
}

// A folder in the place where the record is written stands for a full disk.
func TestOffsetsThatCantBeRecordedEndNothing(t *testing.T) {
	j, f := newJob(t), newFollower(t)
	obstacle := filepath.Join(j.dir, offsetsRecord+".new")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- f.Follow(ctx, Files{Dir: j.dir}, j.emit) }()
	j.write("stdout", "one\n")
	j.await("one")
	select {
	case err := <-result:
		t.Fatal("it ended:", err)
	case <-time.After(3 * SaveEvery): // it was to be recorded meanwhile
	}
	j.write("stdout", "two\n")
	j.await("one", "two")

	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	var taken offsets
	for deadline := time.Now().Add(10 * time.Second); taken["stdout"] != 8; time.Sleep(SaveEvery / 10) {
		if record.Load(j.dir, offsetsRecord, &taken); time.Now().After(deadline) {
			t.Fatalf("recorded %v", taken)
		}
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
