package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// What lies in a stack's folder.
const (
	treeName     = "tree"
	manifestName = "manifest"
	filesName    = "files"
	logName      = "log"
)

// searchable is the mode of what a container's user must get through.
const searchable = 0o711

// manifestMax bounds a manifest; a longer one was not written here.
const manifestMax = 1 << 20

// Manifest is what is known of a stack. It lies beside the tree.
type Manifest struct {
	Name    string    `json:"name"`
	Source  string    `json:"source"` // where it came from, in words
	Digest  string    `json:"digest"` // "sha256:…" of the list of files
	Created time.Time `json:"created"`
	Bytes   int64     `json:"bytes"`
	Files   int64     `json:"files"`           // entries of every kind
	Added   []string  `json:"added,omitempty"` // what was missing, and was made
	Notes   []string  `json:"notes,omitempty"` // what was left out, or is odd
}

// Store is the folder that a node's stacks lie in.
type Store struct {
	dir   string
	users func(name string) ([]string, error)
}

// Open returns the store in the folder dir, an absolute path; it need not exist.
// users says who uses a stack: what has a user isn't removed.
func Open(dir string, users func(name string) ([]string, error)) *Store { return &Store{dir, users} }

// TreePath is where the tree of a stack lies, in the store that is the folder dir.
func TreePath(dir, name string) string { return filepath.Join(dir, name, treeName) }

// Tree is where the tree of a stack lies, whether or not there is one.
func (s *Store) Tree(name string) string { return TreePath(s.dir, name) }

// hostName is the stack that is generated from the machine's own /usr.
const hostName = "host"

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ValidName says whether a stack can have the name here: it becomes a folder's.
func ValidName(name string) bool {
	return nameForm.MatchString(name) && name != hostName && !isLayer(name)
}

// isLayer says whether a name is one of those that isolation/rootfs gives.
func isLayer(name string) bool {
	return strings.HasPrefix(name, hostName+"-") || strings.HasPrefix(name, "new-")
}

// Entry is what a store has under one name.
type Entry struct {
	Manifest
	Path string   `json:"path"` // of the tree
	Used []string `json:"used,omitempty"`
	// Fault says why the stack can't be trusted; empty: nothing is known to be wrong.
	Fault string `json:"fault,omitempty"`
}

// Unfinished is what somebody works on, or worked on when he died.
type Unfinished struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Doing string `json:"doing"` // made, removed
	Alive bool   `json:"alive"` // somebody still does it
}

// List says what there is. It changes nothing.
func (s *Store) List() (entries []Entry, unfinished []Unfinished, err error) {
	folders, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("stack: list: %w", err)
	}
	for _, folder := range folders {
		name := folder.Name()
		if left, is := s.unfinished(name); is {
			unfinished = append(unfinished, left)
			continue
		}
		if !folder.IsDir() || !ValidName(name) {
			continue
		}
		entry, err := s.entry(name)
		if errors.Is(err, ErrUnknown) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		entries = append(entries, entry)
	}
	return entries, unfinished, nil
}

// entry reads what is known of one stack.
func (s *Store) entry(name string) (Entry, error) {
	entry := Entry{Path: s.Tree(name)}
	m, err := s.manifest(name)
	if errors.Is(err, ErrUnknown) {
		return entry, err
	}
	entry.Manifest = m
	if err != nil {
		entry.Manifest, entry.Fault = Manifest{Name: name}, err.Error()
	}
	if entry.Used, err = s.users(name); err != nil {
		return entry, err
	}
	return entry, nil
}

// manifest reads a stack's manifest.
func (s *Store) manifest(name string) (Manifest, error) {
	var m Manifest
	if !ValidName(name) {
		return m, ErrName
	}
	if _, err := os.Lstat(filepath.Join(s.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return m, ErrUnknown
	}
	path := filepath.Join(s.dir, name, manifestName)
	info, err := os.Lstat(path)
	if err != nil {
		return m, fmt.Errorf("it has no manifest: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > manifestMax {
		return m, fmt.Errorf("%s is no manifest", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if m.Name != name {
		return m, fmt.Errorf("%s is that of the stack %q", path, m.Name)
	}
	return m, nil
}

func (m Manifest) save(folder string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, manifestName), append(text, '\n'), 0o600)
}
