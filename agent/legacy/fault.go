package legacy

import (
	"fmt"
	"slices"
	"strings"
)

// ImportError is everything that is wrong with a foreign configuration.
type ImportError struct {
	File   string
	Faults []Fault // in the lines' order
}

// Fault is one thing that is wrong.
type Fault struct {
	Line   int // from 1; 0: nowhere in particular
	Text   string
	Source string // the line itself
}

func (e *ImportError) Error() string {
	noun := "errors"
	if len(e.Faults) == 1 {
		noun = "error"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d %s in %s:\n", len(e.Faults), noun, e.File)
	for _, f := range e.Faults {
		text.WriteString("\n" + place(e.File, f.Line) + ": " + f.Text + "\n")
		if f.Source != "" {
			text.WriteString("    " + f.Source + "\n")
		}
	}
	return strings.TrimRight(text.String(), "\n")
}

// place is written as editors and terminals understand it.
func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// fault notes what is wrong and lets the reading go on.
func (d *document) fault(line int, format string, facts ...any) {
	f := Fault{Line: line, Text: fmt.Sprintf(format, facts...)}
	if line > 0 && line <= len(d.lines) {
		f.Source = strings.TrimSpace(d.lines[line-1])
	}
	d.faults = append(d.faults, f)
}

func (d *document) note(line int, format string, facts ...any) {
	d.notes = append(d.notes, note{line, fmt.Sprintf(format, facts...)})
}

// told are the notes in the lines' order.
func (d *document) told() []string {
	slices.SortStableFunc(d.notes, func(a, b note) int { return a.line - b.line })
	told := make([]string, len(d.notes))
	for i, n := range d.notes {
		told[i] = place(d.name, n.line) + ": " + n.text
	}
	return told
}

// lose notes what has no counterpart; the page that is written says it too.
func (d *document) lose(line int, format string, facts ...any) {
	d.note(line, format, facts...)
	d.remark(line, format, facts...)
}

// remark is for the page alone.
func (d *document) remark(line int, format string, facts ...any) {
	at := ""
	if line > 0 {
		at = fmt.Sprintf(" (line %d)", line)
	}
	d.lost = append(d.lost, fmt.Sprintf(format, facts...)+at)
}

func (d *document) err() error {
	if len(d.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(d.faults, func(a, b Fault) int { return a.Line - b.Line })
	return &ImportError{File: d.name, Faults: d.faults}
}
