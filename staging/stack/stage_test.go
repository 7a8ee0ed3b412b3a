package stack

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot leaves out what gives files to others, where that can't be done.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: a stack's files have owners, which takes root")
	}
}

// stage is a store whose users the test decides.
type stage struct {
	*Store
	t     testing.TB
	users []string
	asked int
	later []string // users from the second question on
}

func newStage(t testing.TB) *stage {
	t.Helper()
	needRoot(t)
	s := &stage{t: t}
	s.Store = Open(filepath.Join(t.TempDir(), "stacks"), func(string) ([]string, error) {
		if s.asked++; s.asked > 1 && s.later != nil {
			return s.later, nil
		}
		return s.users, nil
	})
	return s
}

// entry is one of a tar.
type entry struct {
	tar.Header
	body string
}

func dir(name string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func hard(name, target string) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}}
}

func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func quiet(string) {}

// imports imports bytes from the standard input.
func (s *stage) imports(name string, body []byte) (Manifest, error) {
	return s.Import(s.t.Context(), name, Import{Path: "-", Stdin: bytes.NewReader(body), Progress: quiet})
}

// must imports entries.
func (s *stage) must(name string, entries ...entry) Manifest {
	s.t.Helper()
	m, err := s.imports(name, archiveOf(s.t, entries...))
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// nothingLeft wants the store to have nothing but these.
func (s *stage) nothingLeft(but ...string) {
	s.t.Helper()
	found, err := os.ReadDir(s.dir)
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.Name())
	}
	if !slices.Equal(names, but) {
		s.t.Errorf("the store has %q, want %q", names, but)
	}
}

// has reads a file of a stack.
func (s *stage) has(name, path, want string) {
	s.t.Helper()
	got, err := os.ReadFile(filepath.Join(s.Tree(name), path))
	if err != nil || string(got) != want {
		s.t.Errorf("%s has %q, %v; want %q", path, got, err, want)
	}
}

func (s *stage) stat(name, path string) unix.Stat_t {
	s.t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.Tree(name), path), &st); err != nil {
		s.t.Errorf("%s: %v", path, err)
	}
	return st
}

// below lists what is in a tree, but for what every stack has.
func (s *stage) below(name string) []string {
	s.t.Helper()
	var found []string
	root := s.Tree(name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		inside := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		if inside == "" || isPlace(inside) {
			return err
		}
		if d.IsDir() {
			inside += "/"
		}
		found = append(found, inside)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

func isPlace(path string) bool {
	if slices.Contains([]string{"app", "etc/passwd", "etc/group"}, path) {
		return true
	}
	return slices.ContainsFunc(places, func(p place) bool { return p.name == path || strings.HasPrefix(p.name, path+"/") })
}

func expect(t testing.TB, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("the error is %v, want one with %q", err, words)
	}
}
