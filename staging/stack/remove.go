package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Remove removes a stack that nobody uses, else the error is a *UsedError.
//
// A container may be made at the same time. It goes on record before it is
// mounted, so the stack first gets another name, by which nobody finds it, and
// then it is looked again: who is on record by then gets it back.
func (s *Store) Remove(name string) error {
	if err := s.remove(name); err != nil {
		return fmt.Errorf("stack: remove %s: %w", name, err)
	}
	return nil
}

func (s *Store) remove(name string) error {
	if !ValidName(name) {
		return ErrName
	}
	if err := s.sweep(); err != nil {
		return err
	}
	folder := filepath.Join(s.dir, name)
	held, err := lock(folder, unix.LOCK_EX)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrUnknown
	case errors.Is(err, errLocked):
		return &UsedError{name, []string{"the agent that runs on this state folder offers it"}}
	case err != nil:
		return err
	}
	defer held.Close()
	if err := s.unused(name); err != nil {
		return err
	}
	old := filepath.Join(s.dir, oldPrefix+name)
	if err := rename(folder, old); err != nil {
		return err
	}
	if err := s.unused(name); err != nil {
		return errors.Join(err, rename(old, folder))
	}
	_ = os.Remove(filepath.Join(s.dir, logPrefix+name))
	return s.finishRemoval(name)
}

func (s *Store) unused(name string) error {
	users, err := s.users(name)
	if err == nil && len(users) > 0 {
		err = &UsedError{name, users}
	}
	return err
}

// finishRemoval removes what nobody found a user of. The lock is held.
func (s *Store) finishRemoval(name string) error {
	gone := filepath.Join(s.dir, gonePrefix+name)
	if err := rename(filepath.Join(s.dir, oldPrefix+name), gone); err != nil {
		return err
	}
	return discard(gone)
}

// unfinished says what a folder's name means, where it is one of those that
// somebody works on.
func (s *Store) unfinished(folder string) (Unfinished, bool) {
	left := Unfinished{Path: filepath.Join(s.dir, folder)}
	for prefix, doing := range map[string]string{newPrefix: "made", oldPrefix: "removed", gonePrefix: "removed"} {
		if name, is := strings.CutPrefix(folder, prefix); is && ValidName(name) {
			left.Name, left.Doing = name, doing
			held, err := lock(left.Path, unix.LOCK_SH)
			left.Alive = errors.Is(err, errLocked)
			if err == nil {
				held.Close()
			}
			return left, !errors.Is(err, fs.ErrNotExist)
		}
	}
	return left, false
}

// sweep removes what was left by those who died over it, and nothing that
// somebody works on.
func (s *Store) sweep() error {
	folders, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, folder := range folders {
		left, is := s.unfinished(folder.Name())
		if !is || left.Alive {
			continue
		}
		if failed := s.sweepOne(folder.Name(), left); failed != nil {
			err = errors.Join(err, fmt.Errorf("sweep what an interrupted command left: %w", failed))
		}
	}
	return err
}

func (s *Store) sweepOne(folder string, left Unfinished) error {
	held, err := lock(left.Path, unix.LOCK_EX)
	if errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist) {
		return nil // another does it
	}
	if err != nil {
		return err
	}
	defer held.Close()
	if !strings.HasPrefix(folder, oldPrefix) {
		return discard(left.Path)
	}
	// Its remover died before he had looked for users a second time.
	users, err := s.users(left.Name)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		err := rename(left.Path, filepath.Join(s.dir, left.Name))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return s.finishRemoval(left.Name)
}
