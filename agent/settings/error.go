package settings

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Error is everything that is wrong with a file.
type Error struct {
	File  string
	Count int
	Text  string // every fault with its source line, for people
}

func (e *Error) Error() string {
	noun := "errors"
	if e.Count == 1 {
		noun = "error"
	}
	return fmt.Sprintf("%d %s in %s:\n\n%s", e.Count, noun, e.File, e.Text)
}

// faultColumns is where the explanation of a fault is wrapped.
const faultColumns = 100

func errorOf(name string, files map[string]*hcl.File, diags hcl.Diagnostics) *Error {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int { return startOf(a) - startOf(b) })
	e := &Error{File: name}
	var text strings.Builder
	writer := hcl.NewDiagnosticTextWriter(&text, withoutSecrets(files), faultColumns, false)
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		e.Count++
		writer.WriteDiagnostic(d) // to memory: it can't fail
	}
	e.Text = strings.TrimRight(text.String(), "\n")
	return e
}

// secretForms find what must not be shown with a source line: it ends up in
// logs. Only the second group is hidden.
var secretForms = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^([^#\n]*\b(?:password|token)\s*=\s*")([^"\n]*)`),
	regexp.MustCompile(`(://[^/@"\s:]*:)([^/"\s]*)@`),
}

// withoutSecrets copies the sources with asterisks over secrets; every byte
// keeps its place.
func withoutSecrets(files map[string]*hcl.File) map[string]*hcl.File {
	shown := map[string]*hcl.File{}
	for name, file := range files {
		hidden := *file
		hidden.Bytes = slices.Clone(file.Bytes)
		for _, form := range secretForms {
			for _, at := range form.FindAllSubmatchIndex(hidden.Bytes, -1) {
				copy(hidden.Bytes[at[4]:at[5]], bytes.Repeat([]byte("*"), at[5]-at[4]))
			}
		}
		shown[name] = &hidden
	}
	return shown
}

func startOf(d *hcl.Diagnostic) int {
	if d.Subject == nil {
		return 0
	}
	return d.Subject.Start.Byte
}

// warningsOf lists what is no error, as "config.hcl:12: text".
func warningsOf(diags hcl.Diagnostics) []string {
	var warnings []string
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int { return startOf(a) - startOf(b) })
	for _, d := range diags {
		if d.Severity == hcl.DiagWarning {
			warnings = append(warnings, fmt.Sprintf("%s:%d: %s", d.Subject.Filename, d.Subject.Start.Line, d.Summary))
		}
	}
	return warnings
}
