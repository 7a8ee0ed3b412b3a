package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unified makes a v2 group that has a controller for those below it: such a one
// takes no process itself.
func unified(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: control groups need root")
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		controllers, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
		if err != nil || len(strings.Fields(string(controllers))) == 0 {
			continue // changing it would be noticed by everybody on the machine
		}
		group := filepath.Join(root, fmt.Sprintf("deacon-chaos-test-%d", os.Getpid()))
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil {
				t.Error(err)
			}
		})
		enable := []byte("+" + strings.Fields(string(controllers))[0])
		if err := os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), enable, 0); err != nil {
			t.Fatal(err)
		}
		return group
	}
	t.Skip("SKIPPED: no v2 hierarchy of this machine has controllers for its groups")
	return ""
}

func TestAGroupIsDissolvedThoughTheOneAboveTakesNobody(t *testing.T) {
	parent := unified(t)
	group := filepath.Join(parent, "s1.1")
	jobs := filepath.Join(group, "jobs")
	if err := os.MkdirAll(jobs, 0o755); err != nil {
		t.Fatal(err)
	}
	job := exec.Command("sleep", "600")
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		job.Process.Kill()
		job.Wait()
		unix.Rmdir(jobs)
		unix.Rmdir(group)
	}()
	if err := move(job.Process.Pid, jobs); err != nil {
		t.Fatal(err)
	}
	if err := move(job.Process.Pid, parent); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("the group above takes it: %v", err)
	}
	if err := dissolve(group); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(group); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the group is still there: %v", err)
	}
	if err := job.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the process was harmed: %v", err)
	}
}
