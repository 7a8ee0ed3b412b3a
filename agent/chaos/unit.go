package chaos

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
)

// unitReader cuts a NATS connection into what the protocol sends as one: a
// line, or a message with its line and its payload. It works for both ways.
type unitReader struct {
	r      *bufio.Reader
	opaque bool // encrypted, or another protocol: bytes as they come
	midway bool // in a line that is longer than any line of a message
}

// payloadMax is far above what servers allow; more is no message.
const payloadMax = 64 << 20

// encrypted are the first bytes of TLS records; no line of NATS begins so.
const encryptedFirst, encryptedLast = 0x14, 0x17

// next returns the next unit; with an error, what came before it.
func (u *unitReader) next() (unit []byte, message bool, err error) {
	first, err := u.r.Peek(1)
	if err != nil {
		return nil, false, err
	}
	if first[0] >= encryptedFirst && first[0] <= encryptedLast {
		u.opaque = true
	}
	if u.opaque {
		unit, err = u.rest()
		return unit, false, err
	}
	line, err := u.r.ReadSlice('\n')
	unit = bytes.Clone(line)
	if was := u.midway; was || err != nil {
		if u.midway = err == bufio.ErrBufferFull; u.midway {
			err = nil
		}
		return unit, false, err
	}
	if bytes.HasPrefix(unit, []byte("GET ")) || bytes.HasPrefix(unit, []byte("HTTP/")) {
		u.opaque = true // a web socket
		return unit, false, nil
	}
	size, ok := payloadOf(unit)
	if !ok {
		return unit, false, nil
	}
	head := len(unit)
	unit = append(unit, make([]byte, size+len("\r\n"))...)
	n, err := io.ReadFull(u.r, unit[head:])
	return unit[:head+n], err == nil, err
}

func (u *unitReader) rest() ([]byte, error) {
	part := make([]byte, max(u.r.Buffered(), 1))
	n, err := u.r.Read(part)
	return part[:n], err
}

// payloadOf is the number of bytes that follow the line of a message.
func payloadOf(line []byte) (size int, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 3 {
		return 0, false
	}
	switch string(bytes.ToUpper(fields[0])) {
	case "PUB", "HPUB", "MSG", "HMSG":
	default:
		return 0, false
	}
	size, err := strconv.Atoi(string(fields[len(fields)-1]))
	return size, err == nil && size >= 0 && size <= payloadMax
}
