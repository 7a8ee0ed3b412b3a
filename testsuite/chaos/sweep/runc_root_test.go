package sweep

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

var runcFlag = flag.Int("sweep.runc", 0, "how many times runc is killed for comparison; 0: not at all")

// waitingEnv has a process of this binary wait for a line and become the program
// that the variable names: so it can be traced from its first step.
const waitingEnv = "DEACON_SWEEP_BECOME"

func become(encoded string) error {
	var argv []string
	if err := json.Unmarshal([]byte(encoded), &argv); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, argv, os.Environ())
}

// runc is what many others stand on, with a bundle that needs nothing.
type runc struct {
	t      *testing.T
	folder string
	group  string // of all its containers
	spec   map[string]any
	tracer *tracerPart
}

func newRunc(t *testing.T) *runc {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-sweep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	r := &runc{t: t, folder: folder, group: fmt.Sprintf("deacon-runc%d", os.Getpid()), tracer: startTracer(t)}
	// Whom runc leaves behind comes to us.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
	program, err := os.ReadFile(rig.Binary(t, "deacon-init"))
	root := filepath.Join(folder, "rootfs")
	for _, dir := range []string{"proc", "dev", "sys"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(root, "init"), program, 0o755))
	if err == nil {
		err = exec.Command("runc", "spec", "--bundle", folder).Run()
	}
	var content []byte
	if err == nil {
		content, err = os.ReadFile(filepath.Join(folder, "config.json"))
	}
	if err == nil {
		err = json.Unmarshal(content, &r.spec)
	}
	if err != nil {
		t.Fatal("sweep: prepare runc: ", err)
	}
	t.Cleanup(func() { r.sweep("") })
	return r
}

// bundle is one container's.
func (r *runc) bundle(id string) string {
	process, linux := r.spec["process"].(map[string]any), r.spec["linux"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"/init"}
	r.spec["root"] = map[string]any{"path": filepath.Join(r.folder, "rootfs"), "readonly": true}
	linux["cgroupsPath"] = "/" + r.group + "/" + id
	var mounts []any // one of cgroups is as many as there are hierarchies
	for _, mount := range r.spec["mounts"].([]any) {
		if mount.(map[string]any)["type"] != "cgroup" {
			mounts = append(mounts, mount)
		}
	}
	r.spec["mounts"] = mounts
	content, err := json.Marshal(r.spec)
	folder := filepath.Join(r.folder, id)
	err = errors.Join(err, os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "config.json"), content, 0o600))
	if err != nil {
		r.t.Fatal(err)
	}
	return folder
}

func (r *runc) state() string { return filepath.Join(r.folder, "state") }

// kill has `runc create` killed at a step, has `runc delete -f` clean up, and
// says what is left.
func (r *runc) kill(id string, target Target) (Traced, []string) {
	argv, _ := json.Marshal([]string{"runc", "--root", r.state(), "create", "--bundle", r.bundle(id), id})
	create := exec.Command("/proc/self/exe")
	create.Env = append(os.Environ(), waitingEnv+"="+string(argv))
	start, err := create.StdinPipe()
	if err == nil {
		err = create.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	target.Role, target.PID = "runc", create.Process.Pid
	if err := r.tracer.trace([]Target{target}); err != nil {
		r.t.Fatal(err)
	}
	start.Write([]byte("\n"))
	start.Close()
	create.Wait()
	traced, err := r.tracer.traced()
	if err != nil {
		r.t.Fatal(err)
	}
	for range 2 { // once more, for whoever would
		exec.Command("runc", "--root", r.state(), "delete", "-f", id).Run()
	}
	return traced[0], r.sweep(id)
}

// sweep lists what is left of a container, and takes it away.
func (r *runc) sweep(id string) (left []string) {
	for _, child := range childrenOf(os.Getpid()) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
		if child == r.tracer.pid() || !strings.HasPrefix(string(name), "runc") && !strings.HasPrefix(string(name), "init") {
			continue
		}
		var status unix.WaitStatus
		if pid, _ := unix.Wait4(child, &status, unix.WNOHANG, nil); pid == child {
			continue // dead already
		}
		left = append(left, "process "+strings.TrimSpace(string(name)))
		unix.Kill(child, unix.SIGKILL)
		unix.Wait4(child, &status, 0, nil)
	}
	groups, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup/*", r.group, id))
	for _, group := range groups {
		left = append(left, "cgroup "+group)
		pids, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		for field := range strings.FieldsSeq(string(pids)) {
			pid, _ := strconv.Atoi(field)
			unix.Kill(pid, unix.SIGKILL)
		}
		for range 1000 {
			if os.Remove(group) == nil {
				break
			}
		}
	}
	if _, err := os.Stat(filepath.Join(r.state(), id)); err == nil && id != "" {
		left = append(left, "state "+id)
		os.RemoveAll(filepath.Join(r.state(), id))
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); id != "" && strings.Contains(line, r.folder) {
			left = append(left, "mount "+fields[4])
			unix.Unmount(fields[4], unix.MNT_DETACH)
		}
	}
	return left
}

// TestRuncIsTheBaseline prints how the same kills leave the runtime that others
// stand on. It proves nothing of ours, so it runs only where it is asked for.
func TestRuncIsTheBaseline(t *testing.T) {
	if *runcFlag == 0 {
		return
	}
	r := newRunc(t)
	traced, left := r.kill("whole", Target{})
	if traced.Steps == 0 || len(left) > 0 {
		t.Fatalf("a run without a kill had %d steps and left %q", traced.Steps, left)
	}
	sum, kinds := row{op: "runc create", role: "runc", steps: traced.Steps}, map[string]int{}
	for i := range *runcFlag {
		target := Target{N: 1 + i*traced.Steps / *runcFlag, After: i%2 == 1}
		killed, left := r.kill(fmt.Sprintf("c%d", i), target)
		if killed.Killed == "" {
			continue
		}
		sum.kills++
		if len(left) > 0 {
			sum.residue++
		}
		seen := map[string]bool{}
		for _, thing := range left {
			kind, _, _ := strings.Cut(thing, " ")
			if !seen[kind] {
				kinds[kind]++
			}
			seen[kind] = true
		}
	}
	version, _ := exec.Command("runc", "--version").Output()
	first, _, _ := strings.Cut(string(version), "\n")
	text, _ := table([]*row{&sum})
	t.Logf("%s, killed and then deleted twice with -f: %d %% of the kills left something: %v\n%s",
		first, 100*sum.residue/max(sum.kills, 1), kinds, text)
}
