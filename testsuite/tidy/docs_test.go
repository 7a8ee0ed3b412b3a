package tidy

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Documents name code as `actors/node.go` or `actors/node.go:node.shutdown`,
// folders as `isolation/box`, tests as `TestASentence`, targets as `make demo`,
// and one another by relative links.
var (
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	fileSpan   = regexp.MustCompile(`^([\w./-]+\.go)(?::([A-Za-z]\w*(?:\.[A-Za-z]\w*)?))?$`)
	folderSpan = regexp.MustCompile(`^(?:actors|agent|cmd|docs|examples|isolation|messaging|staging|testsuite|tools)/[\w./-]*$`)
	testSpan   = regexp.MustCompile(`^(?:Test|Fuzz|Benchmark)[A-Z]\w*$`)
	makeSpan   = regexp.MustCompile(`^make ([a-z-]+)`)
	link       = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
)

// documents are what people read: at the top, below docs, and the ADRs.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := walk(func(name string) error {
		if path.Ext(name) != ".md" || strings.Contains(name, "testdata/") {
			return nil
		}
		body, err := read(name)
		found[name] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// spans calls see for every `code span` outside fenced blocks.
func spans(text string, see func(line int, span string)) {
	fenced, number := false, 0
	for line := range strings.Lines(text) {
		number++
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		}
		if fenced {
			continue
		}
		for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
			see(number, m[1])
		}
	}
}

// names are what a file declares at its top: "start", "instance", "instance.start".
func (s source) names() []string {
	var names []string
	for _, d := range s.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			names = append(names, nameOf(d))
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, namesOf(spec)...)
			}
		}
	}
	return names
}

func namesOf(spec ast.Spec) []string {
	var names []string
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			names = append(names, name.Name)
		}
	case *ast.TypeSpec:
		names = append(names, spec.Name.Name)
		if kind, ok := spec.Type.(*ast.InterfaceType); ok { // its methods can be named too
			for _, method := range kind.Methods.List {
				for _, name := range method.Names {
					names = append(names, spec.Name.Name+"."+name.Name)
				}
			}
		}
	}
	return names
}

func TestWhatDocumentsNameExists(t *testing.T) {
	declared, tests := map[string][]string{}, map[string]bool{}
	for _, s := range tree(t) {
		declared[s.name] = s.names()
		for _, name := range s.names() {
			tests[name] = tests[name] || s.isTest()
		}
	}
	makefile, err := read("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for document, text := range documents(t) {
		spans(text, func(line int, span string) {
			if wrong := missingFrom(declared, tests, string(makefile), span); wrong != "" {
				t.Errorf("%s:%d: `%s`: %s", document, line, span, wrong)
			}
		})
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") && !exists(path.Join(path.Dir(document), m[1])) {
				t.Errorf("%s: the link to %s leads nowhere", document, m[1])
			}
		}
	}
}

// missingFrom says what is wrong with a span; empty where nothing is.
func missingFrom(declared map[string][]string, tests map[string]bool, makefile, span string) string {
	if m := fileSpan.FindStringSubmatch(span); m != nil && strings.Contains(m[1], "/") {
		names, ok := declared[m[1]]
		switch {
		case !ok:
			return "there is no such file"
		case m[2] != "" && !slices.Contains(names, m[2]):
			return "the file declares no " + m[2]
		}
		return ""
	}
	if folderSpan.MatchString(span) && !strings.Contains(span, "...") && !exists(span) {
		return "there is no such folder or file"
	}
	if testSpan.MatchString(span) && !tests[span] {
		return "there is no such test"
	}
	if m := makeSpan.FindStringSubmatch(span); m != nil && !strings.Contains("\n"+makefile, "\n"+m[1]+":") {
		return "the Makefile has no such target"
	}
	return ""
}

// adrParts are what a decision record consists of, besides status and date.
var adrParts = []string{"Context", "Decision", "Consequences", "How we would notice"}

var (
	adrName   = regexp.MustCompile(`^docs/adr/(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md$`)
	adrStatus = regexp.MustCompile(`(?i)\bstatus\b[\s\S]*\b(proposed|accepted|rejected|superseded by)\b`)
	adrDate   = regexp.MustCompile(`\b20\d\d-\d\d-\d\d\b`)
)

func TestDecisionRecordsHaveTheirForm(t *testing.T) {
	numbers := map[string]string{}
	for name, text := range documents(t) {
		if !strings.HasPrefix(name, "docs/adr/") {
			continue
		}
		m := adrName.FindStringSubmatch(name)
		if m == nil {
			t.Errorf("%s:1: a decision record is called NNNN-what-was-decided.md", name)
			continue
		}
		if other := numbers[m[1]]; other != "" {
			t.Errorf("%s:1: %s has the number %s too", name, other, m[1])
		}
		numbers[m[1]] = name
		head, _, _ := strings.Cut(text, "\n## ")
		if !strings.HasPrefix(head, "# "+m[1]) || !adrStatus.MatchString(head) || !adrDate.MatchString(head) {
			t.Errorf("%s:1: it begins with its number, a status and a date (year-month-day)", name)
		}
		for _, part := range adrParts {
			if !regexp.MustCompile(`(?im)^\W*` + part).MatchString(text) {
				t.Errorf("%s:1: it has no part %q", name, part)
			}
		}
	}
}

var adrMention = regexp.MustCompile(`\bADR (\d{4})\b|\bdocs/adr/(\d{4})-`)

// TestEveryNamedDecisionIsRecorded looks into code and documents: "ADR 0004"
// helps nobody who can't find it.
func TestEveryNamedDecisionIsRecorded(t *testing.T) {
	recorded := map[string]bool{}
	texts := documents(t)
	for name := range texts {
		if m := adrName.FindStringSubmatch(name); m != nil {
			recorded[m[1]] = true
		}
	}
	for _, s := range tree(t) {
		if !within(s.folder, "testsuite/tidy") {
			texts[s.name] = string(s.body)
		}
	}
	for name, text := range texts {
		number := 0
		for line := range strings.Lines(text) {
			number++
			for _, m := range adrMention.FindAllStringSubmatch(line, -1) {
				if named := m[1] + m[2]; !recorded[named] {
					t.Errorf("%s:%d: there is no decision record %s", name, number, named)
				}
			}
		}
	}
}

// TestEverySkipIsListed keeps docs/skips.md complete: a test that doesn't run
// proves nothing, so whoever reads a green run has to know of it.
func TestEverySkipIsListed(t *testing.T) {
	listed := map[string]bool{}
	spans(documents(t)["docs/skips.md"], func(_ int, span string) {
		if fileSpan.MatchString(span) {
			listed[span] = false
		}
	})
	for _, s := range tree(t) {
		for _, d := range s.syntax.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !s.isTest() && !within(s.folder, "testsuite") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, call.Sel.Name) || within(s.folder, "testsuite/tidy") {
					return true
				}
				place := s.name + ":" + nameOf(f)
				if _, ok := listed[place]; !ok {
					t.Errorf("%s: `%s` may skip, and docs/skips.md doesn't say so", s.at(n), place)
				}
				listed[place] = true
				return true
			})
		}
	}
	for place, skips := range listed {
		if !skips && !strings.Contains(place, "testsuite/rig/") { // the rig ends the whole package instead
			t.Errorf("docs/skips.md: %s doesn't skip any more", place)
		}
	}
}
