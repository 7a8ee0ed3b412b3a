package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// ofGroups are the values that a file of the kernel has in the groups of the node's
// containers, by the name of cgroup v1 or of v2.
func (s *stage) ofGroups(files ...string) (values []string) {
	s.t.Helper()
	tag := rig.TracesOf(s.t, filepath.Join(s.node.State, "s")).Tag
	for _, file := range files {
		for _, hierarchy := range []string{"*/", ""} {
			group := "/sys/fs/cgroup/" + hierarchy + "deacon-" + tag + "/s*/"
			for _, place := range []string{file, "jobs/" + file} {
				found, _ := filepath.Glob(group + place)
				for _, path := range found {
					if value, err := os.ReadFile(path); err == nil {
						values = append(values, strings.TrimSpace(string(value)))
					}
				}
			}
		}
	}
	return values
}

// A start message's limits, and the configuration's, are what the kernel holds the
// instance to.
func TestAnInstanceHasTheLimitsOfItsMessage(t *testing.T) {
	s := newStage(t, "instance {\n  processes = 77\n  spares = 0\n}\n")
	app := s.running("app", map[string]any{"limits": map[string]any{"mem": 96, "disk": 64, "fds": 333}})
	if got, want := app.ask("/run", "sh", "ulimit -Hn; ulimit -Sn"), "333\n333\n"; got != want {
		t.Errorf("open files are limited to %q, want %q", got, want)
	}
	if got, want := app.ask("/run", "sh", "bash -c 'ulimit -Hu; ulimit -Su'"), "77\n77\n"; got != want {
		t.Errorf("processes are limited to %q, want %q", got, want)
	}
	for name, c := range map[string]struct {
		files []string
		want  []string
	}{
		"memory":          {[]string{"memory.limit_in_bytes", "memory.max"}, []string{"100663296"}},
		"memory and swap": {[]string{"memory.memsw.limit_in_bytes", "memory.swap.max"}, []string{"100663296", "0"}},
		"cpu shares":      {[]string{"cpu.shares", "cpu.weight"}, []string{"12", "1"}}, // 96 / 8
		"processes":       {[]string{"pids.max"}, []string{"77"}},
	} {
		values := s.ofGroups(c.files...)
		if !slices.ContainsFunc(values, func(v string) bool { return slices.Contains(c.want, v) }) {
			t.Errorf("%s: the groups have %q, want one of %q", name, values, c.want)
		}
	}
}
