package tidy

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/deacon-agent/deacon"

// source is one Go file of the tree.
type source struct {
	name   string // slash-separated, from the module's top: "actors/node.go"
	folder string // "actors"
	body   []byte
	syntax *ast.File
	files  *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// at is where a node stands, as editors and terminals understand it.
func (s source) at(n ast.Node) string {
	return s.name + ":" + strconv.Itoa(s.files.Position(n.Pos()).Line)
}

// lines counts the lines from a node's first to its last.
func (s source) lines(n ast.Node) int {
	return s.files.Position(n.End()).Line - s.files.Position(n.Pos()).Line + 1
}

// root is the folder with go.mod.
var root = sync.OnceValues(func() (string, error) {
	folder, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("no go.mod above the working folder")
		}
		folder = filepath.Dir(folder)
	}
	return "", err
})

// tree returns every Go file of the module that people write, parsed once for
// all tests.
func tree(t *testing.T) []source {
	t.Helper()
	sources, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

var parsed = sync.OnceValues(func() (sources []source, err error) {
	files := token.NewFileSet()
	err = walk(func(name string) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		body, err := read(name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(files, name, body, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(syntax) { // nobody writes it, and a rule would only bend the generator
			return nil
		}
		sources = append(sources, source{name, path.Dir(name), body, syntax, files})
		return nil
	})
	return sources, err
})

// walk calls see for every file that people write: what is built or belongs to
// a tool is left out.
func walk(see func(name string) error) error {
	top, err := root()
	if err != nil {
		return err
	}
	return fs.WalkDir(os.DirFS(top), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return see(name)
		}
		switch base := d.Name(); {
		case name == ".", base == ".ci":
			return nil
		case base == "bin", base == "dist", strings.HasPrefix(base, "."):
			return fs.SkipDir
		}
		return nil
	})
}

func read(name string) ([]byte, error) {
	top, err := root()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(top, filepath.FromSlash(name)))
}

// exists says whether a name leads to a file or a folder of the tree.
func exists(name string) bool {
	top, err := root()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(top, filepath.FromSlash(name)))
	return err == nil
}

// exceptions are places where a rule doesn't hold, each with its reason.
type exceptions map[string]string

// allowance notes which exceptions were needed.
type allowance struct {
	granted exceptions
	used    map[string]bool
}

func allow(granted exceptions) *allowance {
	return &allowance{granted: granted, used: map[string]bool{}}
}

func (a *allowance) has(place string) bool {
	_, ok := a.granted[place]
	a.used[place] = a.used[place] || ok
	return ok
}

// expectNeeded fails for every exception that nothing needs any more.
func (a *allowance) expectNeeded(t *testing.T) {
	t.Helper()
	for place := range a.granted {
		if !a.used[place] {
			t.Errorf("%s: the exception is needed no more; take it out of the list in testsuite/tidy", place)
		}
	}
}
