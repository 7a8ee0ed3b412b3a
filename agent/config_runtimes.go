package agent

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/messaging"
)

// Runtime is what applications of the first era run on (wire/dea.md d.2).
type Runtime struct {
	Name       string
	Executable string // a path in the stack, or a name in its PATH
	// VersionFlag has it print its version, which VersionOutput, a pattern, must
	// match; empty: any will do.
	VersionFlag, VersionOutput string
	AdditionalChecks           string // arguments with which it must print true; empty: none
	Environment                []messaging.Variable
	Debug                      map[string][]messaging.Variable // by mode
}

type runtimeBlock struct {
	Name             string         `hcl:"name,label"`
	NameRange        hcl.Range      `hcl:"name,label_range"`
	Executable       *hcl.Attribute `hcl:"executable,optional"`
	VersionFlag      *hcl.Attribute `hcl:"version_flag,optional"`
	VersionOutput    *hcl.Attribute `hcl:"version_output,optional"`
	AdditionalChecks *hcl.Attribute `hcl:"additional_checks,optional"`
	Environment      *hcl.Attribute `hcl:"environment,optional"`
	Debug            *hcl.Attribute `hcl:"debug_env,optional"`
}

func runtimeNames(runtimes []Runtime) (names []string) {
	for _, runtime := range runtimes {
		names = append(names, runtime.Name)
	}
	return names
}

func readRuntimes(r *settings.Reader, blocks []*runtimeBlock) (runtimes []Runtime) {
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		earlier, twice := first[b.Name]
		switch {
		case b.Name == "" || len(b.Name) > nameMax:
			r.FaultAt(b.NameRange, "Not a runtime's name", "A runtime's name has 1 to %d characters.", nameMax)
		case twice:
			r.FaultAt(b.NameRange, "Runtime given twice", "The runtime %s is already given at %s.", b.Name, earlier)
		}
		first[b.Name] = b.NameRange
		runtimes = append(runtimes, b.read(r))
	}
	slices.SortFunc(runtimes, func(a, b Runtime) int { return strings.Compare(a.Name, b.Name) })
	return runtimes
}

func (b *runtimeBlock) read(r *settings.Reader) Runtime {
	runtime := Runtime{Name: b.Name}
	for _, part := range []struct {
		attribute *hcl.Attribute
		into      *string
	}{
		{b.Executable, &runtime.Executable}, {b.VersionFlag, &runtime.VersionFlag},
		{b.VersionOutput, &runtime.VersionOutput}, {b.AdditionalChecks, &runtime.AdditionalChecks},
	} {
		r.Text(part.attribute, part.into)
		if strings.ContainsFunc(*part.into, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			r.Fault(part.attribute, "Not one line", "%q must be one line of text.", part.attribute.Name)
		}
	}
	switch {
	case b.Executable == nil:
		r.FaultAt(b.NameRange, "A runtime without a program", "Which one is it? Set executable to its path in the stack, "+
			"or to a name in PATH.")
	case runtime.Executable == "" || strings.HasPrefix(runtime.Executable, "-"):
		r.Fault(b.Executable, "Not a program", "\"executable\" must be a path in the stack, or a name in PATH.")
	}
	if wrong := checkPattern(runtime.VersionOutput); wrong != "" {
		r.Fault(b.VersionOutput, "Not a pattern", "\"version_output\" %s.", wrong)
	}
	if texts, ok := r.TextByName(b.Environment); ok {
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			runtime.Environment = append(runtime.Environment, checkedVariable(r, b.Environment, name, texts[name]))
		}
	}
	runtime.Debug = b.readDebug(r)
	return runtime
}

// readDebug reads lines of NAME=value, by mode.
func (b *runtimeBlock) readDebug(r *settings.Reader) map[string][]messaging.Variable {
	texts, ok := r.TextByName(b.Debug)
	if !ok || len(texts) == 0 {
		return nil
	}
	modes := map[string][]messaging.Variable{}
	for _, mode := range slices.Sorted(maps.Keys(texts)) {
		for line := range strings.Lines(texts[mode]) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			modes[mode] = append(modes[mode], checkedVariable(r, b.Debug, name, value))
		}
	}
	return modes
}

func checkedVariable(r *settings.Reader, a *hcl.Attribute, name, value string) messaging.Variable {
	if kindOfName(name) == nameOfNobody || strings.ContainsRune(value, 0) {
		r.Fault(a, "Not a variable", "%q has the variable %q, which no program can be given.", a.Name, name)
	}
	return messaging.Variable{Name: name, Value: value}
}

// digits are what the first era's patterns have and bash's lack.
var digits = regexp.MustCompile(`\\d`)

// checkPattern says what is wrong with a pattern that bash is to match; empty:
// nothing.
func checkPattern(pattern string) string {
	if _, err := regexp.Compile(pattern); err != nil {
		return "can't be read: " + err.Error()
	}
	for _, beyond := range []string{"(?", `\A`, `\z`, `\Q`, `\p`, `\x`} {
		if strings.Contains(pattern, beyond) {
			return "has " + beyond + ", which bash doesn't know"
		}
	}
	return ""
}

// pattern is VersionOutput as bash has it. In brackets, a backslash is a
// character like any other.
func (r Runtime) pattern() string {
	bracketed := regexp.MustCompile(`\[[^]]*\]`).ReplaceAllStringFunc(r.VersionOutput, func(s string) string {
		return digits.ReplaceAllString(s, "0-9")
	})
	return digits.ReplaceAllString(bracketed, "[0-9]")
}
