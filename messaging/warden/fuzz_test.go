package warden

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// reasonMax is how long a reason may be, whatever the message: it is logged.
const reasonMax = 200

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.What == "" || invalid.Reason == "" || len(invalid.Error()) > reasonMax {
		t.Fatalf("refused with %T %v", err, err)
	}
}

// FuzzDecode holds the decoder to its promises: it never panics, it refuses
// with an InvalidError of bounded length, it keeps nothing of the message, and
// what it takes means the same when it is said again.
func FuzzDecode(f *testing.F) {
	for _, sample := range sampleRequests {
		payload, err := proto.Marshal(sample.request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(int32(sample.kind), payload)
	}
	for kind, payloads := range malformed {
		for payload := range payloads {
			f.Add(int32(kind), []byte(payload))
		}
	}
	f.Fuzz(func(t *testing.T, kind int32, payload []byte) {
		m := Message{Type(kind), slices.Clone(payload)}
		if frame, local, err := Local(m); local {
			if err != nil {
				checkRefusal(t, err)
			} else if got := only(t, frame); got.Type != m.Type {
				t.Fatalf("%v was answered by %v", m, got)
			}
			return
		}
		cmd, err := Decode(m, asker)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		clear(m.Payload)
		request := requests[m.Type]()
		if err := Parse(Message{m.Type, payload}, request); err != nil {
			t.Fatal(err)
		}
		frame, err := Frame(m.Type, request)
		if err != nil {
			t.Fatalf("%+v: %v", cmd, err)
		}
		back, err := Decode(only(t, frame), asker)
		if err != nil {
			t.Fatalf("%q became %q: %v", payload, frame, err)
		}
		if diff := cmp.Diff(cmd, back); diff != "" {
			t.Fatalf("%q became %q (-before +after):\n%s", payload, frame, diff)
		}
	})
}

// requests are of the types that the node takes.
var requests = func() map[Type]func() proto.Message {
	all := map[Type]func() proto.Message{}
	for _, sample := range sampleRequests {
		all[sample.kind] = func() proto.Message { return sample.request.ProtoReflect().New().Interface() }
	}
	return all
}()

// FuzzParse holds the client's side to the same, for every response.
func FuzzParse(f *testing.F) {
	for i, sample := range sampleAnswers {
		payload, err := proto.Marshal(sample.response)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), payload)
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		sample := sampleAnswers[int(which)%len(sampleAnswers)]
		response := sample.response.ProtoReflect().New().Interface()
		if err := Parse(Message{sample.kind, payload}, response); err != nil {
			checkRefusal(t, err)
			return
		}
		frame, err := Frame(sample.kind, response)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, only(t, frame), sample.kind, response)
	})
}

// FuzzNext holds the framing to its promises: it never panics, what it takes
// doesn't depend on how the bytes arrive, it ends in one of three ways, and a
// frame that it took is taken again.
func FuzzNext(f *testing.F) {
	for wire := range noFrames {
		f.Add([]byte(wire))
	}
	for _, sample := range sampleRequests {
		frame, err := Frame(sample.kind, sample.request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(slices.Concat(frame, AppendFrame(nil, TypePing, nil), frame))
	}
	f.Add(AppendFrame(Chunk("stdout", []byte("x\n")), Type(protocol.Message_Error), nil))
	f.Fuzz(func(t *testing.T, wire []byte) {
		whole, parts := NewReader(bytes.NewReader(wire)), NewReader(iotest.OneByteReader(bytes.NewReader(wire)))
		for {
			m, err := whole.Next()
			other, otherErr := parts.Next()
			if !cmp.Equal(m, other) || (err == nil) != (otherErr == nil) || err != nil && err.Error() != otherErr.Error() {
				t.Fatalf("at once %v %v, byte by byte %v %v", m, err, other, otherErr)
			}
			if err != nil {
				if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
					checkRefusal(t, err)
				}
				return
			}
			if again := only(t, AppendFrame(nil, m.Type, m.Payload)); !cmp.Equal(m, again) {
				t.Fatalf("%v was framed as %v", m, again)
			}
		}
	})
}
