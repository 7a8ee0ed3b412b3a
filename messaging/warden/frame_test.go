package warden

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestWhatWasFramedIsReadAgainInOrder(t *testing.T) {
	want := []Message{
		{TypePing, []byte{}},
		{TypeEcho, []byte("\x0a\x05hello")},
		{TypeStream, bytes.Repeat([]byte("x"), 3*reserveMax+1)},
		{TypeError, []byte("\r\n")},
		{-1, []byte{0}},
	}
	var wire []byte
	for _, m := range want {
		wire = AppendFrame(wire, m.Type, m.Payload)
	}
	for name, from := range map[string]io.Reader{
		"at once":      bytes.NewReader(wire),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(wire)),
		"in halves":    iotest.HalfReader(bytes.NewReader(wire)),
	} {
		r := NewReader(from)
		for i, m := range want {
			got, err := r.Next()
			if err != nil {
				t.Fatalf("%s: message %d: %v", name, i, err)
			}
			if diff := cmp.Diff(m, got); diff != "" {
				t.Fatalf("%s: message %d: -framed +read:\n%.400s", name, i, diff)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: after the last: %v, want io.EOF", name, err)
		}
	}
}

// noFrames are refused, and why.
var noFrames = map[string]string{
	"\r\n\x08\x5b\x12\x00\r\n":                  `want a length and CR LF, got '\r' after 0 digits`,
	"\n":                                        `want a length and CR LF, got '\n' after 0 digits`,
	"4\n\x08\x5b\x12\x00\r\n":                   `want a length and CR LF, got '\n' after 1 digits`,
	"x\r\n":                                     `want a length and CR LF, got 'x' after 0 digits`,
	"-4\r\n":                                    `want a length and CR LF, got '-' after 0 digits`,
	" 4\r\n":                                    `want a length and CR LF, got ' ' after 0 digits`,
	"0x4\r\n":                                   `want a length and CR LF, got 'x' after 1 digits`,
	"4\rx":                                      `want LF after the length's CR, got 'x'`,
	"67108865\r\n":                              "longer than 67108864 bytes",
	"99999999999999999999\r\n":                  "longer than 67108864 bytes",
	"000000000000000000004\r\n":                 "the length has more than 20 digits",
	"4\r\n\x08\x5b\x12\x00\n\n":                 `want CR LF after 4 bytes, got "\n\n"`,
	"0\r\n\r\n":                                 "type: missing",
	"2\r\n\x12\x00\r\n":                         "type: missing",
	"2\r\n\x08\x5b\r\n":                         "payload: missing",
	"4\r\n\x0a\x00\x12\x00\r\n":                 "field 1: of the wrong kind 2",
	"4\r\n\x08\x5b\x10\x00\r\n":                 "field 2: of the wrong kind 0",
	"4\r\n\x08\x5b\x12\x01\r\n":                 "field 2: unexpected EOF",
	"3\r\n\x12\x00\x08\r\n":                     "field 1: unexpected EOF",
	"5\r\n\x08\x5b\x12\x00\xff\r\n":             "not a message: unexpected EOF",
	"5\r\n\x08\x5b\x12\x00\x00\r\n":             "not a message: invalid field number",
	"5\r\n\x08\x5b\x12\x00\x1c\r\n":             "field 3: mismatching end group marker",
	"6\r\n\x08\x5b\x12\x00\x1b\x24\r\n":         "field 3: mismatching end group marker",
	"16\r\n{\"type\":\"ping\"}\n\r\n":           "field 15: unexpected EOF",
	"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n": `want a length and CR LF, got 'G' after 0 digits`,
}

func TestWhatIsNoFrameIsRefusedWithTheReason(t *testing.T) {
	for wire, want := range noFrames {
		_, err := NewReader(strings.NewReader(wire)).Next()
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || invalid.What != "frame" || invalid.Reason != want {
			t.Errorf("%q: error %v, want %q", wire, err, want)
		}
	}
}

// Only an end between frames is a connection that was closed in good order.
func TestAConnectionThatIsCutIsToldFromOneThatEnded(t *testing.T) {
	ping := AppendFrame(nil, TypePing, nil)
	wire := AppendFrame(ping, TypeEcho, []byte("\x0a\x01x"))
	for cut := range len(wire) + 1 {
		r := NewReader(bytes.NewReader(wire[:cut]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		whole := cut == 0 || cut == len(ping) || cut == len(wire)
		if whole != (err == io.EOF) || !whole && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	_, err := NewReader(strings.NewReader("400\r\nabc")).Next()
	if want := "warden: read a message, with 3 of 402 bytes: unexpected EOF"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestAFaultOfTheConnectionIsPassedOn(t *testing.T) {
	broken := errors.New("broken")
	for _, before := range []string{"", "4", "4\r", "4\r\n", "4\r\n\x08\x5b"} {
		_, err := NewReader(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken))).Next()
		if !errors.Is(err, broken) {
			t.Errorf("after %q: %v", before, err)
		}
	}
}

func TestTheLongestMessageIsTaken(t *testing.T) {
	payload := make([]byte, MessageMax-len("\x08\x5d\x12\xf7\xff\xff\x1f"))
	frame := AppendFrame(nil, TypeEcho, payload)
	if m := only(t, frame); len(m.Payload) != len(payload) {
		t.Errorf("%d bytes of %d", len(m.Payload), len(payload))
	}
	longer := AppendFrame(nil, TypeEcho, append(payload, 0))
	if _, err := NewReader(bytes.NewReader(longer)).Next(); err == nil {
		t.Error("a message of MessageMax and one byte was taken")
	}
}

// A client that says a length and nothing else costs the node little.
func TestALengthAloneReservesLittle(t *testing.T) {
	const claims = 16
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range claims {
		if _, err := NewReader(strings.NewReader("67108864\r\nx")).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / claims; each > 2*reserveMax {
		t.Errorf("%d bytes for each, want at most %d", each, 2*reserveMax)
	}
}

// A reader's owner may hand a message on and read the next.
func TestAPayloadStaysAsItWas(t *testing.T) {
	r := NewReader(strings.NewReader("7\r\n\x08\x5d\x12\x03abc\r\n" + "7\r\n\x08\x5d\x12\x03xyz\r\n"))
	first, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if string(first.Payload) != "abc" {
		t.Errorf("it became %q", first.Payload)
	}
}
