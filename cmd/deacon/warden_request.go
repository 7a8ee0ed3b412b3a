package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// parseRequest makes a request from what follows the command: "--field value",
// a bool alone, "--a.b value" for what is nested, "--list[0].a value" for lists.
// What the words say wrong, or leave out, is an error that names it; --help in
// a field's place is errHelpAsked.
func parseRequest(c wardenCommand, words []string) (proto.Message, error) {
	request := c.request.New()
	for len(words) > 0 {
		name, isFlag := strings.CutPrefix(words[0], "--")
		switch {
		case !isFlag || name == "":
			return nil, fmt.Errorf("%q is no --field", words[0])
		case name == "help":
			return nil, errHelpAsked
		}
		name, value, given := strings.Cut(name, "=")
		words = words[1:]
		place, err := findPlace(request, name)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		switch {
		case given:
		case place.field.Kind() == protoreflect.BoolKind:
			value = "true"
		case len(words) == 0:
			return nil, fmt.Errorf("--%s wants a value", name)
		default:
			value, words = words[0], words[1:]
		}
		if err := place.set(value); err != nil {
			return nil, fmt.Errorf("--%s %s: %w", name, quoteWord(value), err)
		}
	}
	if missing := firstMissing(request, "--"); missing != "" {
		return nil, fmt.Errorf("%s is missing", missing)
	}
	return request.Interface(), nil
}

// errHelpAsked is no fault: the command is to be explained, not done.
var errHelpAsked = errors.New("help is asked for")

// fieldPlace is where a value goes: a field of a message, or an element of its list.
type fieldPlace struct {
	message protoreflect.Message
	field   protoreflect.FieldDescriptor
	index   int // in a list; -1: none
}

// findPlace walks a name such as bind_mounts[0].src_path, and makes the
// messages on its way that aren't there yet.
func findPlace(m protoreflect.Message, name string) (fieldPlace, error) {
	step, rest, deeper := strings.Cut(name, ".")
	step, index, err := cutIndex(step)
	if err != nil {
		return fieldPlace{}, err
	}
	field := m.Descriptor().Fields().ByName(protoreflect.Name(step))
	switch {
	case field == nil:
		return fieldPlace{}, fmt.Errorf("there is no field %q%s", step, alternatives(m.Descriptor()))
	case field.IsList() && index < 0:
		return fieldPlace{}, fmt.Errorf("%s is a list: number its elements, %s[0] first", step, step)
	case !field.IsList() && index >= 0:
		return fieldPlace{}, fmt.Errorf("%s is no list", step)
	case field.Message() == nil && deeper:
		return fieldPlace{}, fmt.Errorf("%s has no fields of its own", step)
	case field.Message() != nil && !deeper:
		return fieldPlace{}, fmt.Errorf("%s has fields of its own%s", step, alternatives(field.Message()))
	}
	if field.IsList() {
		if length := m.Mutable(field).List().Len(); index > length {
			return fieldPlace{}, fmt.Errorf("%s[%d] comes before %s[%d]: number the elements from 0, in order",
				step, index, step, length)
		}
	}
	if !deeper {
		return fieldPlace{m, field, index}, nil
	}
	if !field.IsList() {
		return findPlace(m.Mutable(field).Message(), rest)
	}
	list := m.Mutable(field).List()
	if index == list.Len() {
		list.AppendMutable()
	}
	return findPlace(list.Get(index).Message(), rest)
}

// cutIndex takes the number off "name[3]"; without one it is -1.
func cutIndex(step string) (name string, index int, err error) {
	name, tail, found := strings.Cut(step, "[")
	if !found {
		return step, -1, nil
	}
	digits, closed := strings.CutSuffix(tail, "]")
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || !closed {
		return "", 0, fmt.Errorf("[%s is no index; write %s[0]", tail, name)
	}
	return name, int(number), nil
}

// alternatives names the fields that there are, for the end of an error.
func alternatives(d protoreflect.MessageDescriptor) string {
	var names []string
	for field := range inOrder(d) {
		names = append(names, string(field.Name()))
	}
	switch {
	case len(names) == 0:
		return ": the command has none"
	default:
		return ": there is " + strings.Join(names, ", ")
	}
}

func (p fieldPlace) set(text string) error {
	value, err := parseValue(p.field, text)
	if err != nil {
		return err
	}
	switch {
	case p.index < 0:
		p.message.Set(p.field, value)
	case p.index == p.message.Get(p.field).List().Len():
		p.message.Mutable(p.field).List().Append(value)
	default:
		p.message.Mutable(p.field).List().Set(p.index, value)
	}
	return nil
}

func parseValue(field protoreflect.FieldDescriptor, text string) (protoreflect.Value, error) {
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text)), nil
	case protoreflect.BoolKind:
		value, err := strconv.ParseBool(text)
		if err != nil {
			return protoreflect.Value{}, fmt.Errorf("it is true or false")
		}
		return protoreflect.ValueOfBool(value), nil
	case protoreflect.EnumKind:
		names := enumNames(field.Enum())
		at := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, text) })
		if at < 0 {
			return protoreflect.Value{}, fmt.Errorf("it is one of %s", strings.Join(names, ", "))
		}
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(at).Number()), nil
	default:
		return parseNumber(field.Kind(), text)
	}
}

// parseNumber reads decimal numbers of the kinds that the protocol has.
func parseNumber(kind protoreflect.Kind, text string) (protoreflect.Value, error) {
	switch kind {
	case protoreflect.Uint32Kind:
		n, err := strconv.ParseUint(text, 10, 32)
		return protoreflect.ValueOfUint32(uint32(n)), numberError(err, "0 to 4294967295")
	case protoreflect.Uint64Kind:
		n, err := strconv.ParseUint(text, 10, 64)
		return protoreflect.ValueOfUint64(n), numberError(err, "0 to 18446744073709551615")
	case protoreflect.Int32Kind:
		n, err := strconv.ParseInt(text, 10, 32)
		return protoreflect.ValueOfInt32(int32(n)), numberError(err, "-2147483648 to 2147483647")
	default:
		return protoreflect.Value{}, fmt.Errorf("a %s can't be given here", kind)
	}
}

func numberError(err error, bounds string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("it is a number, %s", bounds)
}

func enumNames(e protoreflect.EnumDescriptor) []string {
	var names []string
	for i := range e.Values().Len() {
		names = append(names, string(e.Values().Get(i).Name()))
	}
	return names
}

// firstMissing is the name of a required field that has no value; empty if all
// have.
func firstMissing(m protoreflect.Message, prefix string) string {
	for field := range inOrder(m.Descriptor()) {
		name := prefix + string(field.Name())
		switch {
		case field.Cardinality() == protoreflect.Required && !m.Has(field):
			return name
		case field.Message() == nil || !m.Has(field):
		case field.IsList():
			for i := range m.Get(field).List().Len() {
				inner := fmt.Sprintf("%s[%d].", name, i)
				if missing := firstMissing(m.Get(field).List().Get(i).Message(), inner); missing != "" {
					return missing
				}
			}
		default:
			if missing := firstMissing(m.Get(field).Message(), name+"."); missing != "" {
				return missing
			}
		}
	}
	return ""
}
