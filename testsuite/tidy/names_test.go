package tidy

import (
	"bytes"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// emptyNames say where something was put and nothing of what it is.
var emptyNames = regexp.MustCompile(`^(utils?|common|helpers?|misc|types|managers?|shared|base|stuff)$`)

func TestNamesAreNouns(t *testing.T) {
	for _, s := range tree(t) {
		for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(s.name, ".go"), "_test"), "/") {
			if emptyNames.MatchString(part) {
				t.Errorf("%s:1: %q names nothing: put it beside its caller, or name the noun that it serves", s.name, part)
			}
		}
		if emptyNames.MatchString(s.syntax.Name.Name) {
			t.Errorf("%s: a package may not be called %s", s.at(s.syntax.Name), s.syntax.Name.Name)
		}
	}
}

// TestPackagesSayWhatTheyAre wants a package comment, in doc.go unless the
// package is that one file.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	files, comment := map[string][]string{}, map[string]string{}
	for _, s := range tree(t) {
		if s.isTest() {
			continue
		}
		files[s.folder] = append(files[s.folder], s.name)
		if s.syntax.Doc == nil {
			continue
		}
		if was := comment[s.folder]; was != "" {
			t.Errorf("%s:1: %s has a package comment already; one is enough", s.name, was)
		}
		comment[s.folder] = s.name
		if text := s.syntax.Doc.Text(); !strings.HasPrefix(text, "Package ") && !strings.HasPrefix(text, "Command ") {
			t.Errorf("%s: a package comment begins with Package or Command", s.at(s.syntax.Doc))
		}
	}
	for folder, names := range files {
		switch at := comment[folder]; {
		case at == "":
			t.Errorf("%s:1: %s has no package comment; it belongs into %s/doc.go", names[0], folder, folder)
		case path.Base(at) != "doc.go" && len(names) > 1:
			t.Errorf("%s:1: the package comment belongs into %s/doc.go", at, folder)
		}
	}
}

// wellKnown methods say by their names what they do.
var wellKnown = []string{"Error", "String", "Unwrap", "Is", "As", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON"}

func TestWhatIsExportedIsExplained(t *testing.T) {
	for _, s := range tree(t) {
		if s.isTest() {
			continue
		}
		for _, d := range s.syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				receiver := receiverOf(d)
				if d.Doc == nil && d.Name.IsExported() && (receiver == "" || ast.IsExported(receiver)) &&
					!slices.Contains(wellKnown, d.Name.Name) {
					t.Errorf("%s: %s has no comment", s.at(d), nameOf(d))
				}
			case *ast.GenDecl:
				checkGroup(t, s, d)
			}
		}
	}
}

// checkGroup takes the comment of a group for all in it, but for types.
func checkGroup(t *testing.T, s source, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			alone := len(d.Specs) == 1 && d.Doc != nil
			if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && !alone {
				t.Errorf("%s: %s has no comment", s.at(spec), spec.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil && !mentioned(d, name.Name) {
					t.Errorf("%s: %s has no comment", s.at(name), name.Name)
				}
			}
		}
	}
}

// mentioned says whether a neighbour's comment speaks for a name too: "PortsMax
// and EgressMax bound ...".
func mentioned(d *ast.GenDecl, name string) bool {
	return slices.ContainsFunc(d.Specs, func(spec ast.Spec) bool {
		value, ok := spec.(*ast.ValueSpec)
		return ok && strings.Contains(value.Doc.Text(), name)
	})
}

// elsewhere are words that mean something on one machine or in one workplace
// only. They are spelled with classes, so that this file isn't found itself.
var elsewhere = regexp.MustCompile(`(^|[^\w/.%-])/wor[k]/|\.\./share[d]\b|share[d]/tools|issue[s] show` +
	`|proxy\.golan[g]\.org|sum\.golan[g]\.org|registry\.npmj[s]\.org|deb\.debia[n]\.org|pyp[i]\.org`)

func TestNothingNamesThisMachine(t *testing.T) {
	err := walk(func(name string) error {
		body, err := read(name)
		if err != nil || !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
			return err
		}
		number := 0
		for line := range strings.Lines(string(body)) {
			number++
			if word := elsewhere.FindString(line); word != "" {
				t.Errorf("%s:%d: %q exists on one machine only", name, number, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
