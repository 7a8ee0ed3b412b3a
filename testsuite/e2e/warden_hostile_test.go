package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden"
	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// grace is what a stop gives jobs, and margin what a deaf PID 1 may cost beside it.
const (
	grace  = 3 * time.Second
	margin = 5 * time.Second
)

// shortGrace ends the door's block and begins another.
const shortGrace = "}\ninstance {\n stop_grace = \"3s\""

// initOf is a container's PID 1 as the node counts: the only one of its pid
// namespace that is 1 inside. A job that has ended by then says which that is.
func (w *wardens) initOf(c *wardenclient.Client, handle string) int {
	w.t.Helper()
	said, err := c.Run(w.ctx(), &protocol.RunRequest{Handle: &handle, Script: proto.String("readlink /proc/self/ns/pid")})
	if err != nil {
		w.t.Fatal(err)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		namespace, _ := os.Readlink(process + "/ns/pid")
		if namespace != strings.TrimSpace(said.GetStdout()) {
			continue
		}
		status, _ := os.ReadFile(process + "/status")
		for line := range strings.Lines(string(status)) {
			if numbers := strings.Fields(line); numbers[0] == "NSpid:" && numbers[len(numbers)-1] == "1" {
				pid, _ := strconv.Atoi(filepath.Base(process))
				return pid
			}
		}
	}
	w.t.Fatalf("nobody is PID 1 of %q", said.GetStdout())
	return 0
}

// gone wants a process to end, or to have ended.
func (w *wardens) dead(pid int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the end of %d", pid), func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
}

// folders are those that containers have on the node.
func (w *wardens) folders() (names []string) {
	entries, err := os.ReadDir(filepath.Join(w.node.State, "s", "containers"))
	if err != nil {
		w.t.Error(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// Whoever is root on the node does as he likes with a PID 1, and whoever is a
// client doesn't read: each harms one container, or one connection. They take
// their time together.
func TestWhatIsDoneToOneHarmsNobodyElse(t *testing.T) {
	w := newWardens(t, shortGrace)
	w.create() // nobody does anything to it
	var group sync.WaitGroup
	each := func(act func(c *wardenclient.Client, handle string)) {
		c := w.dial()
		handle, err := c.Create(w.ctx(), &protocol.CreateRequest{})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() { act(c, handle) })
	}
	each(w.freeze)
	each(w.behead)
	each(w.flood)
	group.Wait()
	listed, err := w.c.List(w.ctx())
	if err != nil || len(listed) != 1 {
		t.Fatalf("left are %q, %v", listed, err)
	}
	if status, out, _ := w.run(listed[0], "echo unharmed"); status != 0 || out != "unharmed\n" {
		t.Errorf("the container of somebody else says %q, %d", out, status)
	}
	w.until("the last folder but one", func() bool { return len(w.folders()) == 1 })
	w.destroy(listed...)
}

// freeze has a PID 1 do nothing any more: it can be killed all the same.
func (w *wardens) freeze(c *wardenclient.Client, handle string) {
	pid := w.initOf(c, handle)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		w.t.Error(err)
		return
	}
	begun := time.Now()
	if err := c.Destroy(w.ctx(), handle); err != nil {
		w.t.Errorf("destroy what is frozen: %v", err)
	}
	if took := time.Since(begun); took > grace+margin {
		w.t.Errorf("destroying what is frozen took %s, want %s at most", took, grace+margin)
	}
	w.dead(pid)
}

// behead kills a PID 1 under which nothing ran.
func (w *wardens) behead(c *wardenclient.Client, handle string) {
	pid := w.initOf(c, handle)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Error(err)
		return
	}
	var info *protocol.InfoResponse
	w.until("the stop of what lost its PID 1", func() bool {
		var err error
		if info, err = c.Info(w.ctx(), handle); err != nil {
			w.t.Error(err)
		}
		return info.GetState() == "stopped"
	})
	if !slices.Equal(info.GetEvents(), []string{"unexpected error: the container's init died"}) || len(info.GetJobIds()) > 0 {
		w.t.Errorf("info of what lost its PID 1 is %v", info)
	}
	if err := c.Destroy(w.ctx(), handle); err != nil {
		w.t.Errorf("destroy what lost its PID 1: %v", err)
	}
	w.dead(pid)
}

// flood asks for all that a job may write and takes none of it, while another
// client has the container destroyed.
func (w *wardens) flood(c *wardenclient.Client, handle string) {
	said, err := c.Run(w.ctx(), &protocol.RunRequest{Handle: &handle, Script: proto.String("echo here")})
	if err != nil || said.GetStdout() != "here\n" {
		w.t.Errorf("run: %v, %v", said, err)
	}
	job, err := c.Spawn(w.ctx(), &protocol.SpawnRequest{
		Handle: &handle, Script: proto.String("head -c 10485760 /dev/zero; echo all >&2; touch all; sleep 60"),
	})
	if err != nil {
		w.t.Error(err)
		return
	}
	conn, err := net.Dial("unix", w.socket)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer conn.Close()
	frame, err := warden.Frame(warden.TypeStream, &protocol.StreamRequest{Handle: &handle, JobId: &job})
	if err != nil {
		w.t.Error(err)
	}
	if _, err := conn.Write(frame); err != nil {
		w.t.Error(err)
	}
	// It is read once, which says that the stream is under way, and never again.
	conn.SetReadDeadline(time.Now().Add(wardenMax))
	if n, err := conn.Read(make([]byte, 1)); n != 1 {
		w.t.Errorf("the stream's first byte: %v", err)
	}
	if _, err := c.Run(w.ctx(), &protocol.RunRequest{
		Handle: &handle, Script: proto.String("until [ -e all ]; do sleep 0.02; done"),
	}); err != nil {
		w.t.Error(err)
	}
	begun := time.Now()
	if err := c.Destroy(w.ctx(), handle); err != nil {
		w.t.Errorf("destroy what is streamed: %v", err)
	}
	if took := time.Since(begun); took > 6*time.Second {
		w.t.Errorf("destroying what is streamed took %s", took)
	}
}

// The agent is killed at the very moment of an answer, as near to it as another
// process can: what was answered holds, and nothing else is there.
func TestWhatWasAnsweredJustBeforeTheKillHolds(t *testing.T) {
	const rounds = 24
	w := newWardens(t, "")
	kept := w.create()
	for n := range rounds {
		handle, held := fmt.Sprintf("round %d", n), []string{kept}
		// holds kills the agent some hundred microseconds after an answer, and
		// looks at what the next one has.
		holds := func(what, state string, err error) {
			t.Helper()
			answered, late := time.Now(), time.Duration(n)*time.Millisecond/rounds
			for time.Since(answered) < late { // shorter than any wait
			}
			w.node.Kill()
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			w.again()
			if state != "" {
				held = []string{kept, handle}
				if got := w.info(handle).GetState(); got != state {
					t.Errorf("%s %s after its %s: %q, want %q", handle, late, what, got, state)
				}
			}
			if listed, err := w.c.List(w.ctx()); err != nil || !slices.Equal(listed, held) {
				t.Errorf("%s after a %s: %q, %v, want %q", late, what, listed, err, held)
			}
			held = []string{kept}
		}
		_, err := w.c.Create(w.ctx(), &protocol.CreateRequest{Handle: &handle})
		holds("create", "active", err)
		job := w.spawn(handle, "sleep 60")
		holds("stop", "stopped", w.c.Stop(w.ctx(), &protocol.StopRequest{Handle: &handle, Kill: proto.Bool(true)}))
		if r := w.link(w.c, handle, job); r.GetExitStatus() != 255 {
			t.Errorf("the job that was stopped ended with %v", r)
		}
		holds("destroy", "", w.c.Destroy(w.ctx(), handle))
	}
	w.until("the last folder but one", func() bool { return len(w.folders()) == 1 })
	if status, out, _ := w.run(kept, "echo unharmed"); status != 0 || out != "unharmed\n" {
		t.Errorf("the container that was there all the time says %q, %d", out, status)
	}
	w.destroy(kept)
}
