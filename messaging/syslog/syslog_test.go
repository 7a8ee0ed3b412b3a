package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// limit is how long a test waits for what is to come at once.
const limit = 20 * time.Second

func listen(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buffer := make([]byte, 64<<10)
	conn.SetReadDeadline(time.Now().Add(limit))
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

// The datagrams are what logger 2.38.1 sent for the same lines.
func TestLinesAreLoggers(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	daemon := listen(t, socket)
	at := time.Date(2026, 11, 4, 2, 5, 9, 0, time.Local)
	w := newWriter(socket, func() time.Time { return at })
	defer w.Close()
	w.Write(Info, "warden.app", []byte("one"))
	w.Write(Err, "warden.app", []byte("no end\xff\x01z"))
	w.Write(Err, "warden.app", nil)
	w.Write(Info, "warden.app", []byte("x"+strings.Repeat("y", 2500)))
	for _, want := range []string{
		"<14>Nov  4 02:05:09 warden.app: one",
		"<11>Nov  4 02:05:09 warden.app: no end\xff\x01z",
		"<11>Nov  4 02:05:09 warden.app: ",
		"<14>Nov  4 02:05:09 warden.app: x" + strings.Repeat("y", 1023),
		"<14>Nov  4 02:05:09 warden.app: " + strings.Repeat("y", 1024),
		"<14>Nov  4 02:05:09 warden.app: " + strings.Repeat("y", 453),
	} {
		if got := hear(t, daemon); got != want {
			t.Errorf("datagram %q, want %q", got, want)
		}
	}
	if n := w.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func TestADaemonMayComeLateAndAgain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	w := New(socket)
	defer w.Close()
	w.Write(Info, "warden.x", []byte("to nobody"))
	dropped(t, w, 1)

	for n := range 3 {
		daemon := listen(t, socket)
		w.Write(Info, "warden.x", fmt.Append(nil, n))
		if got := hear(t, daemon); !strings.HasSuffix(got, fmt.Sprint(" warden.x: ", n)) {
			t.Errorf("datagram %q", got)
		}
		daemon.Close()
		os.Remove(socket)
	}
	w.Write(Info, "warden.x", []byte("to nobody"))
	dropped(t, w, 2)
}

// dropped waits until so many are.
func dropped(t *testing.T, w *Writer, want uint64) {
	t.Helper()
	for deadline := time.Now().Add(limit); w.Dropped() != want; time.Sleep(time.Millisecond) { // nothing tells of it
		if time.Now().After(deadline) {
			t.Fatalf("%d dropped, want %d", w.Dropped(), want)
		}
	}
}

// A daemon that takes nothing holds up nobody: its queue and ours fill, the
// rest is dropped, and once it reads again nothing more than that is lost.
func TestADaemonThatDoesNotListenBlocksNobody(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	daemon := listen(t, socket)
	w := New(socket)
	defer w.Close()
	const lines = QueueMax + 2000
	begun := time.Now()
	for n := range lines {
		w.Write(Info, "warden.x", fmt.Append(nil, n))
	}
	if took := time.Since(begun); took > limit/4 {
		t.Errorf("%d lines took %v", lines, took)
	}
	if w.Dropped() == 0 {
		t.Error("nothing was dropped")
	}
	heard := uint64(0)
	for heard+w.Dropped() < lines {
		hear(t, daemon)
		heard++
	}
	if heard < QueueMax {
		t.Errorf("%d of %d lines were heard", heard, lines)
	}
}

func TestClosingSendsWhatWaits(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	daemon := listen(t, socket)
	w := New(socket)
	for n := range 5 {
		w.Write(Info, "warden.x", fmt.Append(nil, n))
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if got := hear(t, daemon); !strings.HasSuffix(got, fmt.Sprint(": ", n)) {
			t.Errorf("datagram %q", got)
		}
	}
	if New(filepath.Join(t.TempDir(), "none")).Close() != nil {
		t.Error("without a daemon it does not end")
	}
}
