package agent

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/agent/journal"
)

// failing is a journal that fails where it is told to.
type failing struct {
	keeper
	append, sync func() error
	syncs        atomic.Int32
	rewrites     atomic.Int32
}

func (f *failing) Append(changes []journal.Change) error {
	if f.append != nil {
		if err := f.append(); err != nil {
			return err
		}
	}
	return f.keeper.Append(changes)
}

func (f *failing) Rewrite(all []journal.Change) error {
	f.rewrites.Add(1)
	return f.keeper.Rewrite(all)
}

func (f *failing) Sync() error {
	f.syncs.Add(1)
	if f.sync == nil {
		return nil
	}
	return f.sync()
}

// mustFail opens a store whose journal can be made to fail.
func mustFail(t *testing.T, state string, f *failing) *store {
	t.Helper()
	s := mustOpen(t, state)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.keeper, s.journal = s.journal, f
	return s
}

// Many changes within a second are one sync.
func TestChangesReachTheDiskItselfWithinASecondOrSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f failing
		s := mustFail(t, t.TempDir(), &f)
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
		if f.syncs.Load() != 1 {
			t.Errorf("synced %d times, want once", f.syncs.Load())
		}
		mustClose(t, s)
	})
}

// What a start changes in a row is written once, as soon as somebody waits.
func TestChangesInARowAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes atomic.Int32
		s := mustFail(t, t.TempDir(), &failing{append: func() error { writes.Add(1); return nil }})
		start := time.Now()
		s.Put(recordOf("i0", 0))
		synctest.Wait()
		if writes.Load() != 0 {
			t.Error("the first change was written at once")
		}
		s.Put(recordOf("i0", 1))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 0 || writes.Load() != 1 {
			t.Errorf("flushing took %s and %d writes; it waits for no other change", took, writes.Load())
		}
		s.Put(recordOf("i1", 1))
		time.Sleep(gatherFor)
		synctest.Wait()
		if writes.Load() != 2 {
			t.Errorf("nobody waited, and it was not written")
		}
		mustClose(t, s)
	})
}

// Where the disk refuses, whoever waits is told, nothing is forgotten, and it
// is tried again by itself.
func TestARefusedWriteIsToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := t.TempDir()
		var full atomic.Bool
		full.Store(true)
		s := mustFail(t, state, &failing{append: func() error {
			if full.Load() {
				return syscall.ENOSPC
			}
			return nil
		}})
		var told atomic.Int32
		s.onTrouble(func(error) { told.Add(1) })
		s.Put(recordOf("i0", 0))
		s.Put(recordOf("i1", 1))
		if err := s.Flush(t.Context()); !errors.Is(err, syscall.ENOSPC) || told.Load() == 0 {
			t.Errorf("error is %v, told %d times; want the reason", err, told.Load())
		}
		full.Store(false)
		time.Sleep(retryAfter)
		synctest.Wait()
		if got := found(t, state); len(got) != 2 {
			t.Errorf("found %d records, want both", len(got))
		}
		mustClose(t, s)
	})
}

// After a failed sync nobody knows what the disk has: all is written anew.
func TestARefusedSyncWritesAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		f.sync = func() error {
			if f.syncs.Load() == 1 {
				return syscall.EIO
			}
			return nil
		}
		s := mustFail(t, t.TempDir(), f)
		var told atomic.Int32
		s.onTrouble(func(err error) {
			if errors.Is(err, syscall.EIO) {
				told.Add(1)
			}
		})
		s.Put(recordOf("i0", 0))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * durableAfter)
		synctest.Wait()
		if f.rewrites.Load() != 1 || f.syncs.Load() != 2 || told.Load() != 1 {
			t.Errorf("written anew %d times, synced %d times, told %d times", f.rewrites.Load(), f.syncs.Load(), told.Load())
		}
		mustClose(t, s)
	})
}

// A journal doesn't grow for ever where the instances are few.
