package real

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/testsuite/contract"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// machine is this one.
type machine struct {
	t     *testing.T
	box   *box.Box
	stack string
}

func (m machine) Kernel() contract.Kernel { return m.box }

func (m machine) Spec(number uint32) isolation.Spec {
	return isolation.Spec{
		ID: slot.NewID(rand.Reader), Slot: number, Epoch: 1, Owner: isolation.OwnerInstance, Created: time.Now(),
		Rootfs: isolation.Rootfs{Layers: []string{m.stack},
			Binds: []isolation.Bind{{Source: "/usr", Target: "/usr", ReadOnly: true}}},
		Limits: isolation.Limits{MemoryBytes: 64 << 20, CPUShares: 64, Pids: 64, DiskBytes: 32 << 20},
	}
}

// lines are the suite's jobs in the shell's words.
var lines = map[contract.Does]string{
	contract.Sleeps: "exec sleep 1000", contract.Stubborn: "trap '' TERM; while :; do sleep 1; done",
	contract.ExitsIn7: "exit 7", contract.Listens: fmt.Sprintf(`exec python3 -c 'import socket,time
s=socket.create_server(("0.0.0.0",%d)); time.sleep(1000)'`, contract.Port),
}

func (m machine) Job(number uint32, does contract.Does) isolation.Job {
	return isolation.Job{
		Number: number, Argv: []string{"/bin/sh", "-c", lines[does]}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/vcap"},
		Dir: "/home/vcap", User: isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID}, Umask: 0o077, Files: 256, Procs: 64,
	}
}

// KillInit kills PID 1 by the number that the box says it has, and waits until it
// is gone and the box has heard of it, which is a moment later.
func (m machine) KillInit(s isolation.Status) {
	m.t.Helper()
	pidfd, err := unix.PidfdOpen(s.InitPID, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil {
		m.t.Fatal(err)
	}
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ended, 10_000); n != 1 || err != nil {
		m.t.Fatalf("PID 1 doesn't end: %d, %v", n, err)
	}
	for begun := time.Now(); ; {
		_, err := m.box.Adopt(m.t.Context(), s.Spec.ID)
		if errors.Is(err, isolation.ErrGone) {
			return
		}
		if time.Since(begun) > 10*time.Second {
			m.t.Fatalf("the box doesn't hear of the end of PID 1: %v", err)
		}
	}
}

func TestTheRealMachineKeepsTheContract(t *testing.T) {
	contract.Suite(t, func(t *testing.T) contract.Machine { return open(t) })
}

func open(t *testing.T) machine {
	t.Helper()
	state, err := os.MkdirTemp("", "deacon-contract-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	stack, err := rootfs.HostStack(filepath.Join(state, "stacks"), nil)
	if err != nil {
		t.Fatal(err)
	}
	plan := slot.Plan{Tag: slot.TagOf(state), Pool: netip.MustParsePrefix("10.254.0.0/16"), UIDBase: 1_000_000}
	b, err := box.Open(box.Config{
		State: state, Init: rig.Binary(t, "deacon-init"), Plan: plan,
		Network: network.Config{Egress: network.Allow, Loopback: true}, Disk: disk.Config{PoolBytes: 512 << 20},
		OutputMax: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, b, rig.Traces{Tag: plan.Tag, State: state}) })
	return machine{t, b, stack}
}

// end takes down what a failed test left, and wants nothing else to be left.
func end(t *testing.T, b *box.Box, traces rig.Traces) {
	ctx := context.Background()
	specs, err := b.Containers(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, spec := range specs {
		if err := b.Destroy(ctx, spec.ID); err != nil {
			t.Error(err)
		}
		if err := b.Release(ctx, []string{spec.ID}); err != nil {
			t.Error(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Remove(); err != nil {
		t.Error(err)
	}
	for _, left := range traces.Leftovers() {
		t.Error("left behind:", left)
	}
}
