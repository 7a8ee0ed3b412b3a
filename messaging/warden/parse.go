package warden

import (
	"fmt"
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
		if field := fields.Get(i); field.Cardinality() == protoreflect.Required {
			if wrong := checkRequired(m, field); wrong != "" {
				return string(field.Name()) + ": " + wrong
			}
		}
	}
	wrong := ""
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		wrong = checkNested(field, value)
		return wrong == ""
	})
	return wrong
}

// checkRequired takes a number that an enum doesn't have for a field that isn't
// there, as proto2 does and the library doesn't.
func checkRequired(m protoreflect.Message, field protoreflect.FieldDescriptor) string {
	if !m.Has(field) {
		return "missing"
	}
	if field.Kind() == protoreflect.EnumKind {
		if n := m.Get(field).Enum(); field.Enum().Values().ByNumber(n) == nil {
			return fmt.Sprintf("there is no %s %d", field.Enum().Name(), n)
		}
	}
	return ""
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

func element(field protoreflect.Name, i int) string {
	return string(field) + "[" + strconv.Itoa(i) + "]"
}
