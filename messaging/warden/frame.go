package warden

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// MessageMax is how long what a frame holds may be. The longest that is of
	// use answers a link: all the output of a job, 10 MiB unless configured
	// otherwise. It guards against a stray client, not against a hostile one:
	// who may write to the socket may run as root anyway.
	MessageMax = 64 << 20

	// payloadMax leaves room for what stands around a payload.
	payloadMax = MessageMax - headMax

	// lengthMax is for a length with zeros in front.
	lengthMax = 20

	// reserveMax is what a length alone gets memory for; more has to arrive first.
	reserveMax = 256 << 10

	// bufferSize holds some hundred pings. What is longer goes past the buffer.
	bufferSize = 16 << 10

	// FrameEnd is what every frame ends with.
	FrameEnd = "\r\n"
)

// Message is what a frame holds: a request or a response of a type.
type Message struct {
	Type    Type
	Payload []byte
}

// InvalidError says why a frame or a message was refused.
type InvalidError struct {
	What   string // "frame", or the type of the message
	Reason string // begins with the field, where it is one's fault
}

func (e *InvalidError) Error() string { return fmt.Sprintf("warden: invalid %s: %s", e.What, e.Reason) }

// Reader takes the frames from a connection.
type Reader struct{ from *bufio.Reader }

// NewReader reads ahead: nobody else may read from the connection.
func NewReader(from io.Reader) *Reader { return &Reader{bufio.NewReaderSize(from, bufferSize)} }

// Next waits for a frame. The payload is the caller's to keep. It is io.EOF
// when the connection ended after a frame, io.ErrUnexpectedEOF when it ended
// within one, and an *InvalidError when what came was no frame; after that
// there is no telling where the next one begins.
func (r *Reader) Next() (Message, error) {
	n, err := r.length()
	if err != nil {
		return Message{}, err
	}
	body, err := r.body(n + len(FrameEnd))
	if err != nil {
		return Message{}, err
	}
	if end := body[n:]; string(end) != FrameEnd {
		return Message{}, refuseFrame("want CR LF after %d bytes, got %q", n, end)
	}
	return open(body[:n:n])
}

// length takes the first line. The digits may have zeros in front; the Ruby
// server takes that, and no client sends anything else that it takes.
func (r *Reader) length() (int, error) {
	n, digits := 0, 0
	for {
		b, err := r.from.ReadByte()
		switch {
		case err != nil:
			return 0, ended(err, digits > 0, "a length")
		case b == '\r' && digits > 0:
			return n, r.lineFeed()
		case b < '0' || b > '9':
			return 0, refuseFrame("want a length and CR LF, got %q after %d digits", b, digits)
		}
		if digits++; digits > lengthMax {
			return 0, refuseFrame("the length has more than %d digits", lengthMax)
		}
		if n = n*10 + int(b-'0'); n > MessageMax {
			return 0, refuseFrame("longer than %d bytes", MessageMax)
		}
	}
}

func (r *Reader) lineFeed() error {
	b, err := r.from.ReadByte()
	if err != nil {
		return ended(err, true, "a length")
	}
	if b != '\n' {
		return refuseFrame("want LF after the length's CR, got %q", b)
	}
	return nil
}

// body takes n bytes into a slice of their own.
func (r *Reader) body(n int) ([]byte, error) {
	body := make([]byte, 0, min(n, reserveMax))
	for len(body) < n {
		body = slices.Grow(body, min(n-len(body), max(len(body), reserveMax)))
		part := body[len(body):min(n, cap(body))]
		got, err := io.ReadFull(r.from, part)
		body = body[:len(body)+got]
		if err != nil {
			return nil, ended(err, true, fmt.Sprintf("a message, with %d of %d bytes", len(body), n))
		}
	}
	return body, nil
}

// ended tells a connection that ended in its place from one that was cut.
func ended(err error, within bool, what string) error {
	if errors.Is(err, io.EOF) {
		if !within {
			return io.EOF
		}
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("warden: read %s: %w", what, err)
}

func refuseFrame(format string, a ...any) error {
	return &InvalidError{"frame", fmt.Sprintf(format, a...)}
}

// The fields of a message, and of a chunk.
const (
	fieldType    protowire.Number = 1
	fieldPayload protowire.Number = 2
	fieldName    protowire.Number = 1
	fieldData    protowire.Number = 2
)

// open takes a frame's content apart. It is done by hand because every frame
// passes here, and so that the payload isn't copied.
func open(raw []byte) (Message, error) {
	var m Message
	typed := false
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return Message{}, refuseFrame("not a message: %s", broken(n))
		}
		raw = raw[n:]
		switch {
		case field == fieldType && kind == protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(raw)
			m.Type, typed = Type(v), true
		case field == fieldPayload && kind == protowire.BytesType:
			m.Payload, n = protowire.ConsumeBytes(raw)
		case field == fieldType || field == fieldPayload:
			return Message{}, refuseFrame("field %d: of the wrong kind %d", field, kind)
		default:
			n = protowire.ConsumeFieldValue(field, kind, raw)
		}
		if n < 0 {
			return Message{}, refuseFrame("field %d: %s", field, broken(n))
		}
		raw = raw[n:]
	}
	switch {
	case !typed:
		return Message{}, refuseFrame("type: missing")
	case m.Payload == nil:
		return Message{}, refuseFrame("payload: missing")
	}
	return m, nil
}

// broken names a fault of the encoding. The library's own texts differ from
// build to build in the space after "proto:".
func broken(code int) string {
	return strings.TrimSpace(strings.TrimPrefix(protowire.ParseError(code).Error(), "proto:"))
}

// AppendFrame adds the frame of a message to dst.
func AppendFrame(dst []byte, t Type, payload []byte) []byte {
	dst = slices.Grow(dst, headMax+len(payload)+len(FrameEnd))
	dst = append(appendHead(dst, t, len(payload)), payload...)
	return append(dst, FrameEnd...)
}

// headMax is enough for what stands before a payload.
const headMax = 32

// appendHead adds all that stands before a payload of n bytes.
func appendHead(dst []byte, t Type, n int) []byte {
	length := protowire.SizeTag(fieldType) + protowire.SizeVarint(uint64(t)) +
		protowire.SizeTag(fieldPayload) + protowire.SizeBytes(n)
	dst = strconv.AppendInt(dst, int64(length), 10)
	dst = append(dst, FrameEnd...)
	dst = protowire.AppendTag(dst, fieldType, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(t))
	dst = protowire.AppendTag(dst, fieldPayload, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(n))
}

// Frame is the frame of a request or a response of a type, which must be
// complete.
func Frame(t Type, content proto.Message) ([]byte, error) {
	n := proto.Size(content)
	if n > payloadMax {
		return nil, fmt.Errorf("warden: encode %v: longer than %d bytes", t, MessageMax)
	}
	head := appendHead(make([]byte, 0, headMax+n+len(FrameEnd)), t, n)
	frame, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(head, content)
	if err != nil {
		return nil, fmt.Errorf("warden: encode %v: %w", t, err)
	}
	return append(frame, FrameEnd...), nil
}
