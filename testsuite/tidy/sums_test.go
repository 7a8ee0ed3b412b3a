package tidy

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sumMark stands above an interface whose implementations are all in its own
// package: a closed set, over which a switch can be total.
const sumMark = "//sumtype:decl"

// checked is one package of ours with its types.
type checked struct {
	files  []*ast.File
	info   *types.Info
	types  *types.Package
	source *token.FileSet
}

// TestSwitchesOverSumsAreTotal wants a case for everything that can come, or a
// default, which says that the rest was thought of.
func TestSwitchesOverSumsAreTotal(t *testing.T) {
	packages, err := check(t)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string][]string{} // "path.Name" → what implements it, sorted
	for _, p := range packages {
		p.collectSums(sums)
	}
	if len(sums) == 0 {
		t.Fatalf("no interface is marked %s; the test looks in the wrong place", sumMark)
	}
	for _, p := range packages {
		p.eachTypeSwitch(func(s *ast.TypeSwitchStmt, sum string) {
			members, ok := sums[sum]
			if !ok {
				return
			}
			if missing := p.missing(s, members); len(missing) > 0 {
				t.Errorf("%s: a switch over %s has no case for %s (%d in all), and no default",
					p.at(s), strings.TrimPrefix(sum, module+"/"), missing[0], len(missing))
			}
		})
	}
}

// check type-checks every package of ours. What they import is taken from the
// build cache, as the compiler does. One that doesn't compile fails the test
// and is looked at as far as it goes.
func check(t *testing.T) ([]checked, error) {
	listed, exports, err := list()
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	from := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("%s was not built", path)
		}
		return os.Open(exports[path])
	})
	var packages []checked
	for _, l := range listed {
		p := checked{source: files, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}}
		for _, name := range l.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(l.Dir, name), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			p.files = append(p.files, file)
		}
		config := types.Config{Importer: from, Error: func(err error) { t.Error(err) }}
		p.types, _ = config.Check(l.ImportPath, files, p.files, p.info)
		packages = append(packages, p)
	}
	return packages, nil
}

type listedPackage struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// list asks the go command for our packages, and where everything is compiled.
func list() (ours []listedPackage, exports map[string]string, err error) {
	top, err := root()
	if err != nil {
		return nil, nil, err
	}
	var complaints strings.Builder
	command := exec.Command("go", "list", "-e", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	command.Dir, command.Stderr = top, &complaints
	out, err := command.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w\n%s", err, complaints.String())
	}
	exports = map[string]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return ours, exports, nil
		} else if err != nil {
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		exports[p.ImportPath] = p.Export
		if within(p.ImportPath, module) {
			ours = append(ours, p)
		}
	}
}

// collectSums notes every marked interface with what implements it.
func (p checked) collectSums(sums map[string][]string) {
	for _, file := range p.files {
		for _, d := range file.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range group.Specs {
				if kind, ok := spec.(*ast.TypeSpec); ok && (marked(group.Doc) || marked(kind.Doc)) {
					sums[p.types.Path()+"."+kind.Name.Name] = p.implementations(kind.Name.Name)
				}
			}
		}
	}
}

func marked(comment *ast.CommentGroup) bool {
	return comment != nil && slices.ContainsFunc(comment.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, sumMark)
	})
}

func (p checked) implementations(name string) []string {
	sum, ok := p.types.Scope().Lookup(name).Type().Underlying().(*types.Interface)
	if !ok {
		return nil
	}
	var members []string
	for _, name := range p.types.Scope().Names() {
		kind, ok := p.types.Scope().Lookup(name).(*types.TypeName)
		if !ok || types.IsInterface(kind.Type()) {
			continue
		}
		if types.Implements(kind.Type(), sum) || types.Implements(types.NewPointer(kind.Type()), sum) {
			members = append(members, name)
		}
	}
	return members
}

// eachTypeSwitch calls see with the interface that is switched over, by its
// full name.
func (p checked) eachTypeSwitch(see func(s *ast.TypeSwitchStmt, sum string)) {
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.TypeSwitchStmt)
			if !ok {
				return true
			}
			var asserted ast.Expr
			switch a := s.Assign.(type) {
			case *ast.ExprStmt:
				asserted = a.X
			case *ast.AssignStmt:
				asserted = a.Rhs[0]
			}
			if assertion, ok := asserted.(*ast.TypeAssertExpr); ok {
				if named, ok := unaliased(p.info.TypeOf(assertion.X)).(*types.Named); ok && named.Obj().Pkg() != nil {
					see(s, named.Obj().Pkg().Path()+"."+named.Obj().Name())
				}
			}
			return true
		})
	}
}

// missing are the members that no case of s names. A default takes all.
func (p checked) missing(s *ast.TypeSwitchStmt, members []string) []string {
	open := map[string]bool{}
	for _, m := range members {
		open[m] = true
	}
	for _, clause := range s.Body.List {
		cases := clause.(*ast.CaseClause).List
		if cases == nil {
			return nil
		}
		for _, c := range cases {
			kind := unaliased(p.info.TypeOf(c))
			if pointer, ok := kind.(*types.Pointer); ok {
				kind = pointer.Elem()
			}
			if named, ok := kind.(*types.Named); ok {
				delete(open, named.Obj().Name())
			}
		}
	}
	return slices.Sorted(maps.Keys(open))
}

// unaliased is also for what could not be typed.
func unaliased(t types.Type) types.Type {
	if t == nil {
		return nil
	}
	return types.Unalias(t)
}

func (p checked) at(n ast.Node) string {
	top, _ := root()
	place := p.source.Position(n.Pos())
	if name, err := filepath.Rel(top, place.Filename); err == nil {
		place.Filename = filepath.ToSlash(name)
	}
	return fmt.Sprintf("%s:%d", place.Filename, place.Line)
}
