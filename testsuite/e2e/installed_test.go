package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// What the package does at its removal: whoever takes deacon off a machine finds
// applications that run without an agent.
func TestShuttingDownTakesOverWhatRunsAndLeavesNothing(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	s.node.Kill()
	down := exec.Command(rig.Binary(t, "deacon"), "agent", "-c", s.node.Config(), "--shutdown")
	if out, err := down.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, left := range rig.TracesOf(t, filepath.Join(s.node.State, "s")).Leftovers() {
		t.Error("left behind:", left)
	}
	s.ctl.Expect("dea.shutdown", soon, rig.With("id", s.id))
}

// systemd waits with what comes after the node until that takes commands.
func TestSystemdIsToldWhenTheNodeIsReady(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	node := rig.StartNode(t, rig.Options{
		NATS: rig.StartNATS(t).URL, Config: sharedDisk, Env: []string{"NOTIFY_SOCKET=" + path},
	})
	buffer := make([]byte, 256)
	if err := socket.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	n, err := socket.Read(buffer)
	if err != nil || string(buffer[:n]) != "READY=1" {
		t.Errorf("told %q, %v", buffer[:n], err)
	}
	node.Signal(unix.SIGTERM)
	if code := node.WaitEnd(late); code != 0 {
		t.Errorf("ended with %d", code)
	}
}
