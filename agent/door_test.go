package agent

import (
	"bytes"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging/syslog"
)

// TestTheMachinesLogBeginsAtTheFirstLine: a node without tagged jobs has no
// writer, and what comes after the end begins none.
func TestTheMachinesLogBeginsAtTheFirstLine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()

	unused := &machineLog{socket: socket}
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
	unused.Write(syslog.Info, "warden.late", []byte("late"))
	if unused.writer != nil {
		t.Error("a line after the end began a writer")
	}

	used := &machineLog{socket: socket}
	if used.writer != nil {
		t.Error("there is a writer before the first line")
	}
	used.Write(syslog.Err, "warden.app", []byte("oops"))
	if err := used.Close(); err != nil {
		t.Error(err)
	}
	datagram := make([]byte, syslog.LineMax)
	daemon.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := daemon.Read(datagram)
	if got := datagram[:n]; err != nil || !bytes.HasPrefix(got, []byte("<11>")) || !bytes.HasSuffix(got, []byte(" warden.app: oops")) {
		t.Errorf("the daemon heard %q, %v", got, err)
	}
}
