package sweep

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// litter is one kind of residue: left makes some and says how to take it away.
type litter struct {
	kind string // how the oracle's word for it begins
	left func(t *testing.T, m *machine) (gone func())
}

var litters = []litter{
	{"cgroup", func(t *testing.T, m *machine) func() {
		group := m.group(t)
		return func() { must(t, os.Remove(group)) }
	}},
	{"process", func(t *testing.T, m *machine) func() {
		group, sleeper := m.group(t), exec.Command("sleep", "600")
		must(t, sleeper.Start(), os.WriteFile(filepath.Join(group, "cgroup.procs"), pidText(sleeper), 0o600))
		return func() {
			must(t, sleeper.Process.Kill())
			sleeper.Wait()
			must(t, os.Remove(group))
		}
	}},
	{"process", func(t *testing.T, m *machine) func() { // in none of our groups, and one of our accounts
		sleeper := exec.Command("sleep", "600")
		uid := m.config.Plan.UIDBase + 7
		sleeper.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		must(t, sleeper.Start())
		return func() {
			must(t, sleeper.Process.Kill())
			sleeper.Wait()
		}
	}},
	{"namespace", func(t *testing.T, m *machine) func() { // held by a descriptor of the agent's
		_, _, err := m.do(request{Do: "hold"})
		must(t, err)
		return func() {
			_, _, err := m.do(request{Do: "let"})
			must(t, err)
		}
	}},
	{"mount", func(t *testing.T, m *machine) func() {
		must(t, unix.Mount("left", filepath.Join(m.config.State, "cargo"), "tmpfs", 0, ""))
		return func() { must(t, unix.Unmount(filepath.Join(m.config.State, "cargo"), 0)) }
	}},
	{"link", visitedContainer},
	{"element ports", visitedContainer},
	{"connection", visitedContainer},
	{"element resting", func(t *testing.T, m *machine) func() { // a port that is kept from others
		element := func(act string) error {
			return exec.Command("nft", act, "element", "inet", "deacon_"+m.traces.Tag, "resting", "{ 64206 }").Run()
		}
		must(t, element("add"))
		return func() { must(t, element("delete")) }
	}},
	{"loop device", func(t *testing.T, m *machine) func() {
		image := filepath.Join(m.config.State, "disk", "left")
		must(t, os.WriteFile(image, make([]byte, 1<<20), 0o600))
		device, err := exec.Command("losetup", "--find", "--show", image).Output()
		must(t, err)
		return func() {
			must(t, exec.Command("losetup", "--detach", strings.TrimSpace(string(device))).Run(), os.Remove(image))
		}
	}},
	{"file", func(t *testing.T, m *machine) func() {
		folder := filepath.Join(m.config.State, "containers", "left")
		must(t, os.Mkdir(folder, 0o700))
		return func() { must(t, os.Remove(folder)) }
	}},
	{"area", func(t *testing.T, m *machine) func() {
		pool := m.pool(t)
		must(t, os.Mkdir(filepath.Join(pool, "left"), 0o700))
		return func() { must(t, os.Remove(filepath.Join(pool, "left"))) }
	}},
}

// visitedContainer is one that nobody took down: it has a network of its own, and
// the kernel remembers who asked it for something.
func visitedContainer(t *testing.T, m *machine) func() {
	m.mustDo(request{Do: "set", Op: "destroy", Count: 3})
	return func() { m.mustDo(request{Do: "clear"}) }
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// group makes one more cgroup of the node's.
func (m *machine) group(t *testing.T) string {
	t.Helper()
	tops, _ := filepath.Glob("/sys/fs/cgroup/pids/deacon-" + m.traces.Tag)
	if len(tops) == 0 {
		tops = []string{"/sys/fs/cgroup/deacon-" + m.traces.Tag}
	}
	group := filepath.Join(tops[0], "left")
	must(t, os.Mkdir(group, 0o755))
	return group
}

// pool is the agent's disk pool, which only its descriptors lead to.
func (m *machine) pool(t *testing.T) string {
	t.Helper()
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.node.pid()))
	for _, descriptor := range descriptors {
		var system unix.Statfs_t
		info, err := os.Stat(descriptor)
		if err == nil && info.IsDir() && unix.Statfs(descriptor, &system) == nil && system.Type == unix.BTRFS_SUPER_MAGIC {
			return descriptor
		}
	}
	t.Fatal("the agent has no pool open")
	return ""
}

func pidText(process *exec.Cmd) []byte { return fmt.Append(nil, process.Process.Pid) }

// An oracle that can't fail proves nothing: each kind of residue is found, and
// gone when it is taken away.
func TestTheLeakOracleFindsEveryKindOfResidue(t *testing.T) {
	m := newMachine(t, 0)
	for _, l := range litters {
		gone := l.left(t, m)
		found := slices.DeleteFunc(m.inventory(), func(thing string) bool { return slices.Contains(m.idle, thing) })
		gone()
		if !slices.ContainsFunc(found, func(thing string) bool { return strings.HasPrefix(thing, l.kind) }) {
			t.Errorf("a %s was left, and found is %q", l.kind, found)
		}
		if left := m.beyond(); len(left) > 0 {
			t.Errorf("the %s was taken away, and %q is there", l.kind, left)
		}
	}
}

// lies are facts that no container that serves bears out.
func lies(id string, port uint16) []fact {
	return []fact{
		{What: wrote, ID: id, Job: 1, Text: "something else\n"},
		{What: started, ID: id, Job: 9},
		{What: stopped, ID: id},
		{What: forgotten, ID: id, Job: 9},
		{What: limited, ID: id, Bytes: 1 << 20},
		{What: mapped, ID: id, Port: port + 1},
		{What: allowed, ID: id, Text: "192.0.2.9"},
		{What: shaped, ID: id, Bytes: 1},
		{What: noted, ID: id, Text: `"never"`},
		{What: copiedIn, ID: id, Text: "/home/vcap/nowhere"},
		{What: copiedOut, ID: id, Text: "/nowhere"},
		{What: destroyed, ID: id},
		{What: released, ID: id},
	}
}

func TestTheTruthOracleFindsEveryLie(t *testing.T) {
	m := newMachine(t, 0)
	facts, _ := m.mustDo(request{Do: "set", Op: "map", Count: 1})
	if _, last := m.mustDo(request{Do: "check", Facts: facts, Count: 1}); len(last.Wrong) > 0 {
		t.Fatalf("the truth is said to be wrong: %q", last.Wrong)
	}
	id := idOf(1, 0)
	told := append(lies(id, m.ports), fact{What: created, ID: idOf(2, 0)})
	for _, lie := range told {
		short := request{Do: "check", Facts: append(slices.Clone(facts), lie), Count: 1}
		if _, last, err := m.do(short); err == nil && len(last.Wrong) == 0 {
			t.Errorf("it is believed that %s was %s", lie.ID, lie.What)
		}
	}
	ends, _ := m.mustDo(request{Do: "set", Op: "forget", Count: 2})
	for _, said := range ends {
		if said.What == ended {
			code, text := said, said
			code.Exit = &isolation.Exit{Code: said.Exit.Code + 1}
			text.Text += "and more\n"
			for _, lie := range []fact{code, text} {
				_, last := m.mustDo(request{Do: "check", Facts: append(slices.Clone(ends), lie), Count: 2})
				if len(last.Wrong) == 0 {
					t.Errorf("it is believed that job %d ended with %+v, %q", lie.Job, *lie.Exit, lie.Text)
				}
			}
		}
	}
	// And a death that nobody is to have caused.
	m.mustDo(request{Do: "kill"})
	for deadline := time.Now().Add(goneMax); ; {
		if _, last := m.mustDo(request{Do: "check", Facts: ends, Count: 2}); len(last.Wrong) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a container whose PID 1 was killed is believed to live")
		}
	}
}
