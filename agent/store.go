package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/journal"
)

const (
	// gatherFor is how long a change waits for others while nobody waits for it.
	gatherFor = 10 * time.Millisecond
	// durableAfter is how long a change may be kept from the disk itself: a
	// power failure takes at most that much, a dead agent nothing.
	durableAfter = time.Second
	// retryAfter is the pause after a write that failed.
	retryAfter = time.Second

	instancesFile = "instances.journal"
)

// store keeps what should run: in memory, and behind that in a journal. Records
// hold secrets, so nobody else may read it.
//
//	Put, Remove ─▶ memory ─▶ writer ─▶ instances.journal ─▶ syncer ─▶ the disk itself
//	                          Flush waits here
type store struct {
	journal keeper
	notes   []string // what was odd when it was opened

	mu       sync.Mutex
	records  map[string]actors.Record
	changed  map[string]uint64 // not yet written, with the number of the change
	changes  uint64            // made so far
	unsynced bool              // something was written that may not be on the disk
	unsure   bool              // a sync failed: nobody knows what the disk has
	waiting  []flush
	complain func(error)

	wake    chan struct{} // something was changed
	hurry   chan struct{} // somebody waits
	written chan struct{} // something was written
	closing chan struct{}
	ended   sync.WaitGroup
}

// keeper is what the store wants of its journal.
type keeper interface {
	Append([]journal.Change) error
	Rewrite([]journal.Change) error
	Wordy() bool
	Sync() error
	Close() error
}

// flush is a caller that waits until a change is written.
type flush struct {
	change uint64
	done   chan error // holds one
}

var _ actors.Store = (*store)(nil)

// openStore loads every record below the state folder. What is damaged is kept
// aside and said in the notes: a node that refused to start for it would harm
// every other instance.
func openStore(state string) (*store, error) {
	kept, values, notes, err := journal.Open(filepath.Join(state, instancesFile))
	if err != nil {
		return nil, fmt.Errorf("agent: open the store: %w", err)
	}
	s := &store{
		journal: kept, notes: notes, complain: func(error) {},
		records: map[string]actors.Record{}, changed: map[string]uint64{},
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), written: make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	s.load(values)
	s.ended.Go(s.write)
	s.ended.Go(s.harden)
	return s, nil
}

// load takes the records that the journal has.
func (s *store) load(values map[string][]byte) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var r actors.Record
		err := json.Unmarshal(values[name], &r)
		if err == nil && r.Instance != name {
			err = fmt.Errorf("it is of instance %q", r.Instance)
		}
		if err != nil {
			s.notes = append(s.notes, fmt.Sprintf("the record of instance %s can't be used: %v", name, err))
			continue
		}
		s.records[name] = r
	}
}

// Put keeps r. What r refers to must not be changed afterwards.
func (s *store) Put(r actors.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[r.Instance] = r
	s.change(r.Instance)
}

// Change has change act on a record. It must not call the store, nor change what
// the record refers to.
func (s *store) Change(instance string, change func(*actors.Record)) (actors.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.records[instance]
	if known {
		change(&r)
		s.records[instance] = r
		s.change(instance)
	}
	return r, known
}

// Remove forgets an instance; one that isn't known is success.
func (s *store) Remove(instance string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.records[instance]; !known {
		return
	}
	delete(s.records, instance)
	s.change(instance)
}

func (s *store) change(instance string) {
	s.changes++
	s.changed[instance] = s.changes
	signal(s.wake)
}

// signal wakes whoever waits on c, now or when it next looks.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Get returns the instance's record.
func (s *store) Get(instance string) (actors.Record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[instance]
	return r, ok
}

// All returns every record, by application, index and instance.
func (s *store) All() []actors.Record {
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.records))
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b actors.Record) int {
		return cmp.Or(cmp.Compare(a.Start.Application, b.Start.Application),
			cmp.Compare(a.Start.Index, b.Start.Index), cmp.Compare(a.Instance, b.Instance))
	})
	return list
}

// Flush returns when everything changed before is written, so that a successor
// of a killed agent finds it; or with the reason why it could not be.
func (s *store) Flush(ctx context.Context) error {
	s.mu.Lock()
	if len(s.changed) == 0 {
		s.mu.Unlock()
		return nil
	}
	f := flush{change: s.changes, done: make(chan error, 1)}
	s.waiting = append(s.waiting, f)
	s.mu.Unlock()
	signal(s.hurry)
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("agent: write the instances' records: %w", ctx.Err())
	}
}

// onTrouble has tell hear of every write that fails. It must not call the store.
func (s *store) onTrouble(tell func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complain = tell
}

// close writes what is left, down to the disk itself, and ends the store.
func (s *store) close() error {
	close(s.closing)
	s.ended.Wait()
	return errors.Join(s.round(), s.journal.Close())
}
