package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/actors"
)

// write is the writer: it puts changes into files, many changes of one record
// as one. A change that the machine couldn't take stays and is tried again.
func (s *store) write() {
	retry := time.NewTimer(retryAfter)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
			if !s.gather() {
				return
			}
		case <-s.hurry:
		case <-retry.C:
		case <-s.closing:
			return
		}
		if s.round() != nil {
			retry.Reset(retryAfter)
		}
		signal(s.written)
	}
}

// gather lets changes come together, until somebody waits for them: a start
// makes several in a row. False: the store is closing.
func (s *store) gather() bool {
	select {
	case <-s.hurry:
	case <-time.After(gatherFor):
	case <-s.closing:
		return false
	}
	return true
}

// round writes everything that is changed now, and tells those who wait.
func (s *store) round() error {
	s.mu.Lock()
	upTo := s.changes
	batch := maps.Clone(s.changed)
	records := make(map[string]actors.Record, len(batch))
	for instance := range batch {
		if r, ok := s.records[instance]; ok {
			records[instance] = r
		}
	}
	s.mu.Unlock()

	var failed error
	for _, instance := range slices.Sorted(maps.Keys(batch)) {
		r, keep := records[instance]
		if err := s.writeOne(instance, r, keep); err != nil {
			failed = errors.Join(failed, err)
			if passing(err) {
				delete(batch, instance)
			}
		}
	}
	if failed != nil {
		failed = fmt.Errorf("agent: write the instances' records: %w", failed)
	}
	s.wrote(batch, upTo, failed)
	return failed
}

// passing says whether the machine refused, and may not the next time. What is
// wrong with the record itself is told once: tried for ever, it would fail
// everybody else's flushes.
func passing(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// wrote takes what is done off the lists.
func (s *store) wrote(batch map[string]uint64, upTo uint64, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for instance, change := range batch {
		if s.changed[instance] == change { // else it was changed again meanwhile
			delete(s.changed, instance)
		}
		s.unsynced[instance] = struct{}{}
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(f flush) bool {
		if f.change > upTo {
			return false
		}
		f.done <- failed
		return true
	})
	if failed != nil {
		s.complain(failed)
	}
}

func (s *store) writeOne(instance string, r actors.Record, keep bool) error {
	if !instanceForm.MatchString(instance) {
		return fmt.Errorf("instance %q can't name a file", instance)
	}
	if !keep {
		return s.files.Remove(instance)
	}
	return s.files.Save(instance, r)
}

// harden is the syncer: what was written goes to the disk itself, off the way
// of the writer and of everybody who waits for it.
func (s *store) harden() {
	for {
		select {
		case <-s.written:
		case <-s.closing:
			return
		}
		select {
		case <-time.After(durableAfter):
		case <-s.closing:
			return
		}
		if s.settle() != nil {
			signal(s.wake)
		}
	}
}

// settle syncs the files that were written since the last time, then the
// folder, in which they were renamed. After a failure they are written anew:
// the kernel says only once that it has lost a page.
func (s *store) settle() error {
	s.mu.Lock()
	batch := s.unsynced
	s.unsynced = map[string]struct{}{}
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	var failed error
	for instance := range batch {
		err := s.sync(filepath.Join(s.dir, instance))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed: the folder's part
			failed = errors.Join(failed, err)
		}
	}
	if failed = errors.Join(failed, s.sync(s.dir)); failed == nil {
		return nil
	}
	failed = fmt.Errorf("agent: sync the instances' records: %w", failed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for instance := range batch {
		if _, again := s.changed[instance]; !again {
			s.changes++
			s.changed[instance] = s.changes
		}
	}
	s.complain(failed)
	return failed
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
