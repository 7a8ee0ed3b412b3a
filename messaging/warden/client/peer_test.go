package client

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"testing"
)

// The peer speaks the wire by hand (wire/warden.md a), so that the client isn't
// tested against its own codec.

// frame is a message of a type around the fields given.
func frame(kind uint64, fields ...[]byte) []byte {
	message := append(num(1, kind), str(2, string(bytes.Join(fields, nil)))...)
	return []byte(strconv.Itoa(len(message)) + "\r\n" + string(message) + "\r\n")
}

func num(field, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, field<<3), value)
}

func str(field uint64, text string) []byte {
	head := binary.AppendUvarint(binary.AppendUvarint(nil, field<<3|2), uint64(len(text)))
	return append(head, text...)
}

func refusal(text string) []byte { return frame(1, str(2, text)) }

// turn is what the peer hears, to the byte, and what it says then.
type turn struct{ hear, say []byte }

// listen makes a socket on which each connection is served by serve.
func listen(t *testing.T, serve func(conn net.Conn)) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "warden.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return path
}

// dial connects to a peer that serves.
func dial(t *testing.T, serve func(conn net.Conn)) *Client {
	t.Helper()
	c, err := Dial(t.Context(), listen(t, serve))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// converse dials a peer that takes the turns and then hangs up.
func converse(t *testing.T, turns ...turn) *Client {
	t.Helper()
	return dial(t, func(conn net.Conn) { takeTurns(t, conn, turns...) })
}

func takeTurns(t *testing.T, conn net.Conn, turns ...turn) {
	for _, turn := range turns {
		heard := make([]byte, len(turn.hear))
		n, err := io.ReadFull(conn, heard)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return // the test is over
		}
		if err != nil || !bytes.Equal(heard, turn.hear) {
			t.Errorf("the peer heard %q (%v)\nwant %q", heard[:n], err, turn.hear)
			return
		}
		if _, err := conn.Write(turn.say); err != nil {
			return
		}
	}
}

// hear takes one frame, whatever it holds.
func hear(from *bufio.Reader) ([]byte, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(line[:len(line)-2])
	if err != nil {
		return nil, err
	}
	body := make([]byte, n+2)
	_, err = io.ReadFull(from, body)
	return body[:n], err
}

// serveEcho answers every frame by itself, which is right for ping and echo.
func serveEcho(conn net.Conn) {
	from := bufio.NewReader(conn)
	for {
		body, err := hear(from)
		if err != nil {
			return
		}
		conn.Write([]byte(strconv.Itoa(len(body)) + "\r\n" + string(body) + "\r\n"))
	}
}
