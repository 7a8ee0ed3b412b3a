package agent

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// daemon is a syslog daemon that keeps what it gets.
func daemon(t *testing.T) (socket string, next func() string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return socket, func() string {
		var datagram [2048]byte
		conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := conn.Read(datagram[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(datagram[:n])
	}
}

func TestTheLogGoesToItsFileAndToSyslog(t *testing.T) {
	socket, next := daemon(t)
	file := filepath.Join(t.TempDir(), "deacon.log")
	if err := os.WriteFile(file, []byte("earlier\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, closeLog, err := openLog(Log{Level: "debug", Format: "text", File: file, Syslog: "node-1"}, socket)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("one", "key", "value")
	log.Error("two")
	log.Named("part").Warn("three")
	log.Debug("four")
	log.Trace("five, which is more than was asked for")
	if err := closeLog(); err != nil {
		t.Error(err)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	if len(lines) != 5 || lines[0] != "earlier" || !strings.Contains(lines[1], "deacon: one: key=value") {
		t.Errorf("the file has %q, want what was there and four lines", lines)
	}
	for i, begin := range []string{"<14>", "<11>", "<12>", "<15>"} {
		got := next()
		if !strings.HasPrefix(got, begin) || !strings.Contains(got, " node-1: ") || !strings.HasSuffix(got, lines[i+1]) {
			t.Errorf("syslog got %q, want %s and the file's line %q", got, begin, lines[i+1])
		}
	}
}

func TestSyslogAloneLeavesStandardErrorAlone(t *testing.T) {
	socket, next := daemon(t)
	log, closeLog, err := openLog(Log{Level: "info", Format: "text", Syslog: "n"}, socket)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("a\nb")
	if err := closeLog(); err != nil {
		t.Error(err)
	}
	if first := next(); !strings.Contains(first, "deacon: ") || strings.Contains(first, "\n") {
		t.Errorf("syslog got %q, want the first line alone", first)
	}
}

func TestWithoutAnOutputTheLogGoesWhereItWent(t *testing.T) {
	var output bytes.Buffer
	log, closeLog, err := OpenLog(Log{Level: "info", Format: "text"}, &output)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("here")
	if err := closeLog(); err != nil || !strings.Contains(output.String(), "here") {
		t.Errorf("the output is %q, %v", output.String(), err)
	}
	if _, _, err := OpenLog(Log{File: filepath.Join(t.TempDir(), "missing", "log")}, &output); err == nil {
		t.Error("a log that can't be opened is no error")
	}
}
