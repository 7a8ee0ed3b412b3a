package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// repairMax is how long what somebody else did may last: the pauses between four
// audits, after which everything was read, and what a busy machine makes of it.
const repairMax = 20 * time.Second

// traces are the node's in the kernel.
func (s *stage) traces() rig.Traces {
	s.t.Helper()
	return rig.TracesOf(s.t, filepath.Join(s.node.State, "s"))
}

// link is the only one that the node has.
func (s *stage) link() string {
	s.t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, "dcn"+s.traces().Tag) {
			return link.Name
		}
	}
	s.t.Fatal("the node has no link")
	return ""
}

// groups are the folders of cgroups of the node's only container.
func (s *stage) groups() (all []string) {
	s.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/*/deacon-", "/sys/fs/cgroup/deacon-"} {
		found, _ := filepath.Glob(pattern + s.traces().Tag + "/*/cgroup.procs")
		for _, file := range found {
			if dir := filepath.Dir(file); filepath.Base(dir) != "init" {
				all = append(all, dir)
			}
		}
	}
	return all
}

// folder is that of the node's only container.
func (s *stage) folder() string {
	s.t.Helper()
	found, _ := filepath.Glob(filepath.Join(s.node.State, "s", "containers", "*"))
	if len(found) != 1 {
		s.t.Fatalf("the node has the containers %q, want one", found)
	}
	return found[0]
}

// Somebody else on the machine breaks what a living application stands on while
// it is asked. The running agent notices by itself, mends it, and says so; the
// application never ends.
func TestWhatSomebodyElseBreaksIsMendedAndSaid(t *testing.T) {
	s := newStage(t, "")
	app := s.running("web", nil)
	born := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
	for _, harm := range []struct {
		name, says string
		cuts       bool // nobody can reach the application meanwhile
		does       func() error
	}{
		{"the ruleset is flushed", "table is gone", true, s.traces().DeleteTable},
		{"the port's rule is removed", "the mapping of port", true, func() error { return s.traces().EmptySet("ports") }},
		{"the link is set down", "is down", true, func() error { return rig.SetLinkDown(s.link()) }},
		{"the address is removed", "lost the address", true, func() error { return rig.DropAddress(s.link()) }},
		{"the link is deleted", "is gone", true, func() error { return rig.DeleteLink(s.link()) }},
		{"processes are not limited any more", "its limit on processes is none", false, s.unlimitProcesses},
		{"the record is deleted", "spec is gone", false, func() error { return os.Remove(s.folder() + "/spec") }},
	} {
		said := strings.Count(s.node.Log(), harm.says)
		if err := harm.does(); err != nil {
			t.Fatalf("%s: %v", harm.name, err)
		}
		begun, lost := time.Now(), 0
		for {
			_, err := app.try("/")
			if err != nil {
				lost++
			}
			if err == nil && strings.Count(s.node.Log(), harm.says) > said {
				break
			}
			if time.Since(begun) > repairMax {
				t.Fatalf("%s: after %s the application says %v, and the agent:\n%s", harm.name, repairMax, err, s.node.Log())
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("%s: mended after %s, %d requests lost", harm.name, time.Since(begun).Round(time.Millisecond), lost)
		if lost > 0 && !harm.cuts {
			t.Errorf("%s: %d requests were lost", harm.name, lost)
		}
	}
	if now := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born {
		t.Errorf("PID 1 was started at %s, and is now one of %s", born, now)
	}
	s.ctl.ExpectNone("droplet.exited", 10*time.Millisecond)
}

// unlimitProcesses takes the limit off the node's only container.
func (s *stage) unlimitProcesses() error {
	for _, dir := range s.groups() {
		for _, file := range []string{dir + "/pids.max", dir + "/jobs/pids.max"} {
			if _, err := os.Stat(file); err == nil {
				return os.WriteFile(file, []byte("max"), 0)
			}
		}
	}
	return errors.New("no group has pids.max")
}

// Who can't be kept without what was taken is a crash, and its reason is in the
// node's log and in the application's own output.
func TestWhoCantBeKeptCrashesWithTheReason(t *testing.T) {
	s := newStage(t, `intervals { advertise = "1s" }`)
	offer := s.offer()
	for _, harm := range []struct {
		name, says string
		does       func()
	}{
		{"the socket is removed", "init.sock is gone", func() { os.Remove(s.folder() + "/init.sock") }},
		{"the folder is removed", "spec is gone", func() { os.RemoveAll(s.folder()) }},
		{"the cgroups are removed", "cgroups", func() { s.disband() }},
	} {
		app := s.running("web", nil)
		harm.does()
		expectEnd(t, s.crashed("web", repairMax), -1, "unknown")
		s.ctl.Expect("deacon.v1.logs.web.0", soon, func(seen rig.Seen) bool {
			text, _ := seen.Body["text"].(string)
			return strings.Contains(text, "can't be kept") && strings.Contains(text, harm.says)
		})
		if !strings.Contains(s.node.Log(), "somebody else took what a container can't be without") {
			t.Errorf("%s: the agent does not say it:\n%s", harm.name, s.node.Log())
		}
		app.refuses()
		s.atRest(offer)
	}
}

// disband moves everybody out of the container's groups, and removes those.
func (s *stage) disband() {
	s.t.Helper()
	for _, dir := range s.groups() {
		for _, group := range []string{dir + "/jobs", dir + "/init", dir} {
			content, err := os.ReadFile(group + "/cgroup.procs")
			if err != nil {
				continue
			}
			to := filepath.Join(filepath.Dir(dir), "init", "cgroup.procs") // the node's own, on v1
			if _, err := os.Stat(to); err != nil {
				to = "/sys/fs/cgroup/cgroup.procs"
			}
			for pid := range strings.Lines(string(content)) {
				if err := os.WriteFile(to, []byte(strings.TrimSpace(pid)), 0); err != nil {
					s.t.Fatal(err)
				}
			}
			if err := insist(5*time.Second, func() error { return syscall.Rmdir(group) }); err != nil {
				s.t.Fatalf("remove %s: %v", group, err)
			}
		}
	}
}

// insist tries until it succeeds, for as long as limit.
func insist(limit time.Duration, act func() error) (err error) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = act(); err == nil {
			return nil
		}
	}
	return err
}
