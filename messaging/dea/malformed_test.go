package dea

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// whole are mistakes that any subject refuses, whatever its fields.
var whole = map[string]string{
	`[]`:                                    "want a JSON object, got a list",
	`"stop"`:                                "want a JSON object, got a string",
	`null`:                                  "want a JSON object, got null",
	`true`:                                  "want a JSON object, got a boolean",
	`12`:                                    "want a JSON object, got 12",
	"  \n":                                  "want a JSON object, got nothing",
	`{`:                                     "not JSON: unexpected end of JSON input, at byte 1",
	`{"a":1,}`:                              noKey("'}'", 8),
	`{} {}`:                                 "not JSON: invalid character '{' after top-level value, at byte 4",
	`{"a":01}`:                              "not JSON: invalid character '1' after object key:value pair, at byte 7",
	`{'a':1}`:                               noKey(`'\''`, 2),
	"{\"a\":\"\xff\"}":                      "not valid UTF-8",
	"\xef\xbb\xbf{}":                        "not JSON: invalid character 'ï' looking for beginning of value, at byte 1",
	"{\"a\":\"b\nc\"}":                      "not JSON: invalid character '\\n' in string literal, at byte 8",
	`{"a":` + strings.Repeat("[", 64) + "1": "nested deeper than 64 levels",
	`{"a":"` + strings.Repeat("x", MessageMax) + `"}`: "longer than 1048576 bytes",
}

func noKey(got string, at int) string {
	return fmt.Sprintf("not JSON: invalid character %s looking for beginning of object key string, at byte %d", got, at)
}

func refused(t *testing.T, subject, body, want string) {
	t.Helper()
	cmd, err := Decode(subject, []byte(body))
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || cmd != nil || invalid.Subject != subject || invalid.Reason != want {
		t.Errorf("%s %.80s:\n got %v, %v\nwant reason %q", subject, body, cmd, err, want)
	}
}

func TestWhatIsNoMessageAtAllIsRefusedOnEverySubject(t *testing.T) {
	for _, subject := range []string{
		"dea.node.start", "dea.stop", "dea.update", "dea.find.droplet", "router.start", "healthmanager.start",
		"dea.locate", "dea.discover", "dea.status", "droplet.status", "deacon.v1.ps", "deacon.v1.logs-tail",
		"deacon.v1.node.evacuate", "vcap.component.discover", "deacon.v1.actors", "deacon.v1.usage",
	} {
		for body, want := range whole {
			refused(t, subject, body, want)
		}
	}
}

// edit is the golden start with fields replaced, or taken out where the new
// value is empty. A field may be "limits.mem".
func edit(t *testing.T, changes map[string]string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(golden(t, "start.json"), &m); err != nil {
		t.Fatal(err)
	}
	for field, value := range changes {
		in := m
		if outer, inner, ok := strings.Cut(field, "."); ok {
			in, field = m[outer].(map[string]any), inner
		}
		if value == "" {
			delete(in, field)
		} else {
			in[field] = json.RawMessage(value)
		}
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var malformedStarts = []struct{ field, value, want string }{
	{"droplet", ``, "droplet: missing"},
	{"droplet", `null`, "droplet: must not be null"},
	{"droplet", `""`, "droplet: must not be empty"},
	{"droplet", `1.5`, "droplet: want a string or a whole number, got 1.5"},
	{"droplet", `-7`, "droplet: want a string or a whole number, got -7"},
	{"droplet", `["a"]`, "droplet: want a string or a whole number, got a list"},
	{"droplet", `"` + strings.Repeat("a", 256) + `"`, "droplet: want at most 255 bytes, got 256"},
	{"cc_partition", ``, "cc_partition: missing"},
	{"cc_partition", `1`, "cc_partition: want a string, got 1"},
	{"name", ``, "name: missing"},
	{"name", `{}`, "name: want a string, got an object"},
	{"name", `"a\u0000b"`, "name: has a NUL byte"},
	{"name", `"` + strings.Repeat("a", 1025) + `"`, "name: want at most 1024 bytes, got 1025"},
	{"version", ``, "version: missing"},
	{"version", `false`, "version: want a string, got a boolean"},
	{"index", ``, "index: missing"},
	{"index", `"2"`, "index: want an integer, got a string"},
	{"index", `2.0`, "index: want an integer, got 2.0"},
	{"index", `1e3`, "index: want an integer, got 1e3"},
	{"index", `-1`, "index: want an integer from 0 to 2147483647, got -1"},
	{"index", `123456789012345678901234567890`,
		"index: want an integer from 0 to 2147483647, got 123456789012345678901234..."},
	{"runtime", `{}`, "runtime: want a string, got an object"},
	{"runtime", `"` + strings.Repeat("a", 256) + `"`, "runtime: want at most 255 bytes, got 256"},
	{"framework", `1`, "framework: want a string, got 1"},
	{"users", `"derek"`, "users: want a list of strings, got a string"},
	{"users", `[1]`, "users[0]: want a string, got 1"},
	{"debug", `1`, "debug: want a string, got 1"},
	{"console", `"yes"`, "console: want true or false, got a string"},
	{"limits", ``, "limits: missing"},
	{"limits", `[]`, "limits: want an object, got a list"},
	{"limits.mem", ``, "limits.mem: missing"},
	{"limits.mem", `"256"`, "limits.mem: want an integer number of MiB, got a string"},
	{"limits.mem", `256.5`, "limits.mem: want an integer number of MiB, got 256.5"},
	{"limits.mem", `-256`, "limits.mem: want an integer number of MiB from 1 to 1099511627776, got -256"},
	{"limits.mem", `0`, "limits.mem: want an integer number of MiB from 1 to 1099511627776, got 0"},
	{"limits.disk", `null`, "limits.disk: must not be null"},
	{"limits.disk", `1099511627777`,
		"limits.disk: want an integer number of MiB from 1 to 1099511627776, got 1099511627777"},
	{"limits.fds", `true`, "limits.fds: want an integer number of files, got a boolean"},
	{"limits.fds", `-1`, "limits.fds: want an integer number of files from 1 to 2147483647, got -1"},
	{"uris", `"guestbook.example.com"`, "uris: want a list of strings, got a string"},
	{"uris", `["a", 7]`, "uris[1]: want a string, got 7"},
	{"uris", `[null]`, "uris[0]: want a string, got null"},
	{"sha1", `"xyz"`, "sha1: want 40 hex digits, got 3 bytes"},
	{"sha1", `"` + strings.Repeat("0", 39) + `g"`, "sha1: want 40 hex digits, got something else at digit 40"},
	{"sha1", `12`, "sha1: want a string, got 12"},
	{"sha256", `"` + strings.Repeat("0", 40) + `"`, "sha256: want 64 hex digits, got 40 bytes"},
	{"executableUri", `["http://a"]`, "executableUri: want a string, got a list"},
	{"services", `{}`, "services: want a list of objects, got an object"},
	{"services", `["mysql"]`, "services[0]: want an object, got a string"},
	{"services", `[{"name":"a","credentials":{}}]`, "services[0].label: missing"},
	{"services", `[{"name":"a","label":"b"}]`, "services[0].credentials: missing"},
	{"services", `[{"name":"a","label":"b","credentials":1,"plan":1}]`, "services[0].plan: want a string, got 1"},
	{"services", `[{"name":"a","label":"b","credentials":1,"tags":"c"}]`,
		"services[0].tags: want a list of strings, got a string"},
	{"env", `{"A":"b"}`, "env: want a list of strings, got an object"},
	{"env", `["A=b", "=c"]`, "env[1]: has no name before the ="},
	{"env", `["A\u0000=b"]`, "env[0]: has a NUL byte"},
	{"env", `["A=b\u0000"]`, "env[0]: has a NUL byte"},
	{"stack", `[]`, "stack: want a string, got a list"},
	{"start_command", `["run"]`, "start_command: want a string, got a list"},
	{"start_command", `"run\u0000"`, "start_command: has a NUL byte"},
	{"health_check_timeout", `"60"`, "health_check_timeout: want an integer number of seconds, got a string"},
	{"health_check_timeout", `-1`,
		"health_check_timeout: want an integer number of seconds from 0 to 86400, got -1"},
	{"vcap_application", `"{}"`, "vcap_application: want an object, got a string"},
	{"egress_network_rules", `{}`, "egress_network_rules: want a list of objects, got an object"},
	{"egress_network_rules", `[{}]`, "egress_network_rules[0].protocol: missing"},
	{"egress_network_rules", `[{"protocol":"tcp","ports":80}]`,
		"egress_network_rules[0].ports: want a string, got 80"},
	{"egress_network_rules", `[{"protocol":"icmp","type":256}]`,
		"egress_network_rules[0].type: want an integer from -1 to 255, got 256"},
	{"egress_network_rules", `[{"protocol":"tcp","log":"yes"}]`,
		"egress_network_rules[0].log: want true or false, got a string"},
}

func TestAMalformedStartIsRefusedWithTheFieldAndTheReason(t *testing.T) {
	for _, m := range malformedStarts {
		refused(t, "dea.node.start", edit(t, map[string]string{m.field: m.value}), m.want)
	}
}

// The two longest names of fields.
const (
	interval = "minimumRegisterIntervalInSeconds"
	prune    = "pruneThresholdInSeconds"
)

// malformed has at least ten mistakes for each subject whose fields matter.
var malformed = map[string]map[string]string{
	"dea.stop": {
		`{}`:                                   "droplet: missing",
		`{"droplet":null}`:                     "droplet: must not be null",
		`{"droplet":""}`:                       "droplet: must not be empty",
		`{"droplet":{"guid":"a"}}`:             "droplet: want a string or a whole number, got an object",
		`{"droplet":"a","version":2}`:          "version: want a string, got 2",
		`{"droplet":"a","version":""}`:         "version: must not be empty",
		`{"droplet":"a","instances":"b"}`:      "instances: want a list of strings, got a string",
		`{"droplet":"a","instances":[1]}`:      "instances[0]: want a string, got 1",
		`{"droplet":"a","instance_ids":{}}`:    "instance_ids: want a list of strings, got an object",
		`{"droplet":"a","instance_ids":[[]]}`:  "instance_ids[0]: want a string, got a list",
		`{"droplet":"a","indices":0}`:          "indices: want a list of integers, got 0",
		`{"droplet":"a","indices":["0"]}`:      "indices[0]: want an integer, got a string",
		`{"droplet":"a","indices":[0,1.5]}`:    "indices[1]: want an integer, got 1.5",
		`{"droplet":"a","indices":[-1]}`:       "indices[0]: want an integer from 0 to 2147483647, got -1",
		`{"droplet":"a","states":"RUNNING"}`:   "states: want a list of strings, got a string",
		`{"droplet":"a","states":["walking"]}`: `states[0]: there is no state "walking"`,
		`{"droplet":"a","states":[""]}`:        `states[0]: there is no state ""`,
	},
	"dea.find.droplet": {
		`{}`:                                                         "droplet: missing",
		`{"droplet":true}`:                                           "droplet: want a string or a whole number, got a boolean",
		`{"droplet":"a\u0000"}`:                                      "droplet: has a NUL byte",
		`{"droplet":"a","include_stats":1}`:                          "include_stats: want true or false, got 1",
		`{"droplet":"a","include_stats":"yes"}`:                      "include_stats: want true or false, got a string",
		`{"droplet":"a","states":[3]}`:                               "states[0]: want a string, got 3",
		`{"droplet":"a","states":["DELETED"]}`:                       `states[0]: there is no state "DELETED"`,
		`{"droplet":"a","indices":[null]}`:                           "indices[0]: want an integer, got null",
		`{"droplet":"a","instance_ids":"b"}`:                         "instance_ids: want a list of strings, got a string",
		`{"droplet":"a","version":["v"]}`:                            "version: want a string, got a list",
		`{"droplet":"a","path":7}`:                                   "path: want a string, got 7",
		`{"droplet":"a","path":"a\u0000b"}`:                          "path: has a NUL byte",
		`{"droplet":"a","path":"` + strings.Repeat("/", 4096) + `"}`: "path: want at most 4095 bytes, got 4096",
	},
	"dea.update": {
		`{}`:                                                    "droplet: missing",
		`{"droplet":"a"}`:                                       "uris: missing",
		`{"droplet":"a","uris":null}`:                           "uris: must not be null",
		`{"droplet":"a","uris":"a.example"}`:                    "uris: want a list of strings, got a string",
		`{"droplet":"a","uris":["a",7]}`:                        "uris[1]: want a string, got 7",
		`{"droplet":"a","uris":{}}`:                             "uris: want a list of strings, got an object",
		`{"droplet":"a","uris":["a\u0000"]}`:                    "uris[0]: has a NUL byte",
		`{"droplet":"","uris":[]}`:                              "droplet: must not be empty",
		`{"droplet":["a"],"uris":[]}`:                           "droplet: want a string or a whole number, got a list",
		`{"droplet":"a","uris":[],"egress_network_rules":{}}`:   "egress_network_rules: want a list of objects, got an object",
		`{"droplet":"a","uris":[],"egress_network_rules":[{}]}`: "egress_network_rules[0].protocol: missing",
		`{"droplet":"a","uris":[],"version":1}`:                 "version: want a string, got 1",
		`{"droplet":"a","uris":[],"version":""}`:                "version: must not be empty",
	},
	"dea.discover": {
		`{}`:                                    "droplet: missing",
		`{"droplet":null}`:                      "droplet: must not be null",
		`{"droplet":"a","limits":7}`:            "limits: want an object, got 7",
		`{"droplet":"a","limits":{"mem":0}}`:    "limits.mem: want an integer number of MiB from 1 to 1099511627776, got 0",
		`{"droplet":"a","limits":{"disk":"1"}}`: "limits.disk: want an integer number of MiB, got a string",
	},
	"deacon.v1.node.evacuate": {
		`{"within_seconds":"60"}`:   "within_seconds: want an integer number of seconds, got a string",
		`{"within_seconds":0}`:      "within_seconds: want an integer number of seconds from 1 to 604800, got 0",
		`{"within_seconds":-1}`:     "within_seconds: want an integer number of seconds from 1 to 604800, got -1",
		`{"within_seconds":604801}`: "within_seconds: want an integer number of seconds from 1 to 604800, got 604801",
		`{"within_seconds":1.5}`:    "within_seconds: want an integer number of seconds, got 1.5",
		`{"within_seconds":[]}`:     "within_seconds: want an integer number of seconds, got a list",
	},
	"router.start": {
		`{"id":7}`:                     "id: want a string, got 7",
		`{"id":[]}`:                    "id: want a string, got a list",
		`{"hosts":"10.0.0.1"}`:         "hosts: want a list of strings, got a string",
		`{"hosts":[{}]}`:               "hosts[0]: want a string, got an object",
		`{"hosts":[1]}`:                "hosts[0]: want a string, got 1",
		`{"` + interval + `":"20"}`:    interval + ": want an integer number of seconds, got a string",
		`{"` + interval + `":2.5}`:     interval + ": want an integer number of seconds, got 2.5",
		`{"` + interval + `":-20}`:     interval + ": want an integer number of seconds from 0 to 2147483647, got -20",
		`{"` + prune + `":{}}`:         prune + ": want an integer number of seconds, got an object",
		`{"` + prune + `":9999999999}`: prune + ": want an integer number of seconds from 0 to 2147483647, got 9999999999",
	},
	"deacon.v1.logs-tail": {
		`{}`:                                "application: missing",
		`{"application":null}`:              "application: must not be null",
		`{"application":""}`:                "application: must not be empty",
		`{"application":7}`:                 "application: want a string, got 7",
		`{"application":"a\u0000"}`:         "application: has a NUL byte",
		`{"application":"a","index":"0"}`:   "index: want an index or -1 for all, got a string",
		`{"application":"a","index":-2}`:    "index: want an index or -1 for all from -1 to 2147483647, got -2",
		`{"application":"a","index":1.5}`:   "index: want an index or -1 for all, got 1.5",
		`{"application":"a","lines":0}`:     "lines: want an integer number of lines from 1 to 10000, got 0",
		`{"application":"a","lines":10001}`: "lines: want an integer number of lines from 1 to 10000, got 10001",
		`{"application":"a","lines":[]}`:    "lines: want an integer number of lines, got a list",
	},
}

func TestMalformedMessagesAreRefusedWithTheFieldAndTheReason(t *testing.T) {
	for subject, messages := range malformed {
		for body, want := range messages {
			refused(t, subject, body, want)
		}
	}
}

func TestASubjectThatIsNobodysCommandIsRefused(t *testing.T) {
	for _, subject := range []string{
		"", "dea.start", "dea..start", "dea.a.b.start", "dea.*.start", "dea.heartbeat", "dea.updated", "dea.a.stop",
		"deacon.v1..evacuate", "deacon.v1.a.b.evacuate",
	} {
		refused(t, subject, `{"droplet":"a"}`, "there is no such command")
	}
}

// Only strings of the sender's own words are looked at here: what a reason may
// quote are numbers and the names of states.
func TestAReasonQuotesNoSecret(t *testing.T) {
	for _, change := range []map[string]string{
		{"executableUri": `["http://user:s3cret@blobs/x"]`},
		{"executableUri": `"http://user:s3cret@blobs/\u0000"`},
		{"env": `["=s3cret"]`},
		{"env": `["PASSWORD=s3cret\u0000"]`},
		{"services": `[{"name":"a","label":"b","credentials":"s3cret","plan":["s3cret"]}]`},
		{"vcap_application": `"s3cret"`},
		{"start_command": `"login s3cret\u0000"`},
	} {
		_, err := Decode("dea.node.start", []byte(edit(t, change)))
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: error %v", change, err)
		}
	}
}

func TestGreetingsMayBeEmpty(t *testing.T) {
	for _, subject := range []string{
		"dea.locate", "dea.status", "droplet.status", "router.start", "healthmanager.start", "deacon.v1.ps", "deacon.v1.n.evacuate",
		"vcap.component.discover", "deacon.v1.actors",
	} {
		for _, body := range []string{"", "{}", ` { "id" : "x", "other" : [1] } `} {
			if _, err := Decode(subject, []byte(body)); err != nil {
				t.Errorf("%s %q: %v", subject, body, err)
			}
		}
	}
}
