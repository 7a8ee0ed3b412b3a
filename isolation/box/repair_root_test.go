package box

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// vandal does to a living container what somebody else on the machine might.
type vandal struct {
	t    *testing.T
	b    *Box
	spec isolation.Spec
}

func (v vandal) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v vandal) link() string { return v.b.config.Plan.Link(slotOf(v.spec)) }

func (v vandal) traces() rig.Traces {
	return rig.Traces{Tag: v.b.config.Plan.Tag, State: v.b.config.State}
}

// groups are the container's in every hierarchy.
func (v vandal) groups() (all []string) {
	v.t.Helper()
	name := slotOf(v.spec).String()
	for _, pattern := range []string{"/sys/fs/cgroup/*/*/" + name, "/sys/fs/cgroup/*/" + name} {
		found, err := filepath.Glob(pattern)
		v.must(err)
		for _, dir := range found {
			if strings.Contains(dir, v.b.config.Plan.Group()) {
				all = append(all, dir)
			}
		}
	}
	return all
}

// writes sets a limit of the container, by its name on v1 and on v2, where the group
// of the jobs has it and not the one above.
func (v vandal) writes(file, value string) error {
	v.t.Helper()
	for _, dir := range v.groups() {
		for _, path := range []string{filepath.Join(dir, "jobs", file), filepath.Join(dir, file)} {
			if _, err := os.Stat(path); err == nil {
				return os.WriteFile(path, []byte(value), 0)
			}
		}
	}
	return fmt.Errorf("no group has %s", file)
}

// audits audits until nothing is found any more, and returns what was.
func (v vandal) audits() (found []isolation.Finding) {
	v.t.Helper()
	quiet := 0
	for range 5 * readEvery {
		now, err := v.b.Audit(v.t.Context())
		v.must(err)
		if quiet++; len(now) > 0 {
			quiet = 0
		}
		if quiet == readEvery {
			return found
		}
		found = append(found, now...)
	}
	v.t.Errorf("there is no end of findings: %+v", found)
	return found
}

// harmDone is what is done to a container, and what is said of that.
type harmDone struct {
	name string
	does func() error
	says string
}

func (v vandal) toTheNetwork() []harmDone {
	return []harmDone{
		{"the table is deleted", v.traces().DeleteTable, "table is gone"},
		{"the table's rules are flushed", v.traces().FlushTable, "not as it was written"},
		{"a rule is put in", func() error { return v.traces().AddRule("input") }, "not as it was written"},
		{"everybody's ports are unmapped", func() error { return v.traces().EmptySet("ports") }, "mapping of port 61001"},
		{"nobody may send", func() error { return v.traces().EmptySet("tenants") }, "right to send"},
		{"defaults are forgotten", func() error { return v.traces().EmptySet("defaults") }, "traffic without a rule"},
		{"its egress rules are forgotten", func() error { return v.traces().EmptySet("egress") }, "way to its egress rules"},
		{"its egress rules are taken", func() error { return v.traces().FlushChain("out_" + v.link()) },
			"egress rules in out_" + v.link() + " are 0 and were 2"},
		{"the link is set down", func() error { return rig.SetLinkDown(v.link()) }, "is down"},
		{"the link loses its address", func() error { return rig.DropAddress(v.link()) }, "lost the address"},
		{"the link is deleted", func() error { return rig.DeleteLink(v.link()) }, "is gone"},
	}
}

func (v vandal) toTheLimits() []harmDone {
	v1 := v.b.cgroups.Name() == "v1"
	named := func(one, two string) string {
		if v1 {
			return one
		}
		return two
	}
	memory := func(value string) func() error {
		return func() error {
			if v1 {
				v.writes("memory.memsw.limit_in_bytes", "-1")
			}
			return v.writes(named("memory.limit_in_bytes", "memory.max"), value)
		}
	}
	return []harmDone{
		{"the limit on memory is raised", memory(strconv.Itoa(512 << 20)), "limit on memory is 536870912 and was 67108864"},
		{"the limit on memory is taken off", memory(named("-1", "max")), "limit on memory is none and was 67108864"},
		{"the cpu is divided otherwise",
			func() error { return v.writes(named("cpu.shares", "cpu.weight"), "5000") }, "cpu shares"},
		{"the limit on cpu time is taken off",
			func() error { return v.writes(named("cpu.cfs_quota_us", "cpu.max"), named("-1", "max")) },
			"limit on cpu time is none and was 500"},
		{"the limit on processes is raised", func() error { return v.writes("pids.max", "30000") },
			"processes is 30000 and was 64"},
	}
}

func (v vandal) toTheRecord() []harmDone {
	spec := filepath.Join(string(v.b.folder(v.spec.ID)), specRecord)
	return []harmDone{
		{"the record is deleted", func() error { return os.Remove(spec) }, "spec is gone"},
		{"the record is damaged", func() error { return os.Truncate(spec, 40) }, "spec is damaged"},
	}
}

func TestWhatSomebodyTakesIsGivenAgain(t *testing.T) {
	rig.NewOutside(t)
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec, neighbour := m.spec(0), m.spec(1)
	spec.Network.Ports = []isolation.PortMap{{Host: 61001, Container: 8080}}
	spec.Limits.CPUMillis = 500
	spec.Network.Default = "reject"
	m.serving(b, spec)
	if _, err := b.Create(t.Context(), neighbour, idler()); err != nil {
		t.Fatal(err)
	}
	// Given to it while it lives, they are what it is held to.
	web := isolation.EgressRule{Protocol: "tcp", First: rig.InternetAddress, Last: rig.InternetAddress}
	if err := b.Restrict(t.Context(), spec.ID, []isolation.EgressRule{web, web}); err != nil {
		t.Fatal(err)
	}
	v := vandal{t, b, spec}
	if found := v.audits(); len(found) != 0 {
		t.Fatalf("where nothing is amiss, it finds %+v", found)
	}
	for _, harm := range slices.Concat(v.toTheNetwork(), v.toTheLimits(), v.toTheRecord()) {
		v.must(harm.does())
		found := v.audits()
		if len(found) == 0 || !strings.Contains(found[0].What, harm.says) || found[0].Lost || found[0].Remedy == "" {
			t.Errorf("%s: it finds %+v, want %q", harm.name, found, harm.says)
		}
		for _, f := range found {
			if f.Container != "" && f.Container != spec.ID && harm.name != "nobody may send" {
				t.Errorf("%s: it says of another: %+v", harm.name, f)
			}
		}
		v.expectWhole(harm.name)
	}
}

// expectWhole wants the container to serve, within its limits and on record.
func (v vandal) expectWhole(after string) {
	v.t.Helper()
	for _, address := range []string{"127.0.0.1:61001", fmt.Sprint(rig.NodeAddress, ":61001")} {
		if got := says(address, 100_000); got != "hello" {
			v.t.Errorf("%s: after that, %s says %q", after, address, got)
		}
	}
	if limits, err := v.b.Limit(v.t.Context(), v.spec.ID, isolation.LimitChange{}); err != nil ||
		limits.MemoryBytes != v.spec.Limits.MemoryBytes || limits.Pids != v.spec.Limits.Pids || limits.CPUMillis != 500 {
		v.t.Errorf("%s: after that, its limits are %+v, %v", after, limits, err)
	}
	if recorded, err := v.b.folder(v.spec.ID).spec(); err != nil || recorded.Slot != v.spec.Slot {
		v.t.Errorf("%s: after that, its record is %+v, %v", after, recorded, err)
	}
}

// Without its groups, its socket or its folder a container can't be kept: it is
// ended, with the reason, and nothing of it is left.
func TestWhoCantBeGivenWhatWasTakenIsEnded(t *testing.T) {
	for name, harm := range map[string]struct {
		does func(v vandal)
		says string
	}{
		"socket": {func(v vandal) { v.must(os.Remove(v.b.folder(v.spec.ID).socket())) }, "init.sock is gone"},
		"folder": {func(v vandal) { v.must(os.RemoveAll(string(v.b.folder(v.spec.ID)))) }, "spec is gone"},
		"groups": {func(v vandal) { v.disband() }, "cgroups"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			b, _ := m.open()
			defer m.end(b)
			spec := m.spec(0, 61001)
			if _, err := b.Create(t.Context(), spec, idler()); err != nil {
				t.Fatal(err)
			}
			v := vandal{t, b, spec}
			harm.does(v)
			found := v.audits()
			if len(found) != 1 || !found[0].Lost || found[0].Container != spec.ID || !strings.Contains(found[0].What, harm.says) {
				t.Errorf("it finds %+v, want %q", found, harm.says)
			}
			if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || !exit.Lost && exit.Signal == 0 {
				t.Errorf("its job ended as %+v, %v", exit, err)
			}
			if err := b.Destroy(t.Context(), spec.ID); err != nil {
				t.Error(err)
			}
			if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
				t.Error(err)
			}
			m.nothing(b)
		})
	}
}

// disband moves everybody out of the container's groups and removes those.
func (v vandal) disband() {
	v.t.Helper()
	for _, dir := range v.groups() {
		for _, group := range []string{filepath.Join(dir, "jobs"), filepath.Join(dir, "init"), dir} {
			content, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
			if err != nil {
				continue
			}
			// To the node's own inits on v1; where there are none, to the top.
			to := filepath.Join(filepath.Dir(dir), "init", "cgroup.procs")
			if _, err := os.Stat(to); err != nil {
				to = "/sys/fs/cgroup/cgroup.procs"
			}
			for pid := range strings.Lines(string(content)) {
				v.must(os.WriteFile(to, []byte(strings.TrimSpace(pid)), 0))
			}
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
				err := os.Remove(group)
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					v.t.Fatal(err)
				}
			}
		}
	}
}

// A container that is destroyed is found again by what is known of it by heart,
// where its record was taken.
func TestWhoHasNoRecordIsDestroyedAllTheSame(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0, 61001)
	if _, err := b.Create(t.Context(), spec, idler()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(string(b.folder(spec.ID))); err != nil {
		t.Fatal(err)
	}
	if err := b.Destroy(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
	if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
		t.Error(err)
	}
	m.nothing(b)
}

// Audits go on while containers come and go, change and are asked: none is ever
// found to lack what it has.
func TestAnAuditTakesNoChangeForHarm(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	over, audited := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-over:
				audited <- n
				return
			default:
			}
			if found, err := b.Audit(t.Context()); err != nil || len(found) != 0 {
				t.Errorf("it finds %+v, %v", found, err)
			}
			n++
		}
	}()
	for i := range uint32(25) {
		spec := m.spec(i%4, 61001)
		spec.Epoch = i + 1
		if _, err := b.Create(t.Context(), spec, idler()); err != nil {
			t.Fatal(err)
		}
		for n := range uint16(3) {
			v := vandal{t, b, spec}
			v.must(b.Map(t.Context(), spec.ID, isolation.PortMap{Host: 61010 + n, Container: 80}))
			_, err := b.Limit(t.Context(), spec.ID, isolation.LimitChange{MemoryBytes: ptr(int64(32+n) << 20)})
			v.must(err)
		}
		if err := b.Destroy(t.Context(), spec.ID); err != nil {
			t.Fatal(err)
		}
		if err := b.Release(t.Context(), []string{spec.ID}); err != nil {
			t.Fatal(err)
		}
	}
	close(over)
	t.Log(<-audited, "audits")
}

// What an audit costs where nothing is amiss, with 200 containers; and where
// somebody changes the machine's rules all the time.
func BenchmarkAudit(b *testing.B) {
	m := newMachine(b)
	box, _ := m.open()
	defer m.end(box)
	for i := range uint32(200) {
		if _, err := box.Create(b.Context(), m.spec(i, 61001+uint16(i)), idler()); err != nil {
			b.Fatal(err)
		}
	}
	audit := func(b *testing.B) {
		if found, err := box.Audit(b.Context()); err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
	}
	b.Run("quiet", func(b *testing.B) {
		for b.Loop() {
			audit(b)
		}
	})
	b.Run("changing", func(b *testing.B) {
		other := rig.Traces{Tag: "nobod"}
		for b.Loop() {
			if err := other.MakeTable(); err != nil {
				b.Fatal(err)
			}
			if err := other.DeleteTable(); err != nil {
				b.Fatal(err)
			}
			audit(b)
		}
	})
}
