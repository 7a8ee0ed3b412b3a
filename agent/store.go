package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation/record"
)

const (
	// gatherFor is how long a change waits for others while nobody waits for it.
	gatherFor = 10 * time.Millisecond
	// durableAfter is how long a change may be kept from the disk itself: a
	// power failure takes at most that much, a dead agent nothing.
	durableAfter = time.Second
	// retryAfter is the pause after a write that failed.
	retryAfter = time.Second

	instancesDir = "instances"
	damagedDir   = "instances.damaged"
)

// instanceForm is what may name a record's file: the wire's 32 hexadecimal
// digits and uuids, and nothing that leaves the folder.
var instanceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)

// store keeps what should run: in memory, and behind that in one file per
// instance. Records hold secrets, so nobody else may read them.
//
//	Put, Remove ─▶ memory ─▶ writer ─▶ instances/<id> ─▶ syncer ─▶ the disk itself
//	                          Flush waits here
type store struct {
	dir   string
	files *record.Folder
	notes []string // what was odd when it was opened
	sync  func(path string) error

	mu       sync.Mutex
	records  map[string]actors.Record
	changed  map[string]uint64   // not yet written, with the number of the change
	changes  uint64              // made so far
	unsynced map[string]struct{} // written, and not known to be on the disk
	waiting  []flush
	complain func(error)

	wake    chan struct{} // something was changed
	hurry   chan struct{} // somebody waits
	written chan struct{} // something was written
	closing chan struct{}
	ended   sync.WaitGroup
}

// flush is a caller that waits until a change is written.
type flush struct {
	change uint64
	done   chan error // holds one
}

var _ actors.Store = (*store)(nil)

// openStore loads every record below the state folder. One that is damaged is
// moved aside and said in the notes: a node that refused to start for it would
// harm every other instance.
func openStore(state string) (_ *store, err error) {
	s := &store{
		dir: filepath.Join(state, instancesDir), sync: syncPath, complain: func(error) {},
		records: map[string]actors.Record{}, changed: map[string]uint64{}, unsynced: map[string]struct{}{},
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), written: make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("agent: open the store: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("agent: open the store: %w", err)
	}
	if s.files, err = record.NewFolder(s.dir); err != nil {
		return nil, fmt.Errorf("agent: open the store: %w", err)
	}
	if err := s.load(filepath.Join(state, damagedDir)); err != nil {
		return nil, fmt.Errorf("agent: open the store: %w", err)
	}
	s.ended.Go(s.write)
	s.ended.Go(s.harden)
	return s, nil
}

// load reads the folder.
func (s *store) load(damaged string) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if record.IsSpare(name) {
			continue
		}
		var r actors.Record
		err := record.Load(s.dir, name, &r)
		if err == nil && (r.Instance != name || !instanceForm.MatchString(name)) {
			err = fmt.Errorf("%w: it is of instance %q", record.ErrCorrupt, r.Instance)
		}
		switch {
		case err == nil:
			s.records[name] = r
		case errors.Is(err, record.ErrCorrupt) || !entry.Type().IsRegular():
			if err := s.putAside(name, damaged); err != nil {
				return err
			}
			s.notes = append(s.notes, fmt.Sprintf("the record of instance %s can't be used and was moved to %s: %v",
				name, damaged, err))
		default:
			return err
		}
	}
	return nil
}

func (s *store) putAside(name, damaged string) error {
	if err := os.MkdirAll(damaged, 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(s.dir, name), filepath.Join(damaged, name))
}

// Put keeps r. What r refers to must not be changed afterwards.
func (s *store) Put(r actors.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[r.Instance] = r
	s.change(r.Instance)
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
	return errors.Join(s.round(), s.settle())
}
