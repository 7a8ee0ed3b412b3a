package agent

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// ofFirstEra is a start as the first era's controllers wrote it.
func ofFirstEra(variables ...messaging.Variable) messaging.StartInstance {
	start := asked(variables...)
	start.StartCommand = ""
	start.First = &messaging.FirstEra{Runtime: "ruby19", Framework: "rails3", Users: []string{"derek@example.com"}}
	return start
}

// rubyOf is a planner with a runtime that is a script of the test's.
func rubyOf(path string) *Planner {
	p := newTestPlanner()
	p.config.Runtimes = []Runtime{{
		Name: "ruby19", Executable: path, VersionFlag: "-v --long", VersionOutput: `ruby 1\.9\.\d+[p\d]*$`,
		AdditionalChecks: "-e 'puts 1 > 0'",
		Environment:      []messaging.Variable{{Name: "RUBYOPT", Value: "-p$PORT"}},
		Debug: map[string][]messaging.Variable{
			"suspend": {{Name: "OPTS", Value: "wait on $VCAP_DEBUG_PORT"}},
		},
	}}
	return p
}

const goodRuby = `#!/bin/sh
case "$*" in
"-v --long") echo "ruby 1.9.3p194" >&2;;
"-e puts 1 > 0") echo True;;
*) exit 7;;
esac
`

var startup = actors.Droplet{Layer: "/d", Startup: true}

func firstJob(t *testing.T, p *Planner, place actors.Placement, start messaging.StartInstance) isolation.Job {
	t.Helper()
	_, job, err := p.Plan(place, start, startup)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// wire/dea.md d.2, variable by variable.
func TestTheFirstErasEnvironment(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "startup", "#!/bin/bash\nexec env -0\n", 0o500)
	s.put(t, "ruby", goodRuby, 0o755)
	start := ofFirstEra(messaging.Variable{Name: "RUBYOPT_OF_USER", Value: "$RUBYOPT!"}, messaging.Variable{Name: "VMC_APP_ID", Value: "mine"})
	start.First.Debug = "suspend"
	start.Services = []messaging.Service{
		{Name: "db", Label: "mysql-5.1", Vendor: "mysql", Type: "database", Version: "5.1", Plan: "free", PlanOption: "x",
			Credentials: []byte(`{"hostname":"10.0.0.1","host":"h","port":3306,"password":"it's"}`)},
		{Name: "kv", Label: "redis-2.2", Vendor: "redis", Credentials: []byte(`{"host":"r.example","port":"6379"}`)},
		{Name: "mute", Label: "x", Vendor: "x", Credentials: []byte(`["no object"]`)},
		{Name: "odd", Label: "y", Vendor: "a b", Credentials: []byte(`{"host":"r","port":1}`)},
	}
	place := placed()
	place.DebugPort = 20008
	got := s.environment(t, firstJob(t, rubyOf(s.dir+"/ruby"), place, start))
	want := map[string]string{
		"HOME": s.dir, "VCAP_APP_HOST": "0.0.0.0", "VCAP_APP_PORT": "20007", "PORT": "20007",
		"VCAP_DEBUG_IP": "0.0.0.0", "VCAP_DEBUG_PORT": "20008", "VCAP_CONSOLE_IP": "", "VCAP_CONSOLE_PORT": "",
		"OPTS": "wait on 20008", "RUBYOPT": "-p20007", "RUBYOPT_OF_USER": "-p20007!",
		"VMC_WARNING_WARNING": "All VMC_* environment variables are deprecated, please use VCAP_* versions.",
		"VMC_APP_INSTANCE":    got["VCAP_APPLICATION"],
		"VMC_APP_NAME":        "shop", "VMC_APP_ID": "mine", "VMC_APP_VERSION": "v1", "VMC_APP_HOST": "0.0.0.0", "VMC_APP_PORT": "20007",
		"VMC_MYSQL": "10.0.0.1:3306", "VMC_REDIS": "r.example:6379",
		"VMC_SERVICES": `[{"name":"db","type":"database","vendor":"mysql","version":"5.1","tier":"free",` +
			`"options":{"hostname":"10.0.0.1","host":"h","port":3306,"password":"it's"}},` +
			`{"name":"kv","vendor":"redis","tier":"","options":{"host":"r.example","port":"6379"}},` +
			`{"name":"mute","vendor":"x","tier":"","options":["no object"]},` +
			`{"name":"odd","vendor":"a b","tier":"","options":{"host":"r","port":1}}]`,
	}
	maps.DeleteFunc(got, func(name, _ string) bool {
		_, wanted := want[name]
		return !wanted && !strings.HasPrefix(name, "VMC_") && name != "VCAP_APPLICATION"
	})
	var application map[string]any
	if err := json.Unmarshal([]byte(got["VCAP_APPLICATION"]), &application); err != nil {
		t.Fatal(err)
	}
	delete(got, "VCAP_APPLICATION")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):\n", diff)
	}
	for key, value := range map[string]any{
		"instance_id": placed().Instance, "instance_index": 3.0, "name": "shop", "version": "v1", "runtime": "ruby19", "port": 20007.0,
		"users": []any{"derek@example.com"}, "uris": []any{"shop.example"}, "host": "0.0.0.0",
		"start": "2026-03-01 11:00:00 +0000", "state_timestamp": 1772362800.0,
		"limits": map[string]any{"fds": 2048.0, "mem": float64(128 << 20), "disk": float64(256 << 20)},
	} {
		if diff := cmp.Diff(value, application[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

// Later eras' applications are not told a word of it.
func TestLaterErasFindNothingOfTheFirst(t *testing.T) {
	for name := range newSandbox(t).environment(t, jobFor(t, asked())) {
		if strings.HasPrefix(name, "VMC_") || strings.HasPrefix(name, "VCAP_DEBUG") || strings.HasPrefix(name, "VCAP_CONSOLE") {
			t.Error("there is", name)
		}
	}
}

func TestARuntimeIsBoundIntoTheDropletsStartup(t *testing.T) {
	for text, want := range map[string]string{
		"#!/bin/bash\nruntime='%VCAP_LOCAL_RUNTIME%' also='%VCAP_LOCAL_RUNTIME%' it=\"\\&\"\n" +
			"echo \"$runtime $also $it $*\"\n": "RUBY RUBY \\& -p 20007\n",
		"#!/bin/bash\necho nothing to bind, $*\n": "nothing to bind, -p 20007\n",
	} {
		for _, name := range []string{"/ruby", "/a&b", "/a\\1"} {
			s := newSandbox(t)
			s.put(t, "startup", text, 0o500)
			s.put(t, name, goodRuby, 0o755)
			out, wrong, err := s.run(t, firstJob(t, rubyOf(s.dir+name), placed(), ofFirstEra()))
			if want := strings.ReplaceAll(want, "RUBY", s.dir+name); err != nil || out != want || wrong != "" {
				t.Errorf("got %q %q %v, want %q", out, wrong, err, want)
			}
			if info, err := os.Stat(s.dir + "/startup"); err != nil || info.Mode().Perm() != 0o500 {
				t.Errorf("startup is %v, %v", info.Mode(), err)
			}
		}
	}
}

// A name is looked up in the stack's PATH, and what is bound is absolute.
func TestARuntimeMayBeANameInPATH(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "startup", "#!/bin/bash\necho %VCAP_LOCAL_RUNTIME%\n", 0o500)
	p := rubyOf("env")
	out, _, err := s.run(t, firstJob(t, p, placed(), ofFirstEra()))
	if err != nil || out != "/usr/bin/env\n" {
		t.Errorf("got %q %v", out, err)
	}
}

func TestARuntimeIsVerifiedBeforeTheStart(t *testing.T) {
	for what, c := range map[string]struct{ ruby, said string }{
		"as it should be": {goodRuby, ""},
		"another version": {strings.Replace(goodRuby, "1.9.3p194", "1.8.7", 1),
			"deacon: the runtime ruby19: PATH says ruby 1.8.7, ruby 1\\.9\\.\\d+[p\\d]*$ is wanted\n"},
		"a failing check": {strings.Replace(goodRuby, "echo True", "echo no", 1),
			"deacon: the runtime ruby19: PATH says no, true is wanted\n"},
		"no program": {"", "deacon: the stack has no PATH, the runtime ruby19\n"},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSandbox(t)
			path := s.dir + "/ruby"
			if c.ruby != "" {
				s.put(t, "ruby", c.ruby, 0o755)
			}
			p := rubyOf(path)
			p.config.Hooks.Scripts = map[actors.Moment]string{actors.BeforeStart: "echo and the hook after it\n"}
			out, wrong, err := s.run(t, hookOf(t, p, actors.BeforeStart, ofFirstEra()))
			if wrong != strings.ReplaceAll(c.said, "PATH", path) || (err == nil) != (c.said == "") ||
				(out == "and the hook after it\n") != (c.said == "") {
				t.Errorf("got %q %q %v", out, wrong, err)
			}
		})
	}
}

func TestAnUnknownRuntimeIsRefusedByName(t *testing.T) {
	start := ofFirstEra()
	start.First.Runtime = "java"
	_, _, err := rubyOf("/r").Plan(placed(), start, startup)
	if err == nil || !strings.Contains(err.Error(), `there is no runtime "java", there are: ruby19`) {
		t.Errorf("error is %v, want one that names the runtimes", err)
	}
}

// The droplet's own stop is given what its startup wrote, after the operator's hook.
func TestTheDropletsOwnStopIsRun(t *testing.T) {
	for hook, want := range map[string]string{"": "stop 42\n", "echo hook; exit 3 # of its own": "hook\nstop 42\n"} {
		s := newSandbox(t)
		s.put(t, "run.pid", "42\n43\n", 0o644)
		s.put(t, "stop", "#!/bin/sh\necho stop \"$@\"\n", 0o755)
		p := rubyOf("/r")
		p.config.Hooks.Scripts = map[actors.Moment]string{actors.BeforeStop: hook}
		out, wrong, err := s.run(t, hookOf(t, p, actors.BeforeStop, ofFirstEra()))
		if out != want || wrong != "" || err != nil {
			t.Errorf("got %q %q %v, want %q", out, wrong, err, want)
		}
		if err := os.Remove(s.dir + "/stop"); err != nil {
			t.Fatal(err)
		}
		if out, wrong, err := s.run(t, hookOf(t, p, actors.BeforeStop, ofFirstEra())); wrong != "" || err != nil {
			t.Errorf("without a stop: %q %q %v", out, wrong, err)
		}
	}
}
