package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/isolation/slot"
)

// Limits of waiting. They are for a busy machine of two cores; a test that
// needs them has failed.
const (
	readyMax = 20 * time.Second
	endMax   = 60 * time.Second // btrfs may hold up a killed one for 30 s
)

// Options shape a node under test. Config is HCL that is appended to the rig's
// own: a block named in both would be an error, so Config must not repeat
// node, nats or network.pool.
type Options struct {
	NATS    string // URL; empty: the rig's own server
	NATSHCL string // more lines of the nats block
	NodeHCL string // more lines of the node block
	Config  string // further blocks
	Env     []string
	State   string // empty: a fresh folder
	Program string // of the agent; empty: this tree's
}

// Node is a real agent in a process of its own, and the state folder that its
// successors share.
type Node struct {
	t       testing.TB
	State   string
	config  string
	program string
	env     []string
	mu      sync.Mutex
	process *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
}

// StartNode runs an agent until the test ends. Whatever then still stands is
// shut down, and the test fails if anything of it is left in the kernel.
func StartNode(t testing.TB, o Options) *Node {
	t.Helper()
	n := &Node{t: t, State: o.State, program: Binary(t, "deacon"), env: o.Env}
	if o.Program != "" {
		n.program = o.Program
	}
	Binary(t, "deacon-init") // beside it, where the agent looks
	if n.State == "" {
		n.State = shortTemp(t)
	}
	n.config = filepath.Join(n.State, "config.hcl")
	if err := os.WriteFile(n.config, []byte(configuration(n.State, o)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.cleanup)
	n.Start()
	return n
}

func configuration(state string, o Options) string {
	return fmt.Sprintf(`node {
  state   = %q
  address = "127.0.0.1"
  %s
}
nats {
  servers = [%q]
  %s
}
%s
`, filepath.Join(state, "s"), o.NodeHCL, o.NATS, o.NATSHCL, o.Config)
}

// shortTemp makes a folder whose path leaves room for a socket's name; the
// test's own temporary folder repeats the test's long name.
func shortTemp(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error("rig: the state folder can't be removed:", err)
		}
	})
	return folder
}

// Start runs an agent on the node's state folder and returns when it is ready.
func (n *Node) Start() {
	n.t.Helper()
	n.Launch()
	n.WaitLog("node ready", readyMax)
}

// Replace has the next agent be another program, as an upgrade does.
func (n *Node) Replace(program string) { n.program = program }

// Launch runs an agent and does not wait for it.
func (n *Node) Launch() {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log.Reset()
	n.process = exec.Command(n.program, "agent", "-c", n.config)
	n.process.Env = append(os.Environ(), n.env...)
	n.process.Stdout = (*logWriter)(n)
	n.process.Stderr = (*logWriter)(n)
	if err := n.process.Start(); err != nil {
		n.t.Fatal("rig: start the agent:", err)
	}
	n.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		p.Wait()
		close(ended)
	}(n.process, n.ended)
}

type logWriter Node

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// Log is what the agent has said since it was started.
func (n *Node) Log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// WaitLog waits until the agent's log has text.
func (n *Node) WaitLog(text string, limit time.Duration) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	for !strings.Contains(n.Log(), text) {
		select {
		case <-n.ended:
			n.t.Fatalf("rig: the agent ended before it said %q:\n%s", text, n.Log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("rig: the agent did not say %q in %s:\n%s", text, limit, n.Log())
		}
	}
}

// Signal sends the agent a signal.
func (n *Node) Signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatal("rig: signal the agent:", err)
	}
}

// WaitEnd waits until the agent has ended and returns its exit code, -1 for a signal.
func (n *Node) WaitEnd(limit time.Duration) int {
	n.t.Helper()
	select {
	case <-n.ended:
		return n.process.ProcessState.ExitCode()
	case <-time.After(limit):
		n.process.Process.Signal(unix.SIGABRT) // the goroutines are worth more than the process
		<-n.ended
		n.t.Fatalf("rig: the agent did not end in %s:\n%s", limit, n.Log())
		return -1
	}
}

// Kill ends the agent as a crash would.
func (n *Node) Kill() {
	n.t.Helper()
	n.Signal(unix.SIGKILL)
	n.WaitEnd(endMax)
}

// Detach ends the agent and leaves its applications running.
func (n *Node) Detach() {
	n.t.Helper()
	n.Signal(unix.SIGTERM)
	if code := n.WaitEnd(endMax); code != 0 {
		n.t.Fatalf("rig: detaching ended with %d:\n%s", code, n.Log())
	}
}

// Shutdown ends the agent and everything that it runs.
func (n *Node) Shutdown() {
	n.t.Helper()
	n.Signal(unix.SIGINT)
	if code := n.WaitEnd(endMax); code != 0 {
		n.t.Fatalf("rig: shutting down ended with %d:\n%s", code, n.Log())
	}
}

// Config is the path of the node's configuration file.
func (n *Node) Config() string { return n.config }

// PID is the agent's process.
func (n *Node) PID() int { return n.process.Process.Pid }

func (n *Node) running() bool {
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// cleanup shuts the node down the way its operator would; a node that was
// left dead is started once more, because cleaning up is recovery's work.
func (n *Node) cleanup() {
	if n.t.Failed() {
		n.t.Logf("the agent's log:\n%s", n.Log())
	}
	if !n.running() {
		n.Launch()
		n.WaitLog("node ready", readyMax)
	}
	n.Signal(unix.SIGINT)
	if code := n.WaitEnd(endMax); code != 0 {
		n.t.Errorf("rig: the node's last end was with %d:\n%s", code, n.Log())
	}
	for _, left := range TracesOf(n.t, filepath.Join(n.State, "s")).Leftovers() {
		n.t.Error("rig: left behind:", left)
	}
}

// TracesOf are what the node with this state folder would leave.
func TracesOf(t testing.TB, state string) Traces {
	t.Helper()
	var identity struct{ ID string }
	if err := record.Load(state, "node", &identity); err != nil {
		t.Error("rig: who was the node:", err)
	}
	return Traces{Tag: slot.TagOf(identity.ID), State: state}
}
