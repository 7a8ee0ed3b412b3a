package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func fixedTime() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 5_000_000, time.UTC) }

func TestALineIsTimeLevelNameMessageAndPairs(t *testing.T) {
	var out bytes.Buffer
	log := newLog(Log{Level: "info", Format: "text"}, &out, fixedTime).Named("instance")
	log.Debug("never seen")
	log.Info("state changed", "from", "BORN", "to", "STARTING", "uri", "a b")
	want := "2026-03-01T12:00:00.005Z [INFO]  deacon.instance: state changed: from=BORN to=STARTING uri=\"a b\"\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestAJSONLineIsOneObject(t *testing.T) {
	var out bytes.Buffer
	newLog(Log{Level: "trace", Format: "json"}, &out, fixedTime).Trace("started", "command", "a && b > c", "index", 3)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"@message": "started", "@level": "trace", "@module": "deacon",
		"@timestamp": "2026-03-01T12:00:00.005Z", "command": "a && b > c", "index": float64(3)} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if strings.Contains(out.String(), `\u00`) {
		t.Errorf("escaped for a browser: %s", out.String())
	}
}

func TestOnlyATerminalGetsColour(t *testing.T) {
	keeper, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	unix.IoctlSetPointerInt(int(keeper.Fd()), unix.TIOCSPTLCK, 0)
	name, err := unix.IoctlGetInt(int(keeper.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", name), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	plain, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()

	t.Setenv("NO_COLOR", "")
	if !isTerminal(terminal) || isTerminal(plain) {
		t.Errorf("terminal: %t, want true; file: %t, want false", isTerminal(terminal), isTerminal(plain))
	}
	t.Setenv("NO_COLOR", "1")
	if isTerminal(terminal) {
		t.Error("NO_COLOR is not heard")
	}
	for level, colourful := range map[string]bool{"text": true, "json": false} {
		t.Setenv("NO_COLOR", "")
		newLog(Log{Level: "info", Format: level}, terminal, fixedTime).Warn("x")
		got := make([]byte, 1024)
		n, err := keeper.Read(got)
		if err != nil || bytes.Contains(got[:n], []byte("\x1b[")) != colourful {
			t.Errorf("%s: %q, %v; colour wanted: %t", level, got[:n], err, colourful)
		}
	}
}
