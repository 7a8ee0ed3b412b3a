package initproto

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A version's messages are recorded once, when it is new:
//
//	go test -run ThisVersions ./isolation/initproto -record
var recordThem = flag.Bool("record", false, "record the messages of this version in testdata")

// decoders read every kind of message, by its name in testdata.
var decoders = map[string]func([]byte) (any, error){
	"setup":       func(b []byte) (any, error) { return DecodeSetup(b) },
	"setup-bare":  func(b []byte) (any, error) { return DecodeSetup(b) },
	"setup-done":  func(b []byte) (any, error) { return DecodeStarted(b, KindSetupDone) },
	"spawn":       func(b []byte) (any, error) { return DecodeSpawn(b) },
	"spawned":     func(b []byte) (any, error) { return DecodeStarted(b, KindSpawned) },
	"failed":      func(b []byte) (any, error) { return DecodeFailed(b) },
	"stop":        func(b []byte) (any, error) { return DecodeStop(b) },
	"exited":      func(b []byte) (any, error) { return DecodeExited(b) },
	"exit-record": func(b []byte) (any, error) { return DecodeExit(b) },
	"hello":       func(b []byte) (any, error) { return DecodeHello(b) },
	"clone":       func(b []byte) (any, error) { return DecodeClone(b) },
	"cloned":      func(b []byte) (any, error) { return DecodeCloned(b) },

	"spawn-session": func(b []byte) (any, error) { return DecodeSpawn(b) },
	"signal":        func(b []byte) (any, error) { return DecodeSignal(b) },
	"hang-up":       func(b []byte) (any, error) { return DecodeHangUp(b) },
}

// since are the messages that the first version didn't have.
var since = map[string]int{"spawn-session": 3, "signal": 3, "hang-up": 3}

// messages are one of each kind as this version writes them.
func messages() map[string][]byte {
	exit := Exit{Job: 7, Code: -1, Signal: 11, OOMKills: 3, Ordered: true, At: at}
	hello := Hello{Version: Version, Needs: Needs, ID: "abcdefghijk", Epoch: 3,
		Jobs: []JobState{{Number: 1, PID: 12}, {Number: 7, Exit: &exit}}}
	return map[string][]byte{
		"setup": sampleSetup().Encode(), "setup-bare": Setup{ID: "bare"}.Encode(),
		"setup-done": Started{7, 12}.Encode(KindSetupDone), "spawn": Spawn{sampleJob()}.Encode(),
		"spawned": Started{7, 12}.Encode(KindSpawned), "failed": Failed{7, "mount /proc", "no such device"}.Encode(),
		"stop": Stop{10_000}.Encode(), "exited": Exited(exit), "exit-record": EncodeExit(exit), "hello": hello.Encode(),
		"spawn-session": Spawn{Job{Number: 1 << 31, Argv: []string{"bash"}, Session: true, Terminal: true}}.Encode(),
		"signal":        Signal{1 << 31, 15}.Encode(), "hang-up": HangUp{1 << 31}.Encode(),
		"clone":  Clone{9, "abcdefghijk", 1_000_000, 65_536, true}.Encode(),
		"cloned": Cloned{9, 4711, "no"}.Encode(),
	}
}

// meaning is a message as this version understands it, as text.
func meaning(t *testing.T, name string, message []byte) string {
	t.Helper()
	was := time.Local
	time.Local = time.UTC
	defer func() { time.Local = was }()
	decoded, err := decoders[name](message)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	text, err := json.MarshalIndent(decoded, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

// What a PID 1 or an agent of any version wrote means what it meant then: a
// container may be as old as the node.
func TestMessagesOfEveryVersionAreRead(t *testing.T) {
	folders, err := filepath.Glob("testdata/v*")
	if err != nil || len(folders) != Version {
		t.Fatalf("messages of the versions %q are recorded, %v; want those of 1 to %d", folders, err, Version)
	}
	for _, folder := range folders {
		var version int
		if _, err := fmt.Sscanf(filepath.Base(folder), "v%d", &version); err != nil {
			t.Fatal(err)
		}
		for name := range decoders {
			if since[name] > version {
				continue
			}
			message, err := os.ReadFile(filepath.Join(folder, name+".bin"))
			if err != nil {
				t.Error(err)
				continue
			}
			want, err := os.ReadFile(filepath.Join(folder, name+".json"))
			if err != nil {
				t.Error(err)
				continue
			}
			if got := meaning(t, name, message); got != string(want) {
				t.Errorf("%s of %s means\n%s\nnot\n%s", name, folder, got, want)
			}
			// And what a later version adds is skipped.
			w := writer{bytes.Clone(message)}
			if w.string(999, "from the future"); name != "exit-record" && meaning(t, name, w.b) != string(want) {
				t.Errorf("%s of %s with a field more means something else", name, folder)
			}
		}
	}
}

// This version writes what it was recorded to write: others read it already.
func TestThisVersionsMessagesStayAsTheyAre(t *testing.T) {
	folder := fmt.Sprintf("testdata/v%d", Version)
	for name, message := range messages() {
		path := filepath.Join(folder, name)
		if *recordThem {
			if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(path+".bin", message, 0o644),
				os.WriteFile(path+".json", []byte(meaning(t, name, message)), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		recorded, err := os.ReadFile(path + ".bin")
		if err != nil || !bytes.Equal(recorded, message) {
			t.Errorf("%s is %x, and was recorded as %x, %v: a change that others must know of is a new version",
				name, message, recorded, err)
		}
	}
}
