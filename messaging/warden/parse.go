package warden

import (
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Parse reads a message's payload into content, which must be of its type.
// Every error is an *InvalidError.
//
// Unknown fields are passed over, and repeated numbers are taken packed or not.
// What the library does softer than the protocol is made up for: a known field
// of the wrong kind is not an unknown one.
func Parse(m Message, content proto.Message) error {
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(m.Payload, content); err != nil {
		return &InvalidError{m.Type.String(), "the payload is not protobuf"}
	}
	if wrong := check(content.ProtoReflect()); wrong != "" {
		return &InvalidError{m.Type.String(), wrong}
	}
	return nil
}

// check says what is wrong with a message, and where; empty where nothing is.
func check(m protoreflect.Message) string {
	fields := m.Descriptor().Fields()
	for raw := m.GetUnknown(); len(raw) > 0; {
		number, _, n := protowire.ConsumeField(raw)
		if field := fields.ByNumber(number); field != nil {
			return string(field.Name()) + ": of the wrong kind"
		}
		raw = raw[n:]
	}
	for i := range fields.Len() {
		if field := fields.Get(i); field.Cardinality() == protoreflect.Required && !m.Has(field) {
			return string(field.Name()) + ": missing"
		}
	}
	wrong := ""
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		wrong = checkNested(field, value)
		return wrong == ""
	})
	return wrong
}

func checkNested(field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	if field.Kind() != protoreflect.MessageKind {
		return ""
	}
	if !field.IsList() {
		if wrong := check(value.Message()); wrong != "" {
			return string(field.Name()) + "." + wrong
		}
		return ""
	}
	for i := range value.List().Len() {
		if wrong := check(value.List().Get(i).Message()); wrong != "" {
			return element(field.Name(), i) + "." + wrong
		}
	}
	return ""
}

func element[T ~string](field T, i int) string { return string(field) + "[" + strconv.Itoa(i) + "]" }
