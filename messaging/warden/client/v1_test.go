package client

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestV1CommandsGiveWhatTheyAlwaysGave(t *testing.T) {
	for _, test := range []struct {
		command   []string
		hear, say []byte
		want      string // as JSON
	}{
		{[]string{"ping"}, frame(91), frame(91), `"pong"`},
		{[]string{"list"}, frame(92), frame(92), `[]`},
		{[]string{"list"}, frame(92), frame(92, str(1, "a"), str(1, "b")), `["a","b"]`},
		{[]string{"echo", "x y"}, frame(93, str(1, "x y")), frame(93, str(1, "x y")), `"x y"`},
		{[]string{"create"}, frame(11), frame(11, str(1, "h")), `"h"`},
		{[]string{"create", `{"bind_mounts":[["/a","/b","ro"],["/c","/d",{"mode":"rw"}]],"grace_time":5}`},
			frame(11, str(1, string(bytes.Join([][]byte{str(1, "/a"), str(2, "/b"), num(3, 0)}, nil))),
				str(1, string(bytes.Join([][]byte{str(1, "/c"), str(2, "/d"), num(3, 1)}, nil))), num(2, 5)),
			frame(11, str(1, "h")), `"h"`},
		{[]string{"stop", "h"}, frame(12, str(1, "h")), frame(12), `"ok"`},
		{[]string{"destroy", "h"}, frame(13, str(1, "h")), frame(13), `"ok"`},
		{[]string{"info", "h"}, frame(14, str(1, "h")),
			frame(14, str(10, "active"), str(20, "out of memory"), str(41, string(num(1, 9))), num(44, 3)),
			`{"cpu_stat":{"usage":9},"events":["out of memory"],"job_ids":[3],"state":"active"}`},
		{[]string{"spawn", "h", "ls -l"}, frame(21, str(1, "h"), str(2, "ls -l")), frame(21, num(1, 4)), `4`},
		{[]string{"link", "h", "4"}, frame(22, str(1, "h"), num(2, 4)), frame(22, num(1, 1), str(2, "o"), str(3, "e")), `[1,"o","e"]`},
		{[]string{"run", "h", "ls"}, frame(23, str(1, "h"), str(2, "ls")), frame(23, num(1, 0), str(2, ""), str(3, "")), `[0,"",""]`},
		{[]string{"stream", "h", "5"}, askStream, append(chunk("stdout", "x"), frame(24, num(3, 2))...),
			`[["stdout","x",null],[null,null,2]]`},
		{[]string{"net", "h", "in"}, frame(31, str(1, "h")), frame(31, num(1, 61001), num(2, 61001)),
			`{"container_port":61001,"host_port":61001}`},
		{[]string{"net", "h", "out", "10.0.0.0/8:80"}, frame(32, str(1, "h"), str(2, "10.0.0.0/8"), num(3, 80)), frame(32), `"ok"`},
		{[]string{"net", "h", "out", ":80"}, frame(32, str(1, "h"), num(3, 80)), frame(32), `"ok"`},
		{[]string{"net", "h", "out", "10.0.0.1"}, frame(32, str(1, "h"), str(2, "10.0.0.1")), frame(32), `"ok"`},
		{[]string{"copy", "h", "in", "/a", "/b"}, frame(41, str(1, "h"), str(2, "/a"), str(3, "/b")), frame(41), `"ok"`},
		{[]string{"copy", "h", "out", "/a", "/b"}, frame(42, str(1, "h"), str(2, "/a"), str(3, "/b")), frame(42), `"ok"`},
		{[]string{"copy", "h", "out", "/a", "/b", "me"}, frame(42, str(1, "h"), str(2, "/a"), str(3, "/b"), str(4, "me")), frame(42), `"ok"`},
		{[]string{"limit", "h", "mem"}, frame(51, str(1, "h")), frame(51, num(1, 7)), `7`},
		{[]string{"limit", "h", "mem", "9"}, frame(51, str(1, "h"), num(2, 9)), frame(51, num(1, 9)), `9`},
		{[]string{"limit", "h", "disk", "2048"}, frame(52, str(1, "h"), num(31, 2048)), frame(52, num(11, 2), num(31, 2048)), `2048`},
		{[]string{"limit", "h", "bandwidth", "5", "6"}, frame(53, str(1, "h"), num(2, 5), num(3, 6)), frame(53, num(1, 5), num(2, 6)),
			`"rate: 5 burst: 6"`},
	} {
		got, err := converse(t, turn{test.hear, test.say}).V1(t.Context(), test.command...)
		if err != nil {
			t.Errorf("%q: %v", test.command, err)
			continue
		}
		if text, _ := json.Marshal(got); string(text) != test.want {
			t.Errorf("%q: got %s, want %s", test.command, text, test.want)
		}
	}
}

func TestAWrongV1CommandIsNotSent(t *testing.T) {
	c := converse(t)
	for command, want := range map[string]string{
		"":                                     "no command",
		"fly":                                  "unknown command: fly; there is copy, create, destroy, echo,",
		"stop":                                 "usage: stop HANDLE",
		"run h ls -l":                          "usage: run HANDLE SCRIPT",
		"link h x":                             `"x" is no number`,
		"stream h -1":                          `"-1" is no number`,
		"net h up":                             "unknown direction: up",
		"net h out":                            "usage: net HANDLE in",
		"net h out a:b":                        `"b" is no number`,
		"copy h up a b":                        "unknown direction: up",
		"copy h in a b c":                      "usage: copy HANDLE in",
		"limit h cpu 5":                        "unknown limit: cpu",
		"limit h bandwidth 5":                  "usage: limit HANDLE mem",
		"limit h mem lots":                     `"lots" is no number`,
		`create {"x":1}`:                       `unknown field "x"`,
		`create {"bind_mounts":[1]}`:           "create: ",
		`create {"bind_mounts":[["/a","/b"]]}`: "bind_mounts[0] has 2 elements",
		`create {"bind_mounts":[["/a","/b","fast"]]}`: `mode "fast" is neither ro nor rw`,
		`create {"bind_mounts":[["/a",7,"ro"]]}`:      "bind_mounts[0]: cannot unmarshal number",
	} {
		_, err := c.V1(t.Context(), strings.Fields(command)...)
		if _, ok := err.(*V1Error); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", command, err, want)
		}
	}
}

func TestAV1CommandReturnsTheServersError(t *testing.T) {
	got, err := converse(t, turn{frame(22, str(1, "h"), num(2, 4)), refusal("no such job")}).V1(t.Context(), "link", "h", "4")
	if failed, ok := err.(*ServerError); !ok || failed.Text != "no such job" || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
