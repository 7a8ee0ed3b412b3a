package initproto

import (
	"encoding/binary"
	"errors"
)

// MessageMax bounds one message in bytes. It has to fit into a socket's send
// buffer in one piece; both sides ask the kernel for twice that.
const MessageMax = 256 << 10

// DescriptorsMax is the kernel's own limit of descriptors in one message (SCM_MAX_FD).
const DescriptorsMax = 253

// ErrMalformed says that bytes are no message of this protocol.
var ErrMalformed = errors.New("initproto: malformed message")

// Kind tells what a message is.
type Kind uint16

// The kinds of messages. Numbers are for ever.
const (
	KindSetup     Kind = 1
	KindSetupDone Kind = 2
	KindFailed    Kind = 3
	KindHello     Kind = 4
	KindSpawn     Kind = 5
	KindSpawned   Kind = 6
	KindStop      Kind = 7
	KindStopped   Kind = 8
	KindExited    Kind = 9
	KindClone     Kind = 10
	KindCloned    Kind = 11
	KindSignal    Kind = 12 // since version 3, and so the next
	KindHangUp    Kind = 13
)

const (
	kindSize   = 2
	headerSize = 6
)

// writer appends fields to a message.
type writer struct{ b []byte }

func newWriter(k Kind) *writer {
	return &writer{binary.LittleEndian.AppendUint16(nil, uint16(k))}
}

func (w *writer) bytes(number uint16, value []byte) {
	w.b = binary.LittleEndian.AppendUint16(w.b, number)
	w.b = binary.LittleEndian.AppendUint32(w.b, uint32(len(value)))
	w.b = append(w.b, value...)
}

func (w *writer) string(number uint16, value string) { w.bytes(number, []byte(value)) }

func (w *writer) strings(number uint16, values []string) {
	for _, v := range values {
		w.string(number, v)
	}
}

// uint leaves zero out: an absent number reads as zero.
func (w *writer) uint(number uint16, value uint64) {
	if value != 0 {
		w.bytes(number, binary.LittleEndian.AppendUint64(nil, value))
	}
}

func (w *writer) flag(number uint16, value bool) {
	if value {
		w.uint(number, 1)
	}
}

// field is one decoded field; its value aliases the message.
type field struct {
	number uint16
	value  []byte
}

func (f field) uint() uint64 {
	if len(f.value) != 8 {
		return 0
	}
	return binary.LittleEndian.Uint64(f.value)
}

// KindOf reads a message's kind.
func KindOf(message []byte) (Kind, error) {
	if len(message) < kindSize || len(message) > MessageMax {
		return 0, ErrMalformed
	}
	return Kind(binary.LittleEndian.Uint16(message)), nil
}

// each calls take for every field after checking kind and bounds.
func each(message []byte, want Kind, take func(field)) error {
	kind, err := KindOf(message)
	if err != nil || kind != want {
		return ErrMalformed
	}
	return eachField(message[kindSize:], take)
}

func eachField(rest []byte, take func(field)) error {
	for len(rest) > 0 {
		if len(rest) < headerSize {
			return ErrMalformed
		}
		number := binary.LittleEndian.Uint16(rest)
		size := binary.LittleEndian.Uint32(rest[2:])
		rest = rest[headerSize:]
		if uint64(size) > uint64(len(rest)) {
			return ErrMalformed
		}
		take(field{number, rest[:size]})
		rest = rest[size:]
	}
	return nil
}
