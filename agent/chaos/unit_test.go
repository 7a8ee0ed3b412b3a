package chaos

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// units reads a stream piece by piece, however it arrives.
func units(t *testing.T, r io.Reader) (all []string, messages int, opaque bool) {
	t.Helper()
	u := &unitReader{r: bufio.NewReaderSize(r, lineBuffer)}
	for {
		unit, message, err := u.next()
		if len(unit) > 0 {
			all = append(all, string(unit))
		}
		if message {
			messages++
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
			return all, messages, u.opaque
		}
	}
}

func TestMessagesAreCutWhereTheyEnd(t *testing.T) {
	want := []string{
		"INFO {\"server_id\":\"x\"}\r\n", "PING\r\n", "MSG a.b 1 5\r\nhe\r\nx\r\n", "msg a 1 reply.to 0\r\n\r\n",
		"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", "PUB dea.heartbeat 2\r\n{}\r\n", "-ERR 'no'\r\n",
		"SUB dea.stop 7\r\n", "PONG\r\n",
	}
	stream := strings.Join(want, "")
	for name, r := range map[string]io.Reader{
		"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
	} {
		got, messages, opaque := units(t, r)
		if strings.Join(got, "|") != strings.Join(want, "|") || messages != 4 || opaque {
			t.Errorf("%s: %q, %d messages, opaque %v", name, got, messages, opaque)
		}
	}
}

func TestWhatCantBeReadPassesAsItIs(t *testing.T) {
	for name, stream := range map[string]string{
		"TLS":             "INFO {}\r\n\x16\x03\x01\x00\x05hello\nMSG a 1 5\r\n",
		"a web socket":    "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x05MSG a 1 99\r\n",
		"broken off":      "MSG a 1 99\r\nhalf",
		"a line too long": "INFO " + strings.Repeat("x", 3*lineBuffer) + "\r\nPING\r\n",
		"what looks like a message in a line too long": strings.Repeat("x", lineBuffer) + "MSG a 1 4\r\nPING\r\n",
		"a size that isn't":                            "MSG a 1 -5\r\nMSG a 1 99999999999\r\nMSG a 1 x\r\n",
	} {
		got, messages, _ := units(t, strings.NewReader(stream))
		if strings.Join(got, "") != stream || messages != 0 {
			t.Errorf("%s: %d messages, %d of %d bytes", name, messages, len(strings.Join(got, "")), len(stream))
		}
	}
}

// Whatever comes in goes out, byte for byte.
func FuzzUnits(f *testing.F) {
	f.Add([]byte("MSG a 1 5\r\nhello\r\nPING\r\n"))
	f.Add([]byte("\x16\x03\x01MSG"))
	f.Add([]byte("HPUB a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, _, _ := units(t, bytes.NewReader(stream))
		if strings.Join(got, "") != string(stream) {
			t.Errorf("%q became %q", stream, got)
		}
	})
}
