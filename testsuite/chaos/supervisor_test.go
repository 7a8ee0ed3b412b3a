package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// How long things may take on a busy machine of two cores.
const (
	soon = 20 * time.Second
	late = time.Minute
)

// supervisor keeps an agent running, as systemd would.
type supervisor struct {
	t      *testing.T
	state  string
	config string

	mu      sync.Mutex
	log     bytes.Buffer
	process *exec.Cmd
	starts  int
	over    bool
	ended   chan struct{} // closed when no agent is started any more
}

// restartPause lies between an agent's end and the next one's start.
const restartPause = 200 * time.Millisecond

// supervise runs a node until the test ends, on a file system of its own.
func supervise(t *testing.T, config string) *supervisor {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("deacon-chaos", folder, "tmpfs", 0, "size=1g,nr_inodes=40000,mode=0711"); err != nil {
		t.Fatal("mount a file system for the node:", err)
	}
	s := &supervisor{t: t, state: filepath.Join(folder, "s"), config: filepath.Join(folder, "config.hcl"),
		ended: make(chan struct{})}
	text := fmt.Sprintf("node {\n  state = %q\n  address = \"127.0.0.1\"\n}\n%s", s.state, config)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rig.Binary(t, "deacon-init")
	go s.run(rig.Binary(t, "deacon"))
	t.Cleanup(func() { s.end(folder) })
	s.await("node ready")
	return s
}

func (s *supervisor) run(program string) {
	defer close(s.ended)
	runtime.LockOSThread() // the agent's signal is sent when the thread ends that started it
	for {
		s.mu.Lock()
		if s.over {
			s.mu.Unlock()
			return
		}
		s.process = exec.Command(program, "agent", "-c", s.config)
		s.process.Stdout, s.process.Stderr = (*supervisorLog)(s), (*supervisorLog)(s)
		// A test run that is killed leaves nothing: the agent shuts down by itself.
		s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGINT}
		s.starts++
		err := s.process.Start()
		process := s.process
		s.mu.Unlock()
		if err != nil {
			s.t.Error("start the agent:", err)
			return
		}
		process.Wait()
		time.Sleep(restartPause) // a supervisor's own
	}
}

type supervisorLog supervisor

func (l *supervisorLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (s *supervisor) said(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.log.String(), text)
}

func (s *supervisor) await(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(soon); !s.said(text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the agent did not say %q:\n%s", text, s.log.String())
		}
	}
}

// end shuts the node down and looks what it left.
func (s *supervisor) end(folder string) {
	s.mu.Lock()
	s.over = true
	s.process.Process.Signal(unix.SIGCONT)
	s.process.Process.Signal(unix.SIGINT)
	s.mu.Unlock()
	select {
	case <-s.ended:
	case <-time.After(late):
		s.process.Process.Kill()
		<-s.ended
		s.t.Error("the agent did not end")
	}
	traces := rig.TracesOf(s.t, s.state)
	if code := s.process.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("the agent's last end was with %d", code)
	}
	if s.t.Failed() || os.Getenv("DEACON_CHAOS_LOG") != "" {
		s.keepLog()
	}
	if err := unix.Unmount(folder, 0); err != nil {
		s.t.Error("unmount the node's file system:", err)
		unix.Unmount(folder, unix.MNT_DETACH)
	}
	os.Remove(folder)
	for _, left := range traces.Leftovers() {
		s.t.Error("left behind:", left)
	}
}

// logMost is how much of the agents' log a failed test prints.
const logMost = 40 << 10

func (s *supervisor) keepLog() {
	text := s.log.String()
	if name := os.Getenv("DEACON_CHAOS_LOG"); name != "" {
		os.WriteFile(name, []byte(text), 0o644)
	}
	s.t.Logf("the log of %d agents ends with:\n%s", s.starts, text[max(0, len(text)-logMost):])
}
