package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// inOrder goes through a message's fields by their numbers, which is the order
// that they have on the wire.
func inOrder(d protoreflect.MessageDescriptor) iter.Seq[protoreflect.FieldDescriptor] {
	fields := make([]protoreflect.FieldDescriptor, d.Fields().Len())
	for i := range fields {
		fields[i] = d.Fields().Get(i)
	}
	slices.SortFunc(fields, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number() - b.Number()) })
	return slices.Values(fields)
}

// printAnswer shows what an answer has as "field : value" lines, the names as
// they are given in requests. An answer that has nothing prints nothing.
func printAnswer(w io.Writer, m protoreflect.Message) error {
	var text bytes.Buffer
	appendLines(&text, m, "")
	_, err := w.Write(text.Bytes())
	return err
}

func appendLines(text *bytes.Buffer, m protoreflect.Message, prefix string) {
	for field := range inOrder(m.Descriptor()) {
		name := prefix + string(field.Name())
		switch {
		case !m.Has(field):
		case field.IsList():
			list := m.Get(field).List()
			for i := range list.Len() {
				appendValue(text, field, list.Get(i), fmt.Sprintf("%s[%d]", name, i))
			}
		default:
			appendValue(text, field, m.Get(field), name)
		}
	}
}

// jobOutput are the fields that hold what a job wrote, or what was asked to be
// echoed: they go out byte for byte. All other text might break the terminal.
var jobOutput = []protoreflect.Name{"stdout", "stderr", "data", "message"}

func appendValue(text *bytes.Buffer, field protoreflect.FieldDescriptor, v protoreflect.Value, name string) {
	switch {
	case field.Message() != nil:
		appendLines(text, v.Message(), name+".")
	case field.Kind() == protoreflect.EnumKind:
		fmt.Fprintf(text, "%s : %s\n", name, enumName(field, v))
	case field.Kind() == protoreflect.StringKind && !slices.Contains(jobOutput, field.Name()):
		fmt.Fprintf(text, "%s : %s\n", name, plain(v.String()))
	case field.Kind() == protoreflect.StringKind: // with the newline that it has, or else one
		fmt.Fprintf(text, "%s : %s\n", name, strings.TrimSuffix(v.String(), "\n"))
	default:
		fmt.Fprintf(text, "%s : %v\n", name, v.Interface())
	}
}

func enumName(field protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if value := field.Enum().Values().ByNumber(v.Enum()); value != nil {
		return string(value.Name())
	}
	return fmt.Sprint(v.Enum())
}

// printAnswerJSON shows an answer as one line of JSON. Fields are in their
// order, lists are there even if empty, and text that is no UTF-8 comes as
// "name_base64". Numbers are written in full, past 2^53 too.
func printAnswerJSON(w io.Writer, m protoreflect.Message) error {
	var text bytes.Buffer
	if err := appendObject(&text, m); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := w.Write(text.Bytes())
	return err
}

func appendObject(text *bytes.Buffer, m protoreflect.Message) error {
	text.WriteByte('{')
	separator := ""
	for field := range inOrder(m.Descriptor()) {
		if !m.Has(field) && !field.IsList() {
			continue
		}
		name := string(field.Name())
		value, isUTF8 := jsonValue(field, m.Get(field))
		if !isUTF8 {
			name += "_base64"
		}
		encoded, err := marshal(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(text, "%s%q:%s", separator, name, encoded)
		separator = ","
	}
	text.WriteByte('}')
	return nil
}

// marshal is json.Marshal without HTML in mind.
func marshal(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// messageJSON lets a nested message be marshalled with the rest.
type messageJSON struct{ protoreflect.Message }

func (m messageJSON) MarshalJSON() ([]byte, error) {
	var text bytes.Buffer
	err := appendObject(&text, m.Message)
	return text.Bytes(), err
}

// jsonValue is a field's value as encoding/json takes it. Text that is no
// UTF-8 becomes bytes, which that writes as base64.
func jsonValue(field protoreflect.FieldDescriptor, v protoreflect.Value) (value any, isUTF8 bool) {
	if !field.IsList() {
		value = jsonScalar(field, v)
		if text, ok := value.(string); ok && !utf8.ValidString(text) {
			return []byte(text), false
		}
		return value, true
	}
	values := []any{}
	isUTF8 = true
	for i := range v.List().Len() {
		value := jsonScalar(field, v.List().Get(i))
		if text, ok := value.(string); ok && !utf8.ValidString(text) {
			isUTF8 = false
		}
		values = append(values, value)
	}
	if !isUTF8 { // one that isn't makes all of them bytes, so that each is read alike
		for i, value := range values {
			values[i] = []byte(value.(string))
		}
	}
	return values, isUTF8
}

func jsonScalar(field protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case field.Message() != nil:
		return messageJSON{v.Message()}
	case field.Kind() == protoreflect.EnumKind:
		return enumName(field, v)
	case field.Kind() == protoreflect.BytesKind:
		return string(v.Bytes())
	default:
		return v.Interface()
	}
}
