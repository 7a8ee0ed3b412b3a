package box

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) {
	if orders := os.Getenv(victimEnv); orders != "" {
		victim(orders)
	}
	rig.Main(m)
}

// machine is a node's worth of boxes: its state folder outlives the agents
// that are opened on it.
type machine struct {
	t      testing.TB
	config Config
	stack  string
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	state, err := os.MkdirTemp("", "deacon-box-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	stack, err := rootfs.HostStack(filepath.Join(state, "stacks"), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan := slot.Plan{Tag: slot.TagOf(state), Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000}
	m := &machine{t: t, stack: stack, config: Config{
		State: state, Init: rig.Binary(t, "deacon-init"), Plan: plan,
		Network: network.Config{Egress: network.Allow, Loopback: true,
			Denied: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}},
		Disk: disk.Config{PoolBytes: 512 << 20}, OutputMax: 1 << 20,
	}}
	t.Cleanup(func() {
		for _, left := range (rig.Traces{Tag: plan.Tag, State: state}).Leftovers() {
			t.Error("left behind:", left)
		}
	})
	return m
}

// open is an agent's start: what it recovers is returned.
func (m *machine) open() (*Box, []isolation.Spec) {
	m.t.Helper()
	b := m.successor()
	specs, err := b.Recover(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return b, specs
}

// successor is an agent that has recovered nothing yet.
func (m *machine) successor() *Box {
	m.t.Helper()
	b, err := Open(m.config)
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// end is an orderly end with nothing left running.
func (m *machine) end(b *Box) {
	m.t.Helper()
	entries, _ := os.ReadDir(b.containers)
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
		if err := b.Destroy(context.Background(), e.Name()); err != nil {
			m.t.Error(err)
		}
	}
	if err := b.Release(context.Background(), ids); err != nil {
		m.t.Error(err)
	}
	if err := b.Close(); err != nil {
		m.t.Error(err)
	}
	if err := b.Remove(); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) spec(number uint32, ports ...uint16) isolation.Spec {
	spec := isolation.Spec{
		ID: slot.NewID(rand.Reader), Slot: number, Epoch: 1, Owner: isolation.OwnerInstance, Created: time.Now(),
		Rootfs: isolation.Rootfs{Layers: []string{m.stack},
			Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}}},
		Limits: isolation.Limits{MemoryBytes: 64 << 20, CPUShares: 64, Pids: 64, DiskBytes: 32 << 20},
	}
	for _, p := range ports {
		spec.Network.Ports = append(spec.Network.Ports, isolation.PortMap{Host: p, Container: p})
	}
	return spec
}

// nothing fails the test where the node has anything but itself: no container,
// and nobody where inits live but the launcher. What goes by itself is given
// the time that it takes.
func (m *machine) nothing(b *Box) {
	m.t.Helper()
	var left []string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if left = m.left(b); len(left) == 0 {
			return
		}
	}
	m.t.Error("left:", left)
}

func (m *machine) left(b *Box) (left []string) {
	m.t.Helper()
	note := func(what string, names []string, err error) {
		if err != nil {
			m.t.Error(what, err)
		}
		for _, name := range names {
			left = append(left, what+" "+name)
		}
	}
	groups, err := b.cgroups.List()
	note("cgroup", groups, err)
	areas, err := b.disk.List()
	note("area", areas, err)
	links, err := b.network.Links()
	note("link", links, err)
	for _, dir := range []string{b.containers, b.trash} {
		entries, err := os.ReadDir(dir)
		note(dir, nil, err)
		for _, e := range entries {
			left = append(left, dir+" "+e.Name())
		}
	}
	pids, err := b.cgroups.Inits()
	note("inits", nil, err)
	for _, pid := range pids {
		if pid != b.launcher.PID() && pid != os.Getpid() {
			left = append(left, fmt.Sprint("process ", pid))
		}
	}
	return left
}

// shell is a job of vcap that runs a line of sh.
func shell(number uint32, line string) *isolation.Job {
	return &isolation.Job{
		Number: number, Argv: []string{"/bin/sh", "-c", line}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/vcap"},
		Dir: "/home/vcap", User: isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID}, Umask: 0o077, Files: 256, Procs: 64,
	}
}

func (b *Box) text(id string, job uint32, stream string) string {
	content, _ := os.ReadFile(filepath.Join(b.folder(id).job(job), stream))
	return string(content)
}

// ran creates a container for one line and returns its output when it ended.
func ran(t *testing.T, m *machine, line string) (isolation.Exit, string) {
	t.Helper()
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	if _, err := b.Create(t.Context(), spec, shell(1, line)); err != nil {
		t.Fatal(err)
	}
	exit, err := b.Wait(t.Context(), spec.ID, 1)
	if err != nil {
		t.Fatal(err)
	}
	return exit, b.text(spec.ID, 1, stdoutFile) + b.text(spec.ID, 1, stderrFile)
}
