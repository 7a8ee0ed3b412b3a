package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hookFiles writes scripts and returns the block that names them.
func hookFiles(t *testing.T, timeout string, scripts map[string]string) string {
	t.Helper()
	block := "hooks {\n  hook_timeout = \"" + timeout + "\"\n"
	for moment, script := range scripts {
		path := filepath.Join(t.TempDir(), moment)
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		block += fmt.Sprintf("  %s = %q\n", moment, path)
	}
	return block + "}\n"
}

// trace notes who ran, as whom, where, with what, and with which mask.
const trace = `echo "$0 $(id -un) $PWD $COLOUR $PORT $(umask)" >> trace
`

// The hooks run in the application's container, in its environment, each at its
// moment; the agent is killed meanwhile and none runs twice.
func TestHooksRunInTheApplicationsContainer(t *testing.T) {
	s := newStage(t, hookFiles(t, "30s", map[string]string{
		"before_start": strings.Replace(trace, "$0", "before_start", 1) + "sleep 2\n",
		"after_start":  strings.Replace(trace, "$0", "after_start", 1),
		"before_stop":  strings.Replace(trace, "$0", "before_stop", 1) + "sleep 2; kill -0 $(cat run.pid) && echo serves >> trace\n",
		"after_stop":   "cat trace; kill -0 $(cat run.pid) || echo gone; false\n", // what fails is logged with its words
	}))
	offer := s.offer()
	s.start("web", s.serve, nil)
	s.ctl.Expect("deacon.v1.instance", soon, has("to", "STARTING"))
	s.node.Kill()
	s.node.Start()
	app := s.registered("web")
	waitFor(t, "the hook after the start", func() bool {
		return strings.Contains(app.ask("/read", "path", "/home/vcap/trace"), "after_start")
	})
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "web"})
	s.ctl.Expect("deacon.v1.instance", soon, has("to", "STOPPING"))
	time.Sleep(500 * time.Millisecond) // in the middle of the hook before the stop
	s.node.Kill()
	s.node.Start()
	s.gone("web")
	s.atRest(offer)
	who := fmt.Sprintf("vcap /home/vcap green %d 0077", app.port)
	said := ""
	for _, line := range []string{"before_start " + who, "after_start " + who, "before_stop " + who, "serves", "gone"} {
		said += line + "\\n"
	}
	// The only one that failed; in the log the lines of what it said are one.
	s.node.WaitLog("the hook after_stop ended with status 1", soon)
	log := s.node.Log()
	for _, line := range strings.Split(strings.TrimSuffix(said, "\\n"), "\\n") {
		if n := strings.Count(log, line); n != 1 {
			t.Errorf("%q is said %d times, want once", line, n)
		}
	}
	if n := strings.Count(log, "a hook failed"); n != 1 {
		t.Errorf("%d hooks failed, want the last one only", n)
	}
}

func TestAStartFailsWithItsHook(t *testing.T) {
	for what, script := range map[string]string{
		"it fails":         "echo no licence here >&2; exit 3\n",
		"it hangs":         "trap '' TERM; sleep 1000\n",
		"it is no program": "if then fi\n",
	} {
		t.Run(what, func(t *testing.T) {
			s := newStage(t, hookFiles(t, "2s", map[string]string{"before_start": script}))
			offer := s.offer()
			s.start("web", s.serve, nil)
			expectEnd(t, s.crashed("web", soon), -1, "failed to start")
			s.ctl.ExpectNone("router.register", 100*time.Millisecond)
			s.atRest(offer)
			if what == "it fails" {
				s.node.WaitLog("no licence here", soon)
			}
		})
	}
}

// A hook that never ends holds up neither what serves nor a stop.
func TestAHookThatHangsIsBounded(t *testing.T) {
	hang := "trap '' TERM; sleep 1000\n"
	s := newStage(t, hookFiles(t, "1s", map[string]string{"after_start": hang, "before_stop": hang, "after_stop": hang}))
	offer := s.offer()
	s.running("web", nil).ask("/")
	s.stop("web")
	s.atRest(offer)
}

func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}
