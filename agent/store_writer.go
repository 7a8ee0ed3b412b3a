package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/journal"
)

// write is the writer: it puts changes into the journal, many changes of one
// record as one. A change that the machine couldn't take stays and is tried again.
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
		if errors.Join(s.round(), s.renew()) != nil {
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

	changes, failed := encode(batch, records)
	if err := s.journal.Append(changes); err != nil {
		failed = errors.Join(failed, err)
		clear(batch) // all of it stays to be written
	}
	if failed != nil {
		failed = fmt.Errorf("agent: write the instances' records: %w", failed)
	}
	s.wrote(batch, upTo, failed)
	return failed
}

// encode makes the journal's changes: of an instance without a record, that it
// is forgotten. What is wrong with a record itself is told once: tried for ever,
// it would fail everybody else's flushes.
func encode[T any](instances map[string]T, records map[string]actors.Record) (changes []journal.Change, refused error) {
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		change := journal.Change{Name: instance}
		var err error
		if r, kept := records[instance]; kept {
			change.Value, err = json.Marshal(r)
		}
		if err = errors.Join(err, change.Check()); err != nil {
			refused = errors.Join(refused, fmt.Errorf("instance %q: %w", instance, err))
			continue
		}
		changes = append(changes, change)
	}
	return changes, refused
}

// wrote takes what is done off the lists.
func (s *store) wrote(batch map[string]uint64, upTo uint64, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for instance, change := range batch {
		if s.changed[instance] == change { // else it was changed again meanwhile
			delete(s.changed, instance)
		}
	}
	s.unsynced = s.unsynced || len(batch) > 0
	if failed != nil {
		s.complain(failed) // before anybody who waits goes on
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(f flush) bool {
		if f.change > upTo {
			return false
		}
		f.done <- failed
		return true
	})
}

// renew writes the journal anew where that is due.
func (s *store) renew() error {
	s.mu.Lock()
	due, records := s.unsure || s.journal.Wordy(), map[string]actors.Record(nil)
	if due {
		records = maps.Clone(s.records)
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	all, _ := encode(records, records) // what is refused was told when it was put
	err := s.journal.Rewrite(all)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("agent: write the instances' records anew: %w", err)
		s.complain(err)
		return err
	}
	s.unsure, s.unsynced = false, true
	return nil
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

// settle syncs what was written since the last time. After a failure all is to
// be written anew: the kernel says only once that it has lost a page.
func (s *store) settle() error {
	s.mu.Lock()
	unsynced := s.unsynced
	s.unsynced = false
	s.mu.Unlock()
	if !unsynced {
		return nil
	}
	err := s.journal.Sync()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("agent: sync the instances' records: %w", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsure = true
	s.complain(err)
	return err
}
