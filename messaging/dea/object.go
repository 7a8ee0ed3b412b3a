package dea

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MessageMax is the longest message that is looked at; it is also what a
	// NATS server lets through unless told otherwise.
	MessageMax = 1 << 20

	// depthMax bounds nesting; credentials and vcap_application are the only
	// fields that may nest as they like.
	depthMax = 64

	idMax   = 255  // guids, versions, partitions: they become file names and subjects
	pathMax = 4095 // of a file: the kernel takes no longer one
	nameMax = 1024 // an application's name: 255 characters of up to four bytes
)

// reading is one message being read. It keeps the first thing that is wrong,
// so that a decoder is a plain list of fields and asks for the error once.
type reading struct{ wrong error }

// object is one JSON object of a message and the place where it stands.
type object struct {
	in     *reading
	path   string // "limits", "services[2]"; empty: the message itself
	fields []member
}

// open reads the outermost object.
func open(body []byte) object {
	m := object{in: new(reading)}
	if err := check(body); err != nil {
		m.in.wrong = err
		return m
	}
	m.fields = members(bytes.TrimLeft(body, whitespace))
	return m
}

// openOrEmpty takes an empty body for an object without fields: health
// managers send their greeting so.
func openOrEmpty(body []byte) object {
	if len(body) == 0 {
		return object{in: new(reading)}
	}
	return open(body)
}

// check refuses what must not even be parsed.
func check(body []byte) error {
	if len(body) > MessageMax {
		return fmt.Errorf("longer than %d bytes", MessageMax)
	}
	if !utf8.Valid(body) {
		return errors.New("not valid UTF-8")
	}
	if deep(body) {
		return fmt.Errorf("nested deeper than %d levels", depthMax)
	}
	first := bytes.TrimLeft(body, whitespace)
	if len(first) == 0 {
		return errors.New("want a JSON object, got nothing")
	}
	if !json.Valid(body) {
		return unparsable(body)
	}
	if first[0] != '{' {
		return fmt.Errorf("want a JSON object, got %s", kind(bytes.TrimRight(first, whitespace)))
	}
	return nil
}

const whitespace = " \t\r\n"

// unparsable says where a body stops being JSON.
func unparsable(body []byte) error {
	var ignored json.RawMessage
	err := json.Unmarshal(body, &ignored)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON: %w, at byte %d", syntax, syntax.Offset)
	}
	return err
}

// deep says whether brackets nest deeper than depthMax. It needs no valid JSON.
func deep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > depthMax {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// kind names a JSON value for a reason, without quoting text.
func kind(raw []byte) string {
	switch {
	case len(raw) == 0:
		return "nothing"
	case raw[0] == '"':
		return "a string"
	case raw[0] == '[':
		return "a list"
	case raw[0] == '{':
		return "an object"
	case raw[0] == 'n':
		return "null"
	case raw[0] == 't' || raw[0] == 'f':
		return "a boolean"
	case len(raw) > 24:
		return string(raw[:24]) + "..."
	default:
		return string(raw)
	}
}

// refuse says what is wrong with a field, if nothing was wrong before.
func (o object) refuse(key, format string, args ...any) {
	if o.in.wrong != nil {
		return
	}
	place := key
	if o.path != "" {
		place = o.path + "." + key
	}
	o.in.wrong = fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))
}

// require refuses the message unless it has all these fields.
func (o object) require(keys ...string) {
	for _, key := range keys {
		if raw, ok := o.field(key); !ok {
			o.refuse(key, "missing")
		} else if isNull(raw) {
			o.refuse(key, "must not be null")
		}
	}
}

func isNull(raw []byte) bool { return raw[0] == 'n' }

// field returns a field whatever it is; of two with one name the last, as
// every JSON library does.
func (o object) field(key string) ([]byte, bool) {
	for i := len(o.fields) - 1; i >= 0; i-- {
		if string(o.fields[i].name) == key {
			return o.fields[i].value, true
		}
	}
	return nil, false
}

// given returns a field that is there; null is not.
func (o object) given(key string) ([]byte, bool) {
	raw, ok := o.field(key)
	return raw, ok && !isNull(raw)
}

// text reads a string of any length; empty: not given.
func (o object) text(key string) string {
	raw, ok := o.given(key)
	if !ok {
		return ""
	}
	text, err := textOf(raw)
	if err != nil {
		o.refuse(key, "%v", err)
	}
	return text
}

// textOf decodes one string. Everything that a string may become here, a
// variable, an argument, a file name, would end at a NUL byte.
func textOf(raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", fmt.Errorf("want a string, got %s", kind(raw))
	}
	text := string(raw[1 : len(raw)-1])
	if strings.IndexByte(text, '\\') >= 0 {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(text, 0) >= 0 {
		return "", errors.New("has a NUL byte")
	}
	return text, nil
}

// short reads a string of at most most bytes.
func (o object) short(key string, most int) string {
	text := o.text(key)
	if len(text) > most {
		o.refuse(key, "want at most %d bytes, got %d", most, len(text))
	}
	return text
}

// id reads a string that, where it is given, must not be empty.
func (o object) id(key string) string {
	text := o.short(key, idMax)
	if _, ok := o.given(key); ok && text == "" {
		o.refuse(key, "must not be empty")
	}
	return text
}

// application reads an application's guid; the earliest era numbered them.
func (o object) application(key string) string {
	raw, ok := o.given(key)
	if !ok || raw[0] == '"' {
		return o.id(key)
	}
	number := string(raw)
	if _, err := strconv.ParseUint(number, 10, 64); err != nil {
		o.refuse(key, "want a string or a whole number, got %s", kind(raw))
	}
	return number
}

// hex reads a digest of so many digits and lower-cases it.
func (o object) hex(key string, digits int) string {
	text := []byte(o.text(key))
	if len(text) == 0 {
		return ""
	}
	if len(text) != digits {
		o.refuse(key, "want %d hex digits, got %d bytes", digits, len(text))
		return ""
	}
	for i, c := range text {
		switch {
		case '0' <= c && c <= '9' || 'a' <= c && c <= 'f':
		case 'A' <= c && c <= 'F':
			text[i] = c + 'a' - 'A'
		default:
			o.refuse(key, "want %d hex digits, got something else at digit %d", digits, i+1)
		}
	}
	return string(text)
}

// span is what a number means and between what it may lie.
type span struct {
	what     string
	min, max int64
}

// integer reads a whole number; missing where it isn't given.
func (o object) integer(key string, s span, missing int64) int64 {
	raw, ok := o.given(key)
	if !ok {
		return missing
	}
	return o.integerOf(key, raw, s)
}

func (o object) integerOf(place string, raw []byte, s span) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		o.refuse(place, "want %s, got %s", s.what, kind(raw))
	case err != nil || n < s.min || n > s.max:
		o.refuse(place, "want %s from %d to %d, got %s", s.what, s.min, s.max, kind(raw))
	}
	return n
}

// flag reads a boolean; false where it isn't given.
func (o object) flag(key string) bool {
	raw, ok := o.given(key)
	if ok && raw[0] != 't' && raw[0] != 'f' {
		o.refuse(key, "want true or false, got %s", kind(raw))
	}
	return ok && raw[0] == 't'
}

// list reads the elements of a list; what says in a reason what they are.
func (o object) list(key, what string) [][]byte {
	raw, ok := o.given(key)
	if !ok {
		return nil
	}
	if raw[0] != '[' {
		o.refuse(key, "want a list of %s, got %s", what, kind(raw))
		return nil
	}
	return elements(raw)
}

func element(key string, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// texts reads a list of strings; nil where it is empty.
func (o object) texts(key string) []string {
	var texts []string
	for i, raw := range o.list(key, "strings") {
		text, err := textOf(raw)
		if err != nil {
			o.refuse(element(key, i), "%v", err)
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// object reads a field that is an object; one without fields where it isn't given.
func (o object) object(key string) object {
	raw, ok := o.given(key)
	if !ok {
		return object{in: o.in, path: o.inner(key)}
	}
	return o.objectOf(key, raw)
}

func (o object) objectOf(place string, raw []byte) object {
	inner := object{in: o.in, path: o.inner(place)}
	if raw[0] != '{' {
		o.refuse(place, "want an object, got %s", kind(raw))
		return inner
	}
	inner.fields = members(raw)
	return inner
}

func (o object) inner(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// objects reads a list of objects.
func (o object) objects(key string) []object {
	var objects []object
	for i, raw := range o.list(key, "objects") {
		objects = append(objects, o.objectOf(element(key, i), raw))
	}
	return objects
}

// json reads a field of any shape and keeps it, without the space between its
// parts; nil where it isn't given.
func (o object) json(key string) []byte {
	raw, ok := o.given(key)
	if !ok {
		return nil
	}
	var out bytes.Buffer
	out.Grow(len(raw))
	if err := json.Compact(&out, raw); err != nil {
		o.refuse(key, "%v", err)
	}
	return out.Bytes()
}
