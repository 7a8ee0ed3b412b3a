package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

const firstRuntimes = `
instance { stop_grace = "1m" }
runtime "shell" {
  executable        = "bash"
  version_flag      = "--version"
  version_output    = "GNU bash, version \\d"
  additional_checks = "-c 'echo true'"
  environment       = { KIND = "shell at $PORT" }
  debug_env         = { run = "ALSO=$VCAP_DEBUG_PORT" }
}
runtime "future" {
  executable     = "bash"
  version_flag   = "--version"
  version_output = "version 99\\."
}
`

// startupOfFirst is what the first era's staging wrote, for an application that
// ends only by the droplet's own stop. A second one is at the debugger's port.
const startupOfFirst = `#!/bin/bash
trap '' TERM
cd app
%VCAP_LOCAL_RUNTIME% -c 'exec ./app' > ../logs/stdout.log 2> ../logs/stderr.log &
STARTED=$!
echo "$STARTED" >> ../run.pid
[ -z "$ALSO" ] || PORT=$ALSO ./app &
echo "$0 $* %VCAP_LOCAL_RUNTIME%" > ../arguments
while :; do wait; sleep 1; done
`

const stopOfFirst = `#!/bin/sh
for pid in $(ps -o ppid= -p $1) $1; do kill -9 $pid; done
`

func firstDroplet(t *testing.T, s *stage) rig.Droplet {
	program := application(t)
	program.Name = "./app/app"
	return s.blobs.AddFirst(program, rig.File{Name: "./startup", Body: []byte(startupOfFirst), Mode: 0o600},
		rig.File{Name: "./stop", Body: []byte(stopOfFirst), Mode: 0o755})
}

// firstMessage is a start as the first era's cloud controllers wrote it.
func firstMessage(app string, d rig.Droplet, runtime string) map[string]any {
	return map[string]any{
		"droplet": app, "name": app, "version": "1-1", "index": 0, "uris": []string{app + ".example"}, "sha1": d.SHA1,
		"executableUri": d.URI, "executableFile": "/nowhere", "services": []any{}, "env": []string{"MINE=$KIND"},
		"runtime": runtime, "framework": "none", "users": []string{"derek@example.com"}, "prod": false, "console": true, "debug": "run",
		"runtime_info": map[string]any{"version": "1"}, "limits": map[string]any{"mem": 64, "disk": 128},
	}
}

func TestADropletOfTheFirstEraRunsAndStopsByItself(t *testing.T) {
	s := newStage(t, firstRuntimes)
	offer := s.offer()
	if got := fmt.Sprint(offer["runtimes"]); got != "[future shell]" {
		t.Errorf("the node offers the runtimes %s", got)
	}
	s.ctl.Publish("dea."+s.id+".start", firstMessage("old", firstDroplet(t, s), "shell"))
	app := s.registered("old")
	environment := "\n" + app.ask("/env") + "\n"
	for _, want := range []string{
		"HOME=/home/vcap", "KIND=shell at " + fmt.Sprint(app.port), "MINE=shell at " + fmt.Sprint(app.port), "VMC_APP_NAME=old",
		"VCAP_CONSOLE_IP=0.0.0.0", "VCAP_DEBUG_IP=0.0.0.0", "VMC_SERVICES=[]",
	} {
		if !strings.Contains(environment, "\n"+want+"\n") {
			t.Errorf("the environment lacks %q:\n%s", want, environment)
		}
	}
	want := fmt.Sprintf("/home/vcap/startup -p %d /usr/bin/bash\n", app.port)
	if got := app.ask("/read", "path", "/home/vcap/arguments"); got != want {
		t.Errorf("startup was called as %q, want %q", got, want)
	}
	var found map[string]any
	waitFor(t, "the ports", func() bool {
		found = s.find("old")
		return found["debug_port"] != nil
	})
	if found["debug_ip"] != "127.0.0.1" || found["console_ip"] != "127.0.0.1" || found["console_port"] == found["debug_port"] {
		t.Errorf("it is found as %v", found)
	}
	waitFor(t, "the debugger's port", func() bool {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%v/", found["debug_port"]))
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	s.node.Kill() // its ports are not another's meanwhile
	s.node.Start()
	if again := s.find("old"); again["debug_port"] != found["debug_port"] || again["console_port"] != found["console_port"] {
		t.Errorf("after a restart it is found as %v, before as %v", again, found)
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "old"})
	s.ctl.Expect("deacon.v1.instance", soon, rig.With("application", "old"), rig.With("to", "STOPPED")) // and not after a minute
	s.ctl.ExpectNone("droplet.exited", 0)
	s.atRest(offer)
}

func TestARuntimeThatIsNotThereFailsTheStart(t *testing.T) {
	s := newStage(t, firstRuntimes)
	offer := s.offer()
	droplet := firstDroplet(t, s)
	for runtime, reason := range map[string]string{
		"future": "the runtime future: /usr/bin/bash says GNU bash", "java": `there is no runtime \"java\", there are: future, shell`,
	} {
		s.ctl.Publish("dea."+s.id+".start", firstMessage("old-"+runtime, droplet, runtime))
		expectEnd(t, s.crashed("old-"+runtime, soon), -1, "failed to start")
		s.node.WaitLog(reason, soon)
	}
	s.atRest(offer)
}

// find asks until somebody answers for the application.
func (s *stage) find(app string) (found map[string]any) {
	s.t.Helper()
	waitFor(s.t, app+" to be found", func() bool {
		answer, err := s.ctl.Conn.Request("dea.find.droplet", []byte(`{"droplet": "`+app+`"}`), time.Second)
		return err == nil && json.Unmarshal(answer.Data, &found) == nil
	})
	return found
}

// An application that writes its own state runs once that says so, though its port
// is open; a file that nobody can read is not waited for, only passed over.
func TestAStateFileSaysWhenAnApplicationRuns(t *testing.T) {
	s := newStage(t, "")
	program := application(t)
	program.Name = "./app/app"
	droplet := s.blobs.AddFirst(program, rig.File{Name: "./droplet.yaml", Body: []byte("state_file: tmp/state.json\n"), Mode: 0o644})
	s.start("slow", droplet, map[string]any{"start_command": "mkfifo ../tmp/state.json; exec ./app", "health_check_timeout": 1})
	port := 0
	waitFor(t, "the application", func() bool {
		for _, row := range s.rows() {
			port = int(row["port"].(float64))
		}
		if port == 0 {
			return false
		}
		_, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		return err == nil
	})
	s.ctl.ExpectNone("router.register", 2*time.Second) // it listens, and its port's time is over
	app := &instance{s: s, app: "slow", base: fmt.Sprintf("http://127.0.0.1:%d", port), port: port}
	for _, line := range []string{
		"rm tmp/state.json; ln -s /dev/zero tmp/state.json", "rm tmp/state.json; ln -s /etc/passwd tmp/state.json",
		"rm tmp/state.json; truncate -s 1G tmp/state.json", "rm tmp/state.json; echo '{\"state\":\"STARTING\"}' > tmp/state.json",
	} {
		app.ask("/run", "sh", "cd /home/vcap; "+line)
		s.ctl.ExpectNone("router.register", time.Second)
	}
	app.ask("/run", "sh", `cd /home/vcap; echo '{"state":"RUNNING"}' > tmp/next; mv tmp/next tmp/state.json`)
	s.registered("slow")
}

// rows are what the node lists.
func (s *stage) rows() []map[string]any {
	s.t.Helper()
	var list struct{ Instances []map[string]any }
	answer, err := s.ctl.Conn.Request("deacon.v1.ps", []byte("{}"), time.Second)
	if err != nil || json.Unmarshal(answer.Data, &list) != nil {
		return nil
	}
	return list.Instances
}
