package drill

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/settings"
)

func TestAScenarioIsReadAsItIsWritten(t *testing.T) {
	t.Setenv("DROPLET", "http://127.0.0.1:1/d")
	s := scenario(t, `
duration = "5m"
seed     = 18446744073709551615
recovery = "20s"
load {
  path         = "/health"
  every        = "250ms"
  applications = ["a", "b"]
}
application "pig" {
  droplet   = env("DROPLET")
  memory    = "1GiB"
  instances = 3
}
fault "nats-duplicated" {
  at   = "10s"
  for  = "7s"
  rate = 0.5
}
`)
	f := s.Fixed[0]
	if s.Duration != 5*time.Minute || s.Seed != 1<<64-1 || s.Recovery != 20*time.Second || s.HeartbeatMax != 35*time.Second ||
		s.Load.Path != "/health" || s.Load.Every != 250*time.Millisecond || len(s.Load.Applications) != 2 ||
		s.Applications[0].MemoryMiB != 1024 || s.Applications[0].Instances != 3 || s.Applications[0].Droplet != "http://127.0.0.1:1/d" ||
		f.At != 10*time.Second || f.Order.For.Duration() != 7*time.Second || f.Order.Rate != 0.5 {
		t.Errorf("%+v", s)
	}
}

func TestAWrongScenarioShowsEveryFaultWithItsLine(t *testing.T) {
	_, err := ParseScenario("night.hcl", []byte(`
duration = "10"
seed = 1.5
load { path = "health" }
application "a" {
  droplet = env("NO_SUCH_VARIABLE")
  memory = "64"
}
random {
  every = "1ms"
  fault "init-kiled" { at = "1s" }
}
fault "agent-killed" {}
fault "nats-slow" {
  at = "1s"
  rate = 2
}
`))
	invalid, ok := errors.AsType[*settings.Error](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		"night.hcl line 2", "must be a number with a unit", "from 0 to 18446744073709551615", "begins with /", "NO_SUCH_VARIABLE is not set",
		`Did you mean "64MiB"?`, "from 100ms to 1h0m0s", `Did you mean "init-killed"`, "A time for what is drawn", "No time", "from 0 to 1",
	} {
		if !strings.Contains(invalid.Text, want) {
			t.Errorf("nothing says %q:\n%s", want, invalid.Text)
		}
	}
	for text, want := range map[string]string{
		`duration = "1s"`:    "No fault",
		`seed = 1`:           "No duration",
		`durations = 1`:      `Did you mean "duration"?`,
		`duration = `:        "Missing expression",
		`application "a" {}`: "No droplet",
		`duration = "1s"
fault "init-killed" { at = "2s" }`: "After the end",
		`fault "partitioned" {}`:                                                 `Did you mean "nats-partitioned"?`,
		`fault "init-killed" { weight = 2 }`:                                     "A weight for what has its time",
		"fault \"init-killed\" {\n at = \"1s\"\n delay = \"1s\"\n}":              `init-killed takes no "delay"`,
		"fault \"job-killed\" {\n at = \"1s\"\n for = \"1s\"\n}":                 "job-killed is done in a moment",
		`random { overlap = 1.5 }`:                                               "must be a whole number from 1 to 16",
		`application "a" { instances = 2.5 }`:                                    "must be a whole number from 1 to 1000",
		"application \"a\" {}\napplication \"a\" {}":                             `"a" is already given at x.hcl:1`,
		`application "a\"b" {}`:                                                  "Not an application's name",
		`application "a" { droplet = 1, sha1 = [], command = "x://u:s3cret@h" }`: "x://u:******@h",
	} {
		if _, err := ParseScenario("x.hcl", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What people begin with must work as it is.
func TestTheExamplesAreGood(t *testing.T) {
	t.Setenv("DROPLET", "http://192.0.2.1/droplet.tgz")
	t.Setenv("DROPLET_SHA1", strings.Repeat("0", 40))
	files, err := filepath.Glob("../../../examples/chaos/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseScenario(filepath.Base(file), body)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(s.Schedule(1, 1)) == 0 {
			t.Errorf("%s does nothing", file)
		}
	}
}
