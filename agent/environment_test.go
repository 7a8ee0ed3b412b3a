package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// sandbox is a /home/vcap in a temporary folder.
type sandbox struct{ dir string }

// tester is what *testing.T and *rapid.T have in common here.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"app/.profile.d", "tmp", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return sandbox{dir}
}

func (s sandbox) put(t *testing.T, name, body string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(body), mode); err != nil {
		t.Fatal(err)
	}
}

// run does what PID 1 would do with the job and returns its output.
func (s sandbox) run(t tester, job isolation.Job) (stdout, stderr string, err error) {
	t.Helper()
	if job.PidFile != "" { // that PID 1 writes the pid is the box's test
		if err := os.WriteFile(s.here([]string{job.PidFile})[0], []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stdout, stderr, err = s.execute(job.Argv, job)
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran && job.Fallback != nil {
		return s.execute(job.Fallback, job)
	}
	return stdout, stderr, err
}

func (s sandbox) execute(argv []string, job isolation.Job) (stdout, stderr string, err error) {
	argv, env := s.here(argv), s.here(job.Env)
	var out, wrong strings.Builder
	c := &exec.Cmd{Path: argv[0], Args: argv, Env: env, Dir: s.here([]string{job.Dir})[0], Stdout: &out, Stderr: &wrong}
	if !strings.Contains(argv[0], "/") {
		c.Path = inPath(argv[0], env)
	}
	err = c.Run()
	return out.String(), wrong.String(), err
}

// here moves /home/vcap into the sandbox.
func (s sandbox) here(texts []string) []string {
	var moved []string
	for _, text := range texts {
		moved = append(moved, strings.ReplaceAll(text, home, s.dir))
	}
	return moved
}

func inPath(name string, env []string) string {
	for _, pair := range env {
		path, found := strings.CutPrefix(pair, "PATH=")
		for folder := range strings.SplitSeq(path, ":") {
			info, err := os.Stat(folder + "/" + name)
			if found && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return folder + "/" + name
			}
		}
	}
	return "/there/is/no/" + name
}

// environment runs the job, whose command must be printEnvironment, and
// returns what the program found.
const printEnvironment = "env -0"

func (s sandbox) environment(t tester, job isolation.Job) map[string]string {
	t.Helper()
	out, wrong, err := s.run(t, job)
	if err != nil {
		t.Fatalf("%v: %s\nscript: %q", err, wrong, job.Argv)
	}
	found := map[string]string{}
	for _, pair := range strings.Split(strings.TrimSuffix(out, "\x00"), "\x00") {
		name, value, _ := strings.Cut(pair, "=")
		found[name] = value
	}
	return found
}

func placed() actors.Placement {
	return actors.Placement{
		Instance: "6a1f0c9e2b7d4c55a0e1f2b3c4d5e6f7", Container: "abcdefghijk", Slot: 7, Epoch: 2, Port: 20007,
		Started: time.Date(2026, 3, 1, 12, 0, 0, 123, time.FixedZone("CET", 3600)),
	}
}

func asked(variables ...messaging.Variable) messaging.StartInstance {
	return messaging.StartInstance{
		Application: "app-guid", Name: "shop", Version: "v1", Index: 3, URIs: []string{"shop.example"},
		Limits:      messaging.ApplicationLimits{MemoryMiB: 128, DiskMiB: 256, Files: 2048},
		Environment: variables, StartCommand: printEnvironment,
	}
}

func newTestPlanner() *Planner {
	return NewPlanner(PlannerConfig{
		Instance: DefaultConfig().Instance, Address: netip.MustParseAddr("192.0.2.7"),
		DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")},
		Stacks: []StackRoot{
			{Name: "host", Layers: []string{"/s/host-1"},
				Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}}},
			{Name: "lucid64", Layers: []string{"/stacks/lucid64"}},
		},
	})
}

// scripted is a droplet that is always started by the script.
var scripted = actors.Droplet{Layer: "/d", ProfileScripts: true}

func jobFor(t tester, start messaging.StartInstance) isolation.Job {
	t.Helper()
	return jobOf(t, start, scripted)
}

func jobOf(t tester, start messaging.StartInstance, d actors.Droplet) isolation.Job {
	t.Helper()
	_, job, err := newTestPlanner().Plan(placed(), start, d)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestTheScriptIsTheWires(t *testing.T) {
	start := asked(messaging.Variable{Name: "GREETING", Value: `say "hi" to $USER`},
		messaging.Variable{Name: "NOW", Value: "$(date)"}, messaging.Variable{Name: "a.b", Value: "1"},
		messaging.Variable{Name: "no name", Value: "2"})
	start.StartCommand = "ruby app.rb -e 'x y'"
	start.VCAPApplication = []byte(`{"space_name":"it's","limits":{"mem":1},"big":12345678901234567890}`)
	start.Services = []messaging.Service{{Name: "db", Label: "postgres-9", Plan: "free", Tags: []string{"sql"},
		Credentials: []byte(`{"uri":"postgresql://u:p'w@db/x?a=1&b=2"}`)}}
	golden(t, "testdata/config/start_script.sh", jobFor(t, start).Argv[2])
}

func TestTheProgramFindsTheWiresEnvironment(t *testing.T) {
	for way, d := range map[string]actors.Droplet{"by the script": scripted, "direct": {Layer: "/d"}} {
		t.Run(way, func(t *testing.T) { findsTheWiresEnvironment(t, d) })
	}
}

func findsTheWiresEnvironment(t *testing.T, d actors.Droplet) {
	s := newSandbox(t)
	start := asked(messaging.Variable{Name: "MINE", Value: "$PORT"})
	start.Services = []messaging.Service{
		{Name: "q", Label: "queue", Credentials: []byte(`"any shape"`)},
		{Name: "db", Label: "sql", Credentials: []byte(`{"uri":"mysql://u:p@h/d"}`), SyslogDrainURL: "syslog://x"},
		{Name: "none", Label: "sql", Credentials: []byte("null")},
	}
	got := s.environment(t, jobOf(t, start, d))
	for name, want := range map[string]string{
		"HOME": s.dir + "/app", "TMPDIR": s.dir + "/tmp", "PWD": s.dir + "/app", "USER": "vcap", "LANG": "C.UTF-8",
		"PATH": searchPath, "PORT": "20007", "VCAP_APP_PORT": "20007", "VCAP_APP_HOST": "0.0.0.0", "MINE": "20007",
		"MEMORY_LIMIT": "128m", "DATABASE_URL": "mysql2://u:p@h/d",
		"CF_INSTANCE_INDEX": "3", "CF_INSTANCE_IP": "192.0.2.7", "CF_INSTANCE_PORT": "20007",
		"CF_INSTANCE_ADDR": "192.0.2.7:20007", "CF_INSTANCE_PORTS": `[{"external":20007,"internal":20007}]`,
		"VCAP_SERVICES": `{"queue":[{"name":"q","label":"queue","credentials":"any shape"}],` +
			`"sql":[{"name":"db","label":"sql","credentials":{"uri":"mysql://u:p@h/d"},"syslog_drain_url":"syslog://x"},` +
			`{"name":"none","label":"sql"}]}`,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if value, ok := got["DROPLET_BASE_DIR"]; ok {
		t.Errorf("DROPLET_BASE_DIR is exported as %q; the wire has it as the shell's own", value)
	}
	if pid, err := os.ReadFile(s.dir + "/run.pid"); err != nil || len(strings.Fields(string(pid))) != 1 {
		t.Errorf("run.pid has %q, %v; want one pid", pid, err)
	}
}

func TestVCAPApplicationIsTheMessagesUnderWhatTheNodeKnows(t *testing.T) {
	start := asked()
	start.VCAPApplication = []byte(`{"name":"theirs","space_name":"<s>","instance_id":"wrong","big":12345678901234567890}`)
	text := newSandbox(t).environment(t, jobFor(t, start))["VCAP_APPLICATION"]
	var got map[string]any
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"name": "theirs", "space_name": "<s>", "big": json.Number("12345678901234567890"),
		"application_id": "app-guid", "application_name": "shop", "application_version": "v1", "version": "v1",
		"application_uris": []any{"shop.example"}, "uris": []any{"shop.example"},
		"instance_id": placed().Instance, "instance_index": json.Number("3"), "host": "0.0.0.0", "port": json.Number("20007"),
		"started_at": "2026-03-01 11:00:00 +0000", "started_at_timestamp": json.Number("1772362800"),
		"start": "2026-03-01 11:00:00 +0000", "state_timestamp": json.Number("1772362800"),
		"limits": map[string]any{"mem": json.Number("128"), "disk": json.Number("256"), "fds": json.Number("2048")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):\n", diff)
	}
}

func TestWithoutAPortNothingIsSaidOfOne(t *testing.T) {
	place := placed()
	place.Port = 0
	_, job, err := newTestPlanner().Plan(place, asked(), scripted)
	if err != nil {
		t.Fatal(err)
	}
	got := newSandbox(t).environment(t, job)
	for _, name := range []string{"PORT", "VCAP_APP_PORT", "CF_INSTANCE_PORT", "CF_INSTANCE_ADDR"} {
		if value, ok := got[name]; ok {
			t.Errorf("%s is %q, want none", name, value)
		}
	}
	if strings.Contains(got["VCAP_APPLICATION"], `"port"`) || got["CF_INSTANCE_PORTS"] != "[]" {
		t.Errorf("%s, %s", got["VCAP_APPLICATION"], got["CF_INSTANCE_PORTS"])
	}
}

func TestTheDatabaseIsTheFirstThatIsOne(t *testing.T) {
	for uris, want := range map[string]string{
		"":                                    "",
		"http://a mysql://b":                  "mysql2://b",
		"mysql2://a postgres://b":             "mysql2://a",
		"postgresql://u:%40p@h:1/d?x=1":       "postgres://u:%40p@h:1/d?x=1",
		"db2://a":                             "ibmdb://a",
		"informix://a":                        "ibmdb://a",
		"POSTGRES://a":                        "postgres://a",
		"mysqlx://a not-an-url mongodb://b c": "",
	} {
		var services []messaging.Service
		for _, uri := range strings.Fields(uris) {
			services = append(services, messaging.Service{Credentials: fmt.Appendf(nil, `{"uri":%q}`, uri)})
		}
		services = append(services, messaging.Service{}, messaging.Service{Credentials: []byte(`{"uri":7}`)})
		if got := databaseURL(services); got != want {
			t.Errorf("%s: got %q, want %q", uris, got, want)
		}
	}
	got := newSandbox(t).environment(t, jobFor(t, asked()))
	if value, ok := got["DATABASE_URL"]; ok {
		t.Errorf("DATABASE_URL is %q without services, want none", value)
	}
}

func TestProfilesComeAfterTheUsersVariables(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "app/.profile.d/1 first.sh", "export PORT=1 ORDER=\"$USERS-$GEM_PATH\"\n", 0o644)
	s.put(t, "app/.profile.d/2.sh", "export ORDER=\"$ORDER-second-$PWD\"\n", 0o644)
	s.put(t, "app/.profile.d/ignored.txt", "export PORT=2\n", 0o644)
	got := s.environment(t, jobFor(t, asked(messaging.Variable{Name: "PORT", Value: "9"},
		messaging.Variable{Name: "USERS", Value: "$PORT"}, messaging.Variable{Name: "GEM_PATH", Value: "x"})))
	if got["PORT"] != "1" || got["ORDER"] != "9--second-"+s.dir {
		t.Errorf("PORT is %q, ORDER is %q", got["PORT"], got["ORDER"])
	}
	if _, ok := got["GEM_PATH"]; ok {
		t.Error("GEM_PATH is still set")
	}
}

func TestTheFirstGenerationsScriptIsRunWhereThereIsNoCommand(t *testing.T) {
	s := newSandbox(t)
	s.put(t, "startup", "#!/bin/sh\necho started in $PWD with $MINE at $PORT\n", 0o755)
	start := asked(messaging.Variable{Name: "MINE", Value: "7"})
	start.StartCommand = ""
	_, job, err := newTestPlanner().Plan(placed(), start, actors.Droplet{Startup: true})
	if err != nil {
		t.Fatal(err)
	}
	out, wrong, err := s.run(t, job)
	if want := fmt.Sprintf("started in %s with 7 at 20007\n", s.dir); err != nil || out != want {
		t.Errorf("got %q %q %v, want %q", out, wrong, err, want)
	}
}

func TestTheMessagesCommandGoesBeforeTheDroplets(t *testing.T) {
	s := newSandbox(t)
	start := asked()
	for _, c := range []struct{ message, droplet, want string }{
		{"echo it\\'s \"$PWD\"", "echo droplet", "it's " + s.dir + "/app\n"},
		{"", "echo droplet", "droplet\n"},
		{"exit 7", "", ""},
	} {
		start.StartCommand = c.message
		_, job, err := newTestPlanner().Plan(placed(), start, actors.Droplet{StartCommand: c.droplet, Startup: true})
		if err != nil {
			t.Fatal(err)
		}
		out, wrong, err := s.run(t, job)
		exit, _ := errors.AsType[*exec.ExitError](err)
		if out != c.want || wrong != "" || (c.message == "exit 7") != (exit != nil && exit.ExitCode() == 7) {
			t.Errorf("%+v: got %q %q %v", c, out, wrong, err)
		}
	}
	start.StartCommand = ""
	if _, _, err := newTestPlanner().Plan(placed(), start, actors.Droplet{}); !errors.Is(err, actors.ErrNoStartCommand) {
		t.Errorf("error is %v, want actors.ErrNoStartCommand", err)
	}
}

// What the rule of environment_quote.go says, value by value.
func TestAValueArrivesAsTheRuleSays(t *testing.T) {
	cases := []struct{ value, want string }{
		{``, ``}, {` two  words `, ` two  words `}, {"line\nline\n\n", "line\nline\n\n"}, {`say "hi"`, `say "hi"`},
		{`it's`, `it's`}, {`a\b\n\\`, `a\b\n\\`}, {`\"; touch stray; "`, `\"; touch stray; "`}, {`!x * ~ # ;`, `!x * ~ # ;`},
		{`$OTHER`, `other`}, {`${OTHER}s`, `others`}, {`$NOBODY.`, `.`}, {`$OTHER$OTHER`, `otherother`},
		{`pa$$word`, `pa$$word`}, {`$1.50`, `$1.50`}, {`^a$`, `^a$`},
		{`$?$!$#$@$*$-$0$_`, `$?$!$#$@$*$-$0$_`}, {`$[1+1]`, `$[1+1]`},
		{`\$OTHER`, `$OTHER`}, {`\\$OTHER`, `\$OTHER`}, {"\\`x\\`", "`x`"}, {`$'x'$"y"`, `$'x'$"y"`},
		{`$(echo 1)`, `1`}, {`<$(printf 'a\nb')>`, "<a\nb>"}, {`$(echo "a  b")"`, `a  b"`}, {"`echo 1`2", "12"},
		{`$(echo ")")$(echo \))`, `))`}, {"$(echo `echo \"1 2\"`)", "1 2"},
		{`$(printf 'x\n')` + "\n\n", "x\n\n"}, {`$((1+2))`, `3`},
		{`${NOBODY:-none}`, `none`}, {`${OTHER:+"$OTHER"}`, `other`}, {`${#OTHER}`, `5`}, {`${OTHER:-'}'}`, `other`},
		{`$(false)x`, `x`}, {`$(exit 3)x`, `x`},
		{"`", "`"}, {"a`b", "a`b"}, {`$(`, `$(`}, {`$(echo`, `$(echo`}, {`${`, `${`},
		{`${OTHER`, `${OTHER`}, {`$(echo "`, `$(echo "`},
		{`$(echo ')`, `$(echo ')`}, {`${a!b}`, `${a!b}`}, {`${NOBODY:?gone}`, `${NOBODY:?gone}`},
		{`$OTHER$(if)`, `$OTHER$(if)`}, {"$OTHER`", "$OTHER`"}, {`$$$OTHER`, `$$other`}, {`${}`, `${}`},
		{"$(# it's\n)\"; touch stray; '", "$(# it's\n)\"; touch stray; '"}, {"$(cat <<X\n)\nX\n)", "$(cat <<X\n)\nX\n)"},
		{`$(echo $'\'')"'`, `$(echo $'\'')"'`}, {`$(echo ${x#'}'})"; touch stray; '`, `$(echo ${x#'}'})"; touch stray; '`},
		{`$(case x in x) echo 1;; esac)`, `1`},
	}
	s := newSandbox(t)
	variables := []messaging.Variable{{Name: "OTHER", Value: "other"}}
	for i, c := range cases {
		variables = append(variables, messaging.Variable{Name: fmt.Sprintf("V%d", i), Value: c.value})
	}
	got := s.environment(t, jobFor(t, asked(variables...)))
	for i, c := range cases {
		if value := got[fmt.Sprintf("V%d", i)]; value != c.want {
			t.Errorf("%q arrives as %q, want %q", c.value, value, c.want)
		}
	}
	s.expectNoStray(t)
}

// expectNoStray fails if anything but the script's own acts left a file.
func (s sandbox) expectNoStray(t tester) {
	t.Helper()
	var names []string
	for _, dir := range []string{"", "app"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	if want := []string{"app", "logs", "run.pid", "tmp", ".profile.d"}; !slices.Equal(names, want) {
		t.Fatalf("the folder has %q, want %q: something else was run", names, want)
	}
}

// A value of pieces, each with what the rule makes of it, in any order.
func TestEveryValueArrivesAsTheRuleSays(t *testing.T) {
	pieces := map[string]string{
		"$OTHER": "o\"'$ `\\x", "${OTHER}": "o\"'$ `\\x", "$NOBODY": "", `\$`: "$", "\\`": "`", "$$": "$$", "$1": "$1",
		`"`: `"`, "'": "'", `\`: `\`, `\"`: `\"`, "\n": "\n", " ": " ", ";touch stray;": ";touch stray;", "|>&<": "|>&<",
		"$(echo \"a  'b\")": "a  'b", "`echo 1`": "1", "${NOBODY:-x}": "x", "é😀": "é😀", "word": "word", "*": "*",
	}
	keys := slices.Sorted(maps.Keys(pieces))
	s := newSandbox(t)
	rapid.Check(t, func(r *rapid.T) {
		var variables []messaging.Variable
		want := map[string]string{}
		for i := range 8 {
			var value, arrives strings.Builder
			for _, key := range rapid.SliceOfN(rapid.SampledFrom(keys), 0, 12).Draw(r, "pieces") {
				value.WriteString(key + "-") // a dash, so that neighbours don't become one name
				arrives.WriteString(pieces[key] + "-")
			}
			name := fmt.Sprintf("V%d", i)
			variables = append(variables, messaging.Variable{Name: name, Value: value.String()})
			want[name] = arrives.String()
		}
		other := messaging.Variable{Name: "OTHER", Value: "o\"'\\$ \\`\\x"}
		got := s.environment(r, jobFor(r, asked(append([]messaging.Variable{other}, variables...)...)))
		for _, v := range variables {
			if got[v.Name] != want[v.Name] {
				r.Fatalf("%q arrives as %q, want %q", v.Value, got[v.Name], want[v.Name])
			}
		}
		s.expectNoStray(r)
	})
}

// Whatever bytes a value has, the variables around it and the command are
// untouched; and one without a dollar or a backtick arrives as it is.
func TestNoValueBreaksTheScript(t *testing.T) {
	s := newSandbox(t)
	rapid.Check(t, func(r *rapid.T) {
		runes := rapid.SampledFrom([]rune("\"'\\$`(){}[]&;!#*?~%^= \n\t-:.12XYé<|"))
		var variables []messaging.Variable
		for i := range 8 {
			value := rapid.StringOfN(runes, 0, 30, -1).Draw(r, "value")
			variables = append(variables,
				messaging.Variable{Name: fmt.Sprintf("V%d", i), Value: value},
				messaging.Variable{Name: fmt.Sprintf("AFTER%d", i), Value: "intact"})
		}
		got := s.environment(r, jobFor(r, asked(variables...)))
		for _, v := range variables {
			value, exists := got[v.Name]
			literal := !strings.ContainsAny(v.Value, "$`")
			if !exists || literal && value != v.Value {
				r.Fatalf("%s=%q arrives as %q, %t", v.Name, v.Value, value, exists)
			}
		}
		if got["PORT"] != "20007" || got["HOME"] != s.dir+"/app" {
			r.Fatalf("PORT is %q, HOME is %q", got["PORT"], got["HOME"])
		}
		s.expectNoStray(r)
	})
}

func TestNamesThatTheShellCannotExportStillArrive(t *testing.T) {
	s := newSandbox(t)
	job := jobFor(t, asked(messaging.Variable{Name: "spring.datasource.url", Value: "$x `y"},
		messaging.Variable{Name: "a-b", Value: "1"},
		messaging.Variable{Name: "two words", Value: "$(touch stray)"}, messaging.Variable{Name: "", Value: "x"},
		messaging.Variable{Name: "BASH_FUNC_ls%%", Value: "() { touch stray; }"}))
	got := s.environment(t, job)
	if got["spring.datasource.url"] != "$x `y" || got["a-b"] != "1" || len(got["BASH_FUNC_ls%%"]) != 0 {
		t.Errorf("got %v", got)
	}
	s.expectNoStray(t)
	_, wrong, err := s.run(t, job)
	for _, name := range []string{`"two words"`, `""`, `"BASH_FUNC_ls%%"`} {
		if err != nil || !strings.Contains(wrong, "can't be called "+name) {
			t.Errorf("the log is %q, %v; want it to name %s", wrong, err, name)
		}
	}
}

func TestALongEnvironmentArrivesInPieces(t *testing.T) {
	s := newSandbox(t)
	long := strings.Repeat("é\"'$( ", 7000)
	job := jobFor(t, asked(messaging.Variable{Name: "LONG1", Value: long}, messaging.Variable{Name: "LONG2", Value: long}))
	if len(job.Argv) < 5 {
		t.Fatalf("the script came in %d arguments; the test doesn't test what it should", len(job.Argv))
	}
	for _, text := range append(job.Argv, job.Env...) {
		if len(text) > argumentMax {
			t.Errorf("an argument has %d bytes, more than %d", len(text), argumentMax)
		}
	}
	got := s.environment(t, job)
	if got["LONG1"] != long || got["LONG2"] != long {
		t.Errorf("arrived with %d and %d bytes, want %d", len(got["LONG1"]), len(got["LONG2"]), len(long))
	}
}
