package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/journal"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// reboot does to a node what the machine's restart would: nothing of the kernel's
// is left, and the state folder is as it was, of a boot of another name.
func reboot(t *testing.T, node *rig.Node) {
	t.Helper()
	node.Kill()
	traces := rig.TracesOf(t, filepath.Join(node.State, "s"))
	for _, pid := range initsOf(traces, "") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	// Namespaces, and with them links and mounts, follow their last process.
	if err := insist(5*time.Second, func() error { return removeGroups(traces.Tag) }); err != nil {
		t.Fatal(err)
	}
	if err := traces.DeleteTable(); err != nil {
		t.Fatal(err)
	}
	if left := traces.Leftovers(); len(left) > 0 {
		t.Fatalf("a reboot would not have left %q", left)
	}
	if err := ofAnEarlierBoot(filepath.Join(node.State, "s", "instances.journal")); err != nil {
		t.Fatal(err)
	}
}

// ofAnEarlierBoot changes the name of the boot that records are of: the
// machine's own can't be changed, and one that something is mounted over has
// the kernel refuse a container its /proc.
func ofAnEarlierBoot(path string) error {
	kept, values, _, err := journal.Open(path)
	if err != nil {
		return err
	}
	var changes []journal.Change
	for name, value := range values {
		var r map[string]any
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		r["boot_id"] = "00000000-0000-4000-8000-000000000000"
		if value, err = json.Marshal(r); err != nil {
			return err
		}
		changes = append(changes, journal.Change{Name: name, Value: value})
	}
	return errors.Join(kept.Rewrite(changes), kept.Close())
}

// initsOf are a node's deacon-inits by mode; an empty one is all of them.
func initsOf(traces rig.Traces, mode string) (pids []int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, _ := os.ReadFile(file)
		groups, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if strings.Contains(string(line), "\x00"+mode) && strings.Contains(string(groups), "/deacon-"+traces.Tag) {
			var pid int
			fmt.Sscan(filepath.Base(filepath.Dir(file)), &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// removeGroups removes a node's cgroups, innermost first.
func removeGroups(tag string) error {
	for _, pattern := range []string{"/sys/fs/cgroup/*/deacon-" + tag, "/sys/fs/cgroup/deacon-" + tag} {
		tops, _ := filepath.Glob(pattern)
		for _, top := range tops {
			var all []string
			filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					all = append(all, path)
				}
				return nil
			})
			for _, dir := range slices.Backward(all) {
				if err := syscall.Rmdir(dir); err != nil {
					return fmt.Errorf("remove %s: %w", dir, err)
				}
			}
		}
	}
	return nil
}

// What should run is started again, what crashed is as it was, and of the former
// containers nothing is left.
func TestAfterARebootWhatShouldRunIsStartedAgain(t *testing.T) {
	s := newStage(t, `intervals { advertise = "1s" }`)
	offer := s.offer()
	app := s.running("web", nil)
	s.running("dies", nil).try("/exit", "code", "7")
	s.crashed("dies", soon)
	if err := insist(soon, func() error { // what is told is on disk some milliseconds later
		if last := s.recorded("dies", "CRASHED"); strings.Contains(last, `"untold":true`) {
			return errors.New("it is not on record that the crash was told: " + last)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	app.ask("/write", "path", "/home/vcap/app/of-before", "mib", "1")
	before := s.containers()
	reboot(t, s.node)
	s.successor()
	again := s.registered("web")
	if body := again.ask("/"); body != "hello from 0\n" {
		t.Errorf("it answers %q", body)
	}
	if said := again.ask("/read", "path", "/home/vcap/app/of-before"); !strings.HasPrefix(said, "failed") {
		t.Error("what was written before the reboot is still there: it did not begin with its droplet")
	}
	s.ctl.ExpectNone("droplet.exited", 100*time.Millisecond)
	s.ctl.Expect("dea.heartbeat", soon, has("droplets", "CRASHED"), has("droplets", "RUNNING"))
	if !strings.Contains(s.node.Log(), "the machine was restarted; an instance begins anew") {
		t.Errorf("the agent does not say that it starts it again:\n%s", s.node.Log())
	}
	if err := insist(soon, func() error {
		if now := s.containers(); len(now) != 1 || slices.Contains(before, now[0]) {
			return fmt.Errorf("containers are %q, were %q", now, before)
		}
		return nil
	}); err != nil {
		t.Error("ghosts:", err)
	}
	s.stop("web")
	s.atRest(offer)
}

// containers are those that have a folder.
func (s *stage) containers() (names []string) {
	entries, _ := os.ReadDir(filepath.Join(s.node.State, "s", "containers"))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Told of as crashed, once, and not started: whoever placed it decides.
func TestAfterARebootWhatRanIsReportedWhereTheConfigurationSaysSo(t *testing.T) {
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, NodeHCL: `on_reboot = "report"`,
		Config: sharedDisk + `intervals { advertise = "1s" }`})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	offer := s.offer()
	s.running("web", nil)
	reboot(t, s.node)
	s.successor()
	expectEnd(t, s.crashed("web", soon), -1, "unknown")
	s.ctl.Expect("dea.heartbeat", soon, has("droplets", "CRASHED"))
	s.ctl.ExpectNone("router.register", 200*time.Millisecond)
	if err := insist(soon, func() error {
		if now := s.containers(); len(now) != 0 {
			return fmt.Errorf("containers are %q", now)
		}
		return nil
	}); err != nil {
		t.Error("ghosts:", err)
	}
	s.atRest(offer)
	s.node.Detach()
	s.successor()
	s.ctl.ExpectNone("droplet.exited", 300*time.Millisecond) // it was told already
}

// Warden's clients find their containers stopped, with the event that says why,
// and can do nothing with them but look and destroy.
func TestAfterARebootWardensContainersAreReportedLost(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.spawn(handle, "sleep 300")
	ended := w.spawn(handle, "exit 7")
	if err := insist(soon, func() error {
		records, _ := filepath.Glob(filepath.Join(w.node.State, "s", "containers", "*", "jobs", fmt.Sprint(ended), "exit"))
		for _, name := range records {
			if content, _ := os.ReadFile(name); len(content) > 0 {
				return nil
			}
		}
		return errors.New("the end of a job is not on record")
	}); err != nil {
		t.Fatal(err)
	}
	reboot(t, w.node)
	w.again()
	if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, []string{handle}) {
		t.Errorf("listed are %q, %v", listed, err)
	}
	info := w.info(handle)
	if info.GetState() != "stopped" || !strings.Contains(strings.Join(info.GetEvents(), ","), "init died") {
		t.Errorf("it is %s with the events %q", info.GetState(), info.GetEvents())
	}
	if r, err := w.c.Link(w.ctx(), handle, job); err != nil || r.GetExitStatus() != 255 {
		t.Errorf("the job that ran: %v, %v; want 255", r, err)
	}
	if r, err := w.c.Link(w.ctx(), handle, ended); err != nil || r.GetExitStatus() != 7 {
		t.Errorf("the job that had ended: %v, %v", r, err)
	}
	script := "true"
	if _, err := w.c.Run(w.ctx(), &protocol.RunRequest{Handle: &handle, Script: &script}); err == nil {
		t.Error("a job runs in a container that is lost")
	}
	w.destroy(handle)
	if listed, err := w.c.List(w.ctx()); err != nil || len(listed) != 0 {
		t.Errorf("listed are %q, %v", listed, err)
	}
}
