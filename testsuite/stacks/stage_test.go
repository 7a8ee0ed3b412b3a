package stacks

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// How long things may take on a busy machine of two cores.
const (
	soon = 15 * time.Second
	late = 60 * time.Second
)

// packages are what the examples are written in.
const packages = "python3,nodejs,ca-certificates"

// stage is a state folder with the stacks in it, and nothing else yet.
type stage struct {
	t      *testing.T
	folder string
	config string
	cache  string // of packages, for the next build
}

func newStage(t *testing.T) *stage {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error("the state folder can't be removed:", err)
		}
	})
	s := &stage{t, folder, filepath.Join(folder, "rootfs.hcl"), filepath.Join(folder, "cache")}
	s.configure("")
	return s
}

// configure is what the commands go by; a node under test has a file of its own,
// and the same state folder.
func (s *stage) configure(more string) {
	s.t.Helper()
	text := "node {\n  state = \"" + s.state() + "\"\n}\n" + more
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) state() string { return filepath.Join(s.folder, "s") }

func (s *stage) command(arguments ...string) *exec.Cmd {
	all := append([]string{"rootfs"}, append(arguments, "--config", s.config)...)
	return exec.Command(rig.Binary(s.t, "deacon"), all...)
}

// run runs a command that should succeed, and returns what it printed.
func (s *stage) run(arguments ...string) string {
	s.t.Helper()
	out, err := s.command(arguments...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("deacon rootfs %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// refused runs a command that should fail with these words.
func (s *stage) refused(words string, arguments ...string) {
	s.t.Helper()
	out, err := s.command(arguments...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), words) {
		s.t.Errorf("deacon rootfs %s: %v, want %q:\n%s", strings.Join(arguments, " "), err, words, out)
	}
}

// listed is what list says.
type listed struct {
	Stacks     []struct{ Name, Fault, Digest string }
	Unfinished []struct{ Name, Path string }
}

func (s *stage) list() listed {
	s.t.Helper()
	out, err := s.command("list", "--json").Output()
	var l listed
	if err == nil {
		err = json.Unmarshal(out, &l)
	}
	if err != nil {
		s.t.Fatalf("list: %v\n%s", err, out)
	}
	return l
}

// building is the command that builds a stack, to be started with rig.StartBeyond.
func (s *stage) building(name string) *exec.Cmd {
	s.t.Helper()
	return s.command("build", name, "--packages", packages, "--cache", s.cache)
}

// build makes a stack of Debian, and returns how long that took. Where no mirror
// answers there is nothing to be built from.
func (s *stage) build(name string) time.Duration {
	s.t.Helper()
	began := time.Now()
	var out strings.Builder
	build := s.building(name)
	build.Stdout, build.Stderr = &out, &out
	if err := rig.StartBeyond(build); err != nil {
		s.t.Fatal(err)
	}
	if err := build.Wait(); err != nil {
		for _, reason := range []string{"Failed getting release file", "no apt source of this machine"} {
			if strings.Contains(out.String(), reason) {
				s.t.Skip("SKIPPED: no mirror of a distribution can be reached from here: " + reason)
			}
		}
		s.t.Fatalf("build: %v\n%s", err, out.String())
	}
	s.t.Logf("built in %s:\n%s", time.Since(began).Round(time.Millisecond), out.String())
	return time.Since(began)
}
