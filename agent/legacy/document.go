package legacy

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Bounds of merging mappings into one another: one that is merged into itself
// has no end, and a few that are merged many times have none that comes soon.
const (
	mergeDepthMax = 8
	mergesMax     = 1000
)

// document is a YAML file that is being read: what is wrong with it is
// collected, and where it is wrong stands as if nothing had been said.
type document struct {
	name    string
	lines   []string
	faults  []Fault
	notes   []note
	merges  int
	lost    []string // what has no counterpart
	tangled bool     // that mappings are merged without an end was said
}

// mapping is what a file says below one key.
type mapping struct {
	path string // "server.quota"; empty: the file's top
	keys []string
	said map[string]said
}

// note is what somebody should know of a configuration that is good.
type note struct {
	line int
	text string
}

// said is a value where it was written.
type said struct {
	line int
	node *yaml.Node
}

// syntaxForm is what the library puts before what is wrong.
var syntaxForm = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// parse reads the file's first document, as Ruby does.
func (d *document) parse(src []byte) mapping {
	d.lines = strings.Split(string(src), "\n")
	top := mapping{said: map[string]said{}}
	var root yaml.Node
	switch err := yaml.NewDecoder(bytes.NewReader(src)).Decode(&root); {
	case errors.Is(err, io.EOF):
		return top
	case err != nil:
		line := 0
		if m := syntaxForm.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		d.fault(line, "this isn't YAML: %s", syntaxForm.ReplaceAllString(err.Error(), ""))
		return top
	case len(root.Content) == 0:
		return top
	}
	d.fill(&top, said{root.Content[0].Line, root.Content[0]})
	return top
}

// below is the mapping at a key; an empty one where nothing is said.
func (d *document) below(m mapping, key string) mapping {
	inner := mapping{path: join(m.path, key), said: map[string]said{}}
	if s, ok := m.said[key]; ok {
		d.fill(&inner, s)
	}
	return inner
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (d *document) fill(m *mapping, s said) {
	node := target(s.node)
	switch kind := kindOf(node); kind {
	case kindNull: // as if it weren't there
	case kindMapping:
		d.merge(m, node, 0)
	default:
		d.fault(s.line, "%s must be a mapping, not %s", cmp.Or(m.path, "the file"), kind)
	}
}

// merge takes over what a mapping says. What was said already stays.
func (d *document) merge(m *mapping, node *yaml.Node, depth int) {
	if d.merges++; depth > mergeDepthMax || d.merges > mergesMax {
		if !d.tangled {
			d.fault(node.Line, "%s is merged with itself, or too often", cmp.Or(m.path, "the file"))
		}
		d.tangled = true
		return
	}
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch {
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
			continue
		case own[key.Value]:
			d.note(key.Line, "%s is there twice; the last one counts", join(m.path, key.Value))
		}
		if _, known := m.said[key.Value]; !known {
			m.keys = append(m.keys, key.Value)
		} else if !own[key.Value] {
			continue // said by the mapping that this one is merged into
		}
		own[key.Value] = true
		m.said[key.Value] = said{key.Line, value}
	}
	for _, value := range merged {
		switch value := target(value); value.Kind {
		case yaml.MappingNode:
			d.merge(m, value, depth+1)
		case yaml.SequenceNode:
			for _, one := range value.Content {
				if one = target(one); one.Kind == yaml.MappingNode {
					d.merge(m, one, depth+1)
				}
			}
		}
	}
}

// target is what an alias stands for.
func target(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// expect says which keys of a mapping mean nothing. formerly tells of those
// that older Wardens had.
func (d *document) expect(m mapping, known []string, formerly map[string]string) {
	for _, key := range m.keys {
		if slices.Contains(known, key) {
			continue
		}
		line, path := m.said[key].line, join(m.path, key)
		if was, ok := formerly[key]; ok {
			d.note(line, "%s is ignored: %s", path, was)
			continue
		}
		d.note(line, "%s is ignored: Warden has no such key%s", path, suggest(key, known))
	}
}

func suggest(given string, known []string) string {
	for _, key := range known {
		if d := levenshtein.Distance(given, key, nil); d < 3 && 2*d < len(key) {
			return "; did you mean " + key + "?"
		}
	}
	return ""
}
