package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// environment is the application's own, by name.
func (i *instance) environment() map[string]string {
	found := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(i.ask("/run", "sh", "tr '\\0' '\\1' < /proc/$PPID/environ"), "\x01"), "\x01") {
		name, value, _ := strings.Cut(pair, "=")
		found[name] = value
	}
	return found
}

// Every variable of wire/dea.md d.1 with its value, in a real container; the
// user's over the system's, a buildpack's over both; and where it is started.
func TestWhatAnApplicationFinds(t *testing.T) {
	s := newStage(t, "")
	droplet := s.blobs.Add("./app", application(t),
		rig.File{Name: ".profile.d/1.sh", Body: []byte("export LAST=profile-$ORDER BY=$GEM_PATH.$PWD\n"), Mode: 0o644})
	s.start("web", droplet, map[string]any{
		"index": 3, "limits": map[string]any{"mem": 64, "disk": 128, "fds": 77},
		"env": []string{
			"MEMORY_LIMIT=mine", "ORDER=user", "LAST=user", "GEM_PATH=gone",
			`QUOTES=it's "so"`, "DOLLAR=$ORDER ${PORT} $NOTHING. \\$ORDER $5 $$",
			"RUN=$(echo $((1+1)))`echo 3`", `BACK=a\b\\c\`, "LINES=one\ntwo\n", "OPEN=$(", "EMPTY=", "a.b=$ORDER",
		},
		"services": []any{
			map[string]any{"name": "n", "label": "l-1", "credentials": map[string]any{"uri": "http://x"}, "plan": nil, "more": "x",
				"vendor": "v"},
			map[string]any{"name": "db", "label": "l-1", "credentials": map[string]any{"uri": "postgresql://u:it's@h/d?a=$b"},
				"tags": []string{"sql"}, "plan": "free", "plan_option": "o", "syslog_drain_url": "syslog://h"},
		},
		"vcap_application": map[string]any{"space_name": "$HOME's", "application_id": "not this"},
	})
	app := s.registered("web")
	got := app.environment()
	port := fmt.Sprint(app.port)
	want := map[string]string{
		"HOME": "/home/vcap/app", "TMPDIR": "/home/vcap/tmp", "USER": "vcap", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin",
		"VCAP_APP_HOST": "0.0.0.0", "VCAP_APP_PORT": port, "PORT": port, "CF_INSTANCE_INDEX": "3", "CF_INSTANCE_IP": "127.0.0.1",
		"CF_INSTANCE_PORT": port, "CF_INSTANCE_ADDR": "127.0.0.1:" + port,
		"CF_INSTANCE_PORTS": `[{"external":` + port + `,"internal":` + port + `}]`, "DATABASE_URL": "postgres://u:it's@h/d?a=$b",
		"VCAP_SERVICES": `{"l-1":[{"name":"n","label":"l-1","credentials":{"uri":"http://x"}},{"name":"db","label":"l-1","tags":["sql"],` +
			`"plan":"free","plan_option":"o","credentials":{"uri":"postgresql://u:it's@h/d?a=$b"},"syslog_drain_url":"syslog://h"}]}`,
		"MEMORY_LIMIT": "mine", "ORDER": "user", "LAST": "profile-user", "BY": "./home/vcap", "QUOTES": `it's "so"`,
		"DOLLAR": "user " + port + " . $ORDER $5 $$", "RUN": "23",
		"BACK": `a\b\\c\`, "LINES": "one\ntwo\n", "OPEN": "$(", "EMPTY": "", "a.b": "$ORDER",
		"PWD": "/home/vcap/app", "OLDPWD": "/home/vcap",
	}
	var application map[string]any
	if err := json.Unmarshal([]byte(got["VCAP_APPLICATION"]), &application); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"VCAP_APPLICATION", "SHLVL", "_"} { // the last two are bash's
		delete(got, of)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[name]; !ok || value != want[name] {
			t.Errorf("%s is %q (there: %t), want %q", name, value, ok, want[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("there is more: %q", got)
	}
	for key, value := range map[string]any{
		"space_name": "$HOME's", "application_id": "web", "instance_index": 3.0, "host": "0.0.0.0", "port": float64(app.port),
		"application_version": "version-of-web",
	} {
		if application[key] != value {
			t.Errorf("VCAP_APPLICATION has %s %v, want %v", key, application[key], value)
		}
	}
	for line, want := range map[string]string{
		"umask": "0077\n", "pwd -P": "/home/vcap/app\n", "id -un": "vcap\n", "ulimit -n": "77\n",
		"readlink /proc/$(cat ../run.pid)/exe; wc -l < ../run.pid": "/home/vcap/app/app\n1\n",
	} {
		if got := app.ask("/run", "sh", line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// Folders of the node are where the configuration says, as it says.
func TestBindMountsAreInEveryApplication(t *testing.T) {
	source := t.TempDir()
	for _, name := range []string{"ro", "rw"} {
		if err := os.Mkdir(filepath.Join(source, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(source, name), 2000, 2000); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(source, "ro/model"), []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, fmt.Sprintf("bind_mount %q {\n source = %q\n}\nbind_mount %q {\n source = %q\n access = \"rw\"\n}\n",
		"/srv/models", source+"/ro", "/home/vcap/shared", source+"/rw"))
	app := s.running("web", nil)
	if got := app.ask("/read", "path", "/srv/models/model"); got != "weights" {
		t.Errorf("it reads %q", got)
	}
	if got := app.ask("/run", "sh", "touch /srv/models/x; echo hers > /home/vcap/shared/x"); !strings.Contains(got, "Read-only") {
		t.Errorf("writing came to %q", got)
	}
	if text, err := os.ReadFile(source + "/rw/x"); err != nil || string(text) != "hers\n" {
		t.Errorf("on the node there is %q, %v", text, err)
	}
}
