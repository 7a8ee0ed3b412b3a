package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

var askStream = frame(24, str(1, "h"), num(2, 5))

func chunk(name, data string) []byte { return frame(24, str(1, name), str(2, data)) }

func TestAStreamIsHandedOverAsItComes(t *testing.T) {
	c := converse(t, turn{askStream, bytes.Join([][]byte{
		chunk("stdout", "a\n"), chunk("stderr", "\xff"), chunk("stdout", "b"),
		golden("3136 0d0a 0818120c180022085206616374697665 0d0a"),
	}, nil)})
	var heard strings.Builder
	status, info, err := c.Stream(t.Context(), "h", 5, func(stream string, data []byte) error {
		_, err := fmt.Fprintf(&heard, "%s %q ", stream, data)
		return err
	})
	if err != nil || status != 0 || info.GetState() != "active" {
		t.Errorf("got %d, %v, %v", status, info, err)
	}
	if want := `stdout "a\n" stderr "\xff" stdout "b" `; heard.String() != want {
		t.Errorf("heard %s\nwant %s", heard.String(), want)
	}
}

func TestAStreamMayBeRefusedOrCut(t *testing.T) {
	never := func(string, []byte) error { return nil }
	_, _, err := converse(t, turn{askStream, refusal("no such job")}).Stream(t.Context(), "h", 5, never)
	if failed, ok := errors.AsType[*ServerError](err); !ok || failed.Text != "no such job" {
		t.Errorf("refused: %v", err)
	}
	count := 0
	_, _, err = converse(t, turn{askStream, append(chunk("stdout", "x"), chunk("stdout", "y")...)}).
		Stream(t.Context(), "h", 5, func(string, []byte) error { count++; return nil })
	if gone, ok := errors.AsType[*DisconnectedError](err); !ok || !gone.Sent || !errors.Is(err, io.EOF) {
		t.Errorf("cut: %v", err)
	}
	if count != 2 {
		t.Errorf("%d chunks came before the end, want 2", count)
	}
}

// TestAStreamThatIsLeftHoldsTheConnectionUntilItsEnd leaves it in both ways;
// the rest is dropped, however much it is, and the next request is answered.
func TestAStreamThatIsLeftHoldsTheConnectionUntilItsEnd(t *testing.T) {
	var much []byte
	for range 4 * chunksAhead {
		much = append(much, chunk("stdout", "x")...)
	}
	much = append(much, frame(24, num(3, 0))...)
	errEnough := errors.New("enough")
	for name, leave := range map[string]func(cancel func()) error{
		"by an error": func(func()) error { return errEnough },
		"by its end":  func(cancel func()) error { cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := converse(t, turn{askStream, much}, turn{frame(91), frame(91)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, _, err := c.Stream(ctx, "h", 5, func(string, []byte) error { return leave(cancel) })
			if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if err := c.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

// TestASlowTakerHoldsUpTheServer: what nobody takes is not read into memory.
func TestASlowTakerHoldsUpTheServer(t *testing.T) {
	piece := chunk("stdout", strings.Repeat("x", 64<<10))
	const pieces = 1000
	written := make(chan int, 1)
	c := dial(t, func(conn net.Conn) {
		takeTurns(t, conn, turn{askStream, nil})
		n := 0
		for ; n < pieces; n++ {
			conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := conn.Write(piece); err != nil {
				break // nobody reads any more
			}
		}
		written <- n
	})
	taken := 0
	_, _, err := c.Stream(t.Context(), "h", 5, func(string, []byte) error {
		if taken++; taken == 1 {
			if n := <-written; n > 2*chunksAhead+10 { // and what the socket holds
				t.Errorf("%d pieces were taken in advance", n)
			}
		}
		return nil
	})
	// The last piece was cut anywhere, so perhaps just before its first byte.
	if _, gone := errors.AsType[*DisconnectedError](err); !gone || taken < chunksAhead {
		t.Errorf("%d taken, then %v", taken, err)
	}
}

func BenchmarkStream(b *testing.B) {
	piece := chunk("stdout", strings.Repeat("x", 64<<10))
	path := b.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, _ := listener.Accept()
		io.ReadFull(conn, make([]byte, len(askStream)))
		for range b.N {
			conn.Write(piece)
		}
		conn.Write(frame(24, num(3, 0)))
	}()
	c, err := Dial(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetBytes(64 << 10)
	b.ResetTimer()
	if _, _, err := c.Stream(b.Context(), "h", 5, func(string, []byte) error { return nil }); err != nil {
		b.Fatal(err)
	}
}
