package exec

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func samples() map[string]interface{ Encode() ([]byte, error) } {
	return map[string]interface{ Encode() ([]byte, error) }{
		"request": Request{Instance: "4711", Command: []string{"sh", "-c", "echo <&> ü"}, Output: "_INBOX.a.b",
			Terminal: &Terminal{Size{24, 80}, "xterm"}, By: "ann@desk"},
		"request-pipes": Request{Instance: "4711", Command: []string{"true"}, Output: "_INBOX.a.b"},
		"opened":        Opened{Session: "0f", Input: "deacon.v1.one.exec.0f"},
		"alive":         Frame{Number: 1},
		"stdin":         Frame{Number: 2, Stdin: []byte("in\x00\xff")},
		"end":           Frame{Number: 3, End: true},
		"window":        Frame{Number: 4, Window: &Size{40, 90}},
		"signal":        Frame{Number: 5, Signal: "INT"},
		"hang-up":       Frame{Number: 6, HangUp: true},
		"stdout":        Frame{Number: 7, Stdout: []byte("out")},
		"stderr":        Frame{Number: 8, Stderr: []byte("err")},
		"took":          Frame{Number: 9, Took: 65536},
		"exit":          Frame{Number: 10, Exit: &Exit{Status: 143, Signal: "SIGTERM"}},
		"exit-zero":     Frame{Number: 11, Exit: &Exit{}},
		"failed":        Frame{Number: 12, Failed: new("the agent ends")},
	}
}

// What is written stays as it is, for others read it: a change is a new version.
func TestMessagesAreWrittenAndReadAsEver(t *testing.T) {
	for name, message := range samples() {
		got, err := message.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || string(got)+"\n" != string(want) {
			t.Errorf("%s is written\n%s\nand was\n%s%v", name, got, want, err)
		}
		var back any
		switch message.(type) {
		case Request:
			back, err = DecodeRequest(want)
		case Opened:
			back, err = DecodeOpened(want)
		default:
			back, err = DecodeFrame(want)
		}
		if err != nil || !reflect.DeepEqual(back, message) {
			t.Errorf("%s is read as %+v, %v; want %+v", name, back, err, message)
		}
	}
}

func TestWhatBreaksTheRulesIsRefusedByName(t *testing.T) {
	long := strings.Repeat("A", (ChunkMax+3)/3*4)
	for body, want := range map[string]string{
		``: "want a JSON object", `[]`: "want a JSON object", `{`: "unexpected end", `{}`: "number: missing",
		`{"number":-1}`: "number: want uint64", `{"number":1,"stdin":7}`: "stdin: want []uint8",
		`{"number":1,"end":true,"hang_up":true}`:                   "says more than one thing",
		`{"number":1,"stdin":"` + long + `"}`:                      "32769 bytes of data, 32768 is the most",
		`{"number":1,"took":262145}`:                               "took: 262145 is not",
		`{"number":1,"took":-1}`:                                   "took: -1 is not",
		`{"number":1,"signal":"int"}`:                              `signal: there is no "int"`,
		`{"number":1,"exit":{"status":256}}`:                       "exit.status: 256 is not",
		`{"number":1,"window":{"rows":65536}}`:                     "window.rows: want uint16",
		`{"number":1,"x":"` + strings.Repeat("x", FrameMax) + `"}`: "longer than",
	} {
		if _, err := DecodeFrame([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", body, err, want)
		}
	}
	for body, want := range map[string]string{
		`{}`: "instance: want", `{"instance":"x"}`: "command: want", `{"instance":"x","command":[""]}`: "command[0]: must",
		`{"instance":"x","command":["a\u0000"],"output":"a"}`:                                   "NUL byte",
		`{"instance":"x","command":["a"]}`:                                                      "output: want a subject",
		`{"instance":"x","command":["a"],"output":"a.>"}`:                                       "output: want a subject",
		`{"instance":"x","command":["a"],"output":"a","by":"` + strings.Repeat("x", 256) + `"}`: "by: want at most",
		`{"instance":"x","command":["a"],"output":"a","terminal":{"type":"a\u0000"}}`:           "terminal.type",
		`{"instance":"x","command":["` + strings.Repeat("x", RequestMax) + `"]}`:                "longer than",
	} {
		if _, err := DecodeRequest([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", body, err, want)
		}
	}
}

// Where a frame is as long as it may be, it fits into what FrameMax says.
func TestTheLongestFrameFits(t *testing.T) {
	f := Frame{Number: 1<<64 - 1, Stdout: make([]byte, ChunkMax)}
	body, err := f.Encode()
	if err != nil || len(body) > FrameMax {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if f.Stdout = make([]byte, ChunkMax+1); true {
		if _, err := f.Encode(); err == nil {
			t.Error("a frame that nobody would read is written")
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, message := range samples() {
		body, err := message.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if frame, err := DecodeFrame(body); err == nil {
			if again, err := frame.Encode(); err != nil {
				t.Errorf("%s was read and can't be written: %v", body, err)
			} else if _, err := DecodeFrame(again); err != nil {
				t.Errorf("%s was written and can't be read: %v", again, err)
			}
			if frame.Cost() > ChunkMax+FrameCost {
				t.Errorf("%s costs %d", body, frame.Cost())
			}
		}
		if request, err := DecodeRequest(body); err == nil {
			if again, err := request.Encode(); err != nil || len(request.Command) == 0 || request.Command[0] == "" {
				t.Errorf("%s was read and is %s, %v", body, again, err)
			}
		}
		if opened, err := DecodeOpened(body); err == nil && (opened.Input == "" || opened.Session == "") {
			t.Errorf("%s was read as %+v", body, opened)
		}
	})
}
