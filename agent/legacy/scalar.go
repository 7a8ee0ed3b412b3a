package legacy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// kind is what Ruby would make of a value: YAML 1.1, in which 0777 is octal,
// yes is true, and 10_485_760 a number.
type kind string

const (
	kindNull    kind = "null"
	kindText    kind = "text"
	kindInteger kind = "a whole number"
	kindFloat   kind = "a number with a fraction"
	kindTruth   kind = "true or false"
	kindTime    kind = "a date"
	kindList    kind = "a list"
	kindMapping kind = "a mapping"
	kindOther   kind = "something else"
)

var (
	trueWords  = []string{"yes", "true", "on"}
	falseWords = []string{"no", "false", "off"}
)

func kindOf(node *yaml.Node) kind {
	switch node.Kind {
	case yaml.MappingNode:
		return kindMapping
	case yaml.SequenceNode:
		return kindList
	}
	if node.Style&yaml.TaggedStyle == 0 && node.Style != 0 {
		return kindText // in quotes, or a block
	}
	if node.Style == 0 { // plain
		word := strings.ToLower(node.Value)
		switch {
		case node.ShortTag() == "!!null":
			return kindNull
		case integerForm.MatchString(node.Value): // of whatever size
			return kindInteger
		case slices.Contains(trueWords, word), slices.Contains(falseWords, word):
			return kindTruth
		}
	}
	switch node.ShortTag() {
	case "!!null":
		return kindNull
	case "!!str":
		return kindText
	case "!!int":
		return kindInteger
	case "!!float":
		return kindFloat
	case "!!bool":
		return kindTruth
	case "!!timestamp":
		return kindTime
	}
	return kindOther
}

// integerForm has the four notations, and 0o777 of later YAML.
var integerForm = regexp.MustCompile(
	`^([-+]?)(?:(0x[0-9a-fA-F_]+)|(0b[01_]+)|(0o?[0-7_]+)|(0|[1-9](?:[0-9]|[_,][0-9])*))$`)

// integerOf reads a number; its size and its sign are apart.
func integerOf(text string) (size uint64, negative, ok bool) {
	m := integerForm.FindStringSubmatch(text)
	if m == nil {
		return 0, false, false
	}
	digits, base := m[5], 10
	switch {
	case m[2] != "":
		digits, base = m[2][2:], 16
	case m[3] != "":
		digits, base = m[3][2:], 2
	case m[4] != "":
		digits, base = strings.TrimPrefix(m[4][1:], "o"), 8
	}
	size, err := strconv.ParseUint(strings.NewReplacer("_", "", ",", "").Replace(digits), base, 64)
	return size, m[1] == "-", err == nil
}

// setting is a value, and where it was said.
type setting[T any] struct {
	value T
	path  string
	line  int // 0: it wasn't
}

func (s setting[T]) given() bool { return s.line > 0 }

// name is the last part of its path.
func (s setting[T]) name() string { return s.path[strings.LastIndexByte(s.path, '.')+1:] }

// look finds what is said of a key, if it is of the wanted kind.
func (d *document) look(m mapping, key string, want kind) (said, bool) {
	s, ok := m.said[key]
	if !ok {
		return s, false
	}
	s.node = target(s.node)
	switch got := kindOf(s.node); got {
	case want:
		return s, true
	case kindNull:
		return s, false
	default:
		d.fault(s.line, "%s must be %s, not %s", join(m.path, key), want, got)
		return s, false
	}
}

// whole reads a number from least to most.
func (d *document) whole(m mapping, key string, least, most uint64) setting[uint64] {
	n := setting[uint64]{path: join(m.path, key)}
	s, ok := d.look(m, key, kindInteger)
	if !ok {
		return n
	}
	size, negative, ok := integerOf(s.node.Value)
	if !ok || negative && size > 0 || size < least || size > most {
		d.fault(s.line, "%s must be a whole number from %d to %d", n.path, least, most)
		return n
	}
	n.value, n.line = size, s.line
	return n
}

func (d *document) text(m mapping, key string) setting[string] {
	t := setting[string]{path: join(m.path, key)}
	if s, ok := d.look(m, key, kindText); ok {
		t.value, t.line = s.node.Value, s.line
	}
	return t
}

func (d *document) truth(m mapping, key string) setting[bool] {
	t := setting[bool]{path: join(m.path, key)}
	if s, ok := d.look(m, key, kindTruth); ok {
		t.value, t.line = slices.Contains(trueWords, strings.ToLower(s.node.Value)), s.line
	}
	return t
}

// texts reads a list; Warden passes over what is null in it.
func (d *document) texts(m mapping, key string) setting[[]string] {
	t := setting[[]string]{path: join(m.path, key)}
	s, ok := d.look(m, key, kindList)
	if !ok {
		return t
	}
	t.line = s.line
	for i, node := range s.node.Content {
		node = target(node)
		switch got := kindOf(node); got {
		case kindText:
			t.value = append(t.value, node.Value)
		case kindNull:
		default:
			d.fault(node.Line, "%s must be a list of texts, and number %d of it is %s", t.path, i+1, got)
		}
	}
	return t
}
