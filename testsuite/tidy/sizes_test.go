package tidy

import (
	"bytes"
	"go/ast"
	"go/format"
	"strings"
	"testing"
	"unicode/utf8"
)

// The limits are of what can be seen at once. Columns are characters, and a tab
// is one; most files keep 110. In tests a row of a table may be longer, because
// a row cut in two is harder to compare with the next.
const (
	functionLinesMax = 70
	fileLinesMax     = 500
	columnsMax       = 120
	testColumnsMax   = 140
	parametersMax    = 4
)

func TestFunctionsFitOnAScreen(t *testing.T) {
	for _, s := range tree(t) {
		for _, d := range s.syntax.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.lines(f) > functionLinesMax {
				t.Errorf("%s: %s has %d lines; at most %d: keep the branches, move straight lines into a function each",
					s.at(f), nameOf(f), s.lines(f), functionLinesMax)
			}
		}
	}
}

func TestFilesFitInAHead(t *testing.T) {
	for _, s := range tree(t) {
		if n := bytes.Count(s.body, []byte{'\n'}); n > fileLinesMax {
			t.Errorf("%s:%d: the file has %d lines; at most %d: it has two subjects", s.name, fileLinesMax, n, fileLinesMax)
		}
	}
}

func TestLinesFitInAWindow(t *testing.T) {
	for _, s := range tree(t) {
		most := columnsMax
		if s.isTest() {
			most = testColumnsMax
		}
		number := 0
		for line := range strings.Lines(string(s.body)) {
			number++
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > most {
				t.Errorf("%s:%d: the line has %d columns; at most %d", s.name, number, n, most)
			}
		}
	}
}

// manyParameters are the functions that were there before the rule, or whose
// parameters somebody else decides. Nothing is added here; a struct with named
// fields is what the fifth parameter asks for.
var manyParameters = exceptions{
	"actors/kit/supervise.go: supervisor.HandleFailure": "the library's interface",
	"agent/settings/reader.go: Whole":                   "an integer attribute with its range",
	"cmd/deacon/root.go: toggle":                        "pflag's order",
	"cmd/deacon-init/enter.go: mountIn":                 "mount(2)'s own",
	"staging/fetch.go: judge":                           "what arrived beside what was wanted",
}

func TestParametersAreFew(t *testing.T) {
	known := allow(manyParameters)
	for _, s := range tree(t) {
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Type.Params.NumFields() <= parametersMax || known.has(s.name+": "+nameOf(f)) {
				continue
			}
			t.Errorf("%s: %s has %d parameters; at most %d, else a struct with names",
				s.at(f), nameOf(f), f.Type.Params.NumFields(), parametersMax)
		}
	}
	known.expectNeeded(t)
}

func TestEverythingIsFormatted(t *testing.T) {
	for _, s := range tree(t) {
		formatted, err := format.Source(s.body)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if !bytes.Equal(formatted, s.body) {
			t.Errorf("%s:1: not formatted (make fmt)", s.name)
		}
	}
}

// nameOf is a function's name, a method's with its type: "node.shutdown".
func nameOf(f *ast.FuncDecl) string {
	if receiver := receiverOf(f); receiver != "" {
		return receiver + "." + f.Name.Name
	}
	return f.Name.Name
}

// receiverOf is the name of a method's type; empty for a function.
func receiverOf(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	kind := f.Recv.List[0].Type
	for {
		switch k := kind.(type) {
		case *ast.StarExpr:
			kind = k.X
		case *ast.IndexExpr:
			kind = k.X
		case *ast.IndexListExpr:
			kind = k.X
		case *ast.ParenExpr:
			kind = k.X
		case *ast.Ident:
			return k.Name
		default:
			return ""
		}
	}
}
