package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// state is the node's folder, held by this agent alone.
//
//	lock               flock by the living agent; its content is only a courtesy
//	node               who this node is, for good
//	node.copy          the same, should the first be damaged
//	containers/        isolation/box
//	instances.journal  what should run
//	directory          the directory server's name, and the key of its links
//	crashes/           logs of crashed instances
//	droplets/          staging
//	disk/              isolation/disk
//	stacks/            root file systems, generated and made (staging/stack)
type state struct {
	path  string
	lock  *os.File
	node  identity
	notes []string // what was odd when it was opened
}

// The names of the identity's records. Everything in the kernel is named from
// it: a node that lost it could not find its containers any more.
const (
	nodeRecord = "node"
	nodeCopy   = "node.copy"
)

// identity is what stays of a node over all its agents. The name and the
// address of whatever a container has in the kernel follow from all of it.
type identity struct {
	ID      string       `json:"id"`
	Pool    netip.Prefix `json:"pool"`     // invalid: a record of an older agent
	UIDBase uint32       `json:"uid_base"` // 0: a record of an older agent
	Format  uint32       `json:"format,omitempty"`
}

// stateFormat is what this agent makes of a state folder (docs/upgrades.md). It
// grows when an older agent would do harm to what a newer one wrote. 0 is that of
// agents that didn't write it down, and is the same as 1.
const stateFormat = 1

// StateFormatError says that a newer agent wrote the state folder, and that this
// one has touched nothing.
type StateFormatError struct {
	Path          string
	Format, Known uint32
}

func (e *StateFormatError) Error() string {
	return fmt.Sprintf("agent: the state folder %s is of format %d, and this agent knows up to %d: "+
		"a newer agent wrote it; start that one again. What runs goes on running, nothing was touched",
		e.Path, e.Format, e.Known)
}

// StateHeldError says that another agent works on the same state folder.
type StateHeldError struct {
	Path   string
	Holder string // what the other agent wrote into the lock
}

func (e *StateHeldError) Error() string {
	return fmt.Sprintf("agent: the state folder %s is in use by another agent (%s); "+
		"stop that one first, or give this one a folder of its own: node { state = ... }", e.Path, e.Holder)
}

// openState makes the folder, takes its lock and learns or chooses the node's
// id. wantID is the configured id, empty for none; an id that contradicts the
// one on record is refused, because everything in the kernel is named from it.
func openState(path, wantID string) (_ *state, err error) {
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("agent: make the state folder: %w", err)
	}
	s := &state{path: path}
	if s.lock, err = lockState(path); err != nil {
		return nil, err
	}
	if s.node, s.notes, err = identify(path, wantID); err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// lockState takes the lock. It belongs to the open file, so the kernel gives
// it back when the agent ends, however it ends.
func lockState(path string) (*os.File, error) {
	name := filepath.Join(path, "lock")
	lock, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("agent: open the state lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(name)
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &StateHeldError{Path: path, Holder: strings.TrimSpace(string(holder))}
		}
		return nil, fmt.Errorf("agent: lock %s: %w", name, err)
	}
	if err := lock.Truncate(0); err == nil {
		fmt.Fprintf(lock, "process %d\n", os.Getpid())
	}
	return lock, nil
}

func identify(path, wantID string) (_ identity, notes []string, err error) {
	known, notes, err := recall(path)
	switch {
	case err == nil && known.Format > stateFormat:
		return identity{}, nil, &StateFormatError{path, known.Format, stateFormat}
	case err == nil && (wantID == "" || wantID == known.ID):
		return known, notes, nil
	case err == nil:
		return identity{}, nil, fmt.Errorf("agent: this state folder belongs to node %s, "+
			"but the configuration says node.id = %q; remove the line, or give that node a folder of its own", known.ID, wantID)
	case !errors.Is(err, fs.ErrNotExist):
		return identity{}, nil, fmt.Errorf("agent: read the node's identity: %w; both records of it are damaged, "+
			"and without it the node's containers can't be found: restore one from a copy, "+
			"or stop every container and start with an empty state folder", err)
	}
	known.ID = wantID
	if known.ID == "" {
		known.ID = slot.NewID(rand.Reader)
	}
	return known, nil, keepIdentity(path, known)
}

// recall reads the identity from whichever of its records is whole, and makes
// the other the same. That this can't be done is no reason not to start.
func recall(path string) (identity, []string, error) {
	var known, copied identity
	first, second := record.Load(path, nodeRecord, &known), record.Load(path, nodeCopy, &copied)
	var notes []string
	switch {
	case first == nil && second == nil && known == copied:
		return known, nil, nil
	case first == nil && (second == nil || errors.Is(second, fs.ErrNotExist)): // older, or an older agent made none
	case first == nil:
		notes = append(notes, fmt.Sprintf("%v: it is written anew from %s", second, nodeRecord))
	case second == nil:
		known = copied
		notes = append(notes, fmt.Sprintf("%v: it is written anew from %s", first, nodeCopy))
	case errors.Is(first, fs.ErrNotExist):
		return identity{}, nil, second // which was never written, or is damaged
	default:
		return identity{}, nil, first
	}
	if err := keepIdentity(path, known); err != nil {
		notes = append(notes, err.Error())
	}
	return known, notes, nil
}

// keepIdentity writes both records, one after the other: at any moment one of
// them is whole.
func keepIdentity(path string, known identity) error {
	for _, name := range []string{nodeRecord, nodeCopy} {
		if err := record.SaveDurable(path, name, known); err != nil {
			return fmt.Errorf("agent: keep the node's identity: %w", err)
		}
	}
	return nil
}

// settle records the plan by which containers are named from now on. One that
// contradicts the record is refused while there are containers: they were made
// by the other, and would be looked for in the wrong place.
func (s *state) settle(pool netip.Prefix, uidBase uint32) error {
	planned := identity{ID: s.node.ID, Pool: pool, UIDBase: uidBase, Format: stateFormat}
	if planned == s.node {
		return nil
	}
	var changes []string
	if s.node.Pool.IsValid() && s.node.Pool != pool {
		changes = append(changes, fmt.Sprintf("network.pool is %s, but they were made with %s", pool, s.node.Pool))
	}
	if s.node.UIDBase != 0 && s.node.UIDBase != uidBase {
		changes = append(changes, fmt.Sprintf("node.uid_base is %d, but they were made with %d", uidBase, s.node.UIDBase))
	}
	if len(changes) > 0 {
		containers, err := os.ReadDir(filepath.Join(s.path, "containers"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("agent: look for containers: %w", err)
		}
		if len(containers) > 0 {
			return fmt.Errorf("agent: the state folder %s has %d containers: %s; start with the former values, "+
				"stop every application (SIGINT does), and change them then",
				s.path, len(containers), strings.Join(changes, "; "))
		}
	}
	if err := keepIdentity(s.path, planned); err != nil {
		return err
	}
	s.node = planned
	return nil
}

func (s *state) close() { s.lock.Close() }
