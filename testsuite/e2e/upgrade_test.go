package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// reader follows an application's output over the wire, as `deacon logs` does.
type reader struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *stage) read(app string) *reader {
	s.t.Helper()
	r := &reader{seen: map[string]int{}}
	_, err := s.ctl.Conn.Subscribe("deacon.v1.logs."+app+".0", func(m *nats.Msg) {
		var line struct{ Text string }
		if json.Unmarshal(m.Data, &line) == nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.seen[line.Text]++
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// lacks are those of the lines that have not come.
func (r *reader) lacks(lines int) (missing []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range lines {
		if r.seen["line "+strconv.Itoa(n)] == 0 {
			missing = append(missing, "line "+strconv.Itoa(n))
		}
	}
	return missing
}

// talk has an application write a line after the other, until it is told to
// stop: then it says how many there were. Each is a request that must be answered.
func talk(t *testing.T, app *instance) (stop func() int) {
	over, wrote := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				wrote <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
			if _, err := app.try("/say", "text", "line "+strconv.Itoa(n)); err != nil {
				t.Error("the application did not answer:", err)
			}
		}
	}()
	return func() int { close(over); return <-wrote }
}

// An agent of another version takes over, and then one of the former again, once
// after a detach and once after a kill: nothing that runs notices, no line is lost.
func TestAnUpgradeLosesNothing(t *testing.T) {
	today, other := rig.Binary(t, "deacon"), rig.OtherVersion(t, "deacon_past")
	s := newStage(t, "")
	app := s.running("web", nil)
	born := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
	lines, stop := s.read("web"), talk(t, app)
	for i, program := range []string{other, today, other, today} {
		if i < 2 {
			s.node.Detach()
		} else {
			s.node.Kill()
		}
		s.node.Replace(program)
		s.successor()
		s.ctl.Expect("router.register", soon, rig.With("app", "web"), rig.With("port", app.port))
	}
	written := stop()
	if err := insist(soon, func() error {
		if missing := lines.lacks(written); len(missing) > 0 {
			return fmt.Errorf("of %d lines %d are missing: %q", written, len(missing), missing[:min(len(missing), 10)])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d lines over four changes of the agent, none lost", written)
	if now := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born {
		t.Errorf("PID 1 was started at %s, and is now one of %s", born, now)
	}
	s.ctl.ExpectNone("droplet.exited", 50*time.Millisecond)
	s.stop("web")
}

// Clients of Warden's go on with their jobs, and start others in containers of
// the former version.
func TestAnUpgradeKeepsWardensJobs(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.spawn(handle, "sleep 1; echo done; exit 7")
	w.node.Detach()
	w.node.Replace(rig.OtherVersion(t, "deacon_future"))
	w.again()
	r, err := w.c.Link(w.ctx(), handle, job)
	if err != nil || r.GetExitStatus() != 7 || r.GetStdout() != "done\n" {
		t.Errorf("the job that ran meanwhile: %v, %v", r, err)
	}
	if status, said, _ := w.run(handle, "echo a job of the newer agent"); status != 0 || said != "a job of the newer agent\n" {
		t.Errorf("status %d, %q", status, said)
	}
	w.destroy(handle)
}

// A PID 1 of the first version does all that it knows: what it doesn't is
// refused in words, and harms nothing else.
func TestAnOlderInitKeepsWorking(t *testing.T) {
	w := &wardens{t: t, socket: shortSocket(t)}
	nats := rig.StartNATS(t)
	w.node = rig.StartNode(t, rig.Options{NATS: nats.URL, Program: rig.OtherVersion(t, "deacon_past"),
		Config: fmt.Sprintf("warden { socket = %q }\n", w.socket)})
	w.c = w.dial()
	handle := w.create()
	w.node.Kill()
	w.node.Replace(rig.Binary(t, "deacon"))
	w.again()
	if info := w.info(handle); info.GetState() != "active" {
		t.Errorf("it is %s", info.GetState())
	}
	script, files := "true", uint64(77)
	_, err := w.c.Run(w.ctx(), &protocol.RunRequest{Handle: &handle, Script: &script,
		Rlimits: &protocol.ResourceLimits{Nofile: &files}})
	if err == nil { // clients read Warden's own words, and the node's log says why
		t.Error("a job that it doesn't understand was run")
	}
	w.node.WaitLog("the container's init is too old: it speaks version 1 of the protocol, the job needs 2", soon)
	if _, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &handle}); err != nil {
		t.Error("a port:", err)
	}
	w.destroy(handle)
}

// shortSocket is a path for Warden's door.
func shortSocket(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-warden-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder + "/w.sock"
}

// A PID 1 that only a newer agent can do anything with is left alone by an older
// one, which says so: its application runs on, and the newer agent has it again.
func TestANewerInitIsLeftAloneAndSaid(t *testing.T) {
	future, today := rig.OtherVersion(t, "deacon_future"), rig.Binary(t, "deacon")
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, Config: sharedDisk, Program: future})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	app := s.running("web", nil)
	born := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
	before := s.containers()
	s.node.Kill()
	s.node.Replace(today)
	s.successor()
	for _, want := range []string{"the container's init is too new", "start the newer agent again", "left as it is"} {
		if !strings.Contains(s.node.Log(), want) {
			t.Errorf("the older agent does not say %q:\n%s", want, s.node.Log())
		}
	}
	s.ctl.ExpectNone("droplet.exited", 3*time.Second) // long enough for audits and sweeps
	if now := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born || !slices.Equal(s.containers(), before) {
		t.Errorf("it was not left alone: PID 1 of %s, was of %s; containers %q, were %q", now, born, s.containers(), before)
	}
	s.node.Kill()
	s.node.Replace(future)
	s.successor()
	s.ctl.Expect("router.register", soon, rig.With("app", "web"), rig.With("port", app.port))
	if now := app.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born {
		t.Errorf("PID 1 was started at %s, and is now one of %s", born, now)
	}
	s.stop("web")
}
