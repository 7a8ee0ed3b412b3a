package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// wardenMax is how long anything that a Warden client asks may take here.
const wardenMax = 30 * time.Second

// wardens is a node with Warden's door, and a client in it.
type wardens struct {
	t      *testing.T
	node   *rig.Node
	socket string
	c      *wardenclient.Client
}

// newWardens starts a node whose socket lies in a folder of its own: the state
// folder is the node's.
func newWardens(t *testing.T, config string) *wardens {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-warden-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	w := &wardens{t: t, socket: filepath.Join(folder, "w.sock")}
	nats := rig.StartNATS(t)
	w.node = rig.StartNode(t, rig.Options{
		NATS: nats.URL, NodeHCL: `on_usr2 = "detach"`,
		Config: fmt.Sprintf("warden {\n  socket = %q\n  %s\n}\n", w.socket, config),
	})
	w.c = w.dial()
	return w
}

func (w *wardens) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), wardenMax)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *wardens) dial() *wardenclient.Client {
	w.t.Helper()
	c, err := wardenclient.Dial(w.ctx(), w.socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

func (w *wardens) create() string {
	w.t.Helper()
	handle, err := w.c.Create(w.ctx(), &protocol.CreateRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	return handle
}

// run runs a script and returns its status and output.
func (w *wardens) run(handle, script string, change ...func(*protocol.RunRequest)) (uint32, string, string) {
	w.t.Helper()
	request := &protocol.RunRequest{Handle: &handle, Script: &script}
	for _, act := range change {
		act(request)
	}
	r, err := w.c.Run(w.ctx(), request)
	if err != nil {
		w.t.Fatalf("run %q: %v", script, err)
	}
	return r.GetExitStatus(), r.GetStdout(), r.GetStderr()
}

func (w *wardens) spawn(handle, script string) uint32 {
	w.t.Helper()
	job, err := w.c.Spawn(w.ctx(), &protocol.SpawnRequest{Handle: &handle, Script: &script})
	if err != nil {
		w.t.Fatalf("spawn %q: %v", script, err)
	}
	return job
}

func (w *wardens) destroy(handles ...string) {
	w.t.Helper()
	for _, handle := range handles {
		if err := w.c.Destroy(w.ctx(), handle); err != nil {
			w.t.Errorf("destroy %s: %v", handle, err)
		}
	}
}

func (w *wardens) info(handle string) *protocol.InfoResponse {
	w.t.Helper()
	info, err := w.c.Info(w.ctx(), handle)
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

// expectSaid wants the server's own words.
func expectSaid(t *testing.T, what string, err error, words string) {
	t.Helper()
	said, ok := errors.AsType[*wardenclient.ServerError](err)
	if !ok || said.Text != words {
		t.Errorf("%s: error is %v, want %q", what, err, words)
	}
}

func TestAWardenClientRunsScripts(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	if got, err := w.c.List(w.ctx()); err != nil || !slices.Equal(got, []string{handle}) {
		t.Errorf("listed %q, %v", got, err)
	}
	for _, script := range []struct {
		text           string
		privileged     bool
		status         uint32
		stdout, stderr string
	}{
		{text: "echo out; echo err >&2; exit 7", status: 7, stdout: "out\n", stderr: "err\n"},
		{text: "id -un; pwd; echo $HOME $USER $PATH $0 $-; umask",
			stdout: "vcap\n/home/vcap\n/home/vcap vcap /bin:/usr/bin /bin/bash hBs\n0022\n"},
		{text: "id -u; echo $USER", privileged: true, stdout: "0\nroot\n"},
		{text: "kill -9 $$", status: 255},
		{text: "cat\nafter\n", stdout: "after\n"},
		{text: "ulimit -n; ulimit -c", stdout: "1024\n0\n"},
		{text: "printf 'a\\377b'", stdout: "a\xffb"},
	} {
		status, stdout, stderr := w.run(handle, script.text, func(r *protocol.RunRequest) { r.Privileged = &script.privileged })
		if status != script.status || stdout != script.stdout || stderr != script.stderr {
			t.Errorf("%q: status %d, %q, %q; want %d, %q, %q", script.text, status, stdout, stderr,
				script.status, script.stdout, script.stderr)
		}
	}
	if err := w.c.Stop(w.ctx(), &protocol.StopRequest{Handle: &handle}); err != nil {
		t.Error(err)
	}
	_, err := w.c.Spawn(w.ctx(), &protocol.SpawnRequest{Handle: &handle, Script: proto.String("true")})
	expectSaid(t, "spawn", err, "Container state must be one of 'active', current state is 'stopped'")
	w.destroy(handle)
	_, err = w.c.Info(w.ctx(), handle)
	expectSaid(t, "info", err, "unknown handle")
}

func TestAStreamComesAsItIsWritten(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.spawn(handle, "for i in 1 2 3; do echo $i; sleep 0.1; done; echo last >&2; exit 3")
	var mu sync.Mutex
	got := map[string]string{}
	status, info, err := w.c.Stream(w.ctx(), handle, job, func(stream string, data []byte) error {
		mu.Lock()
		defer mu.Unlock()
		got[stream] += string(data)
		return nil
	})
	if err != nil || status != 3 || got["stdout"] != "1\n2\n3\n" || got["stderr"] != "last\n" || info.GetState() != "active" {
		t.Errorf("status %d, %v, %v, %v", status, got, info, err)
	}
	_, err = w.c.Link(w.ctx(), handle, job)
	expectSaid(t, "link", err, "no such job")
	w.destroy(handle)
}

// The agent is killed while clients wait: they come back, and all is there.
func TestAKilledAgentLosesNoJobOfWardens(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	linked := w.spawn(handle, "echo before; sleep 1; echo after; exit 5")
	streamed := w.spawn(handle, "echo one; sleep 1; echo two; exit 6")
	first, second := w.c, w.dial()
	lost := make(chan error, 2)
	go func() { _, err := first.Link(w.ctx(), handle, linked); lost <- err }()
	go func() {
		_, _, err := second.Stream(w.ctx(), handle, streamed, func(string, []byte) error { return nil })
		lost <- err
	}()
	time.Sleep(300 * time.Millisecond)
	w.node.Kill()
	for range 2 {
		if _, ok := errors.AsType[*wardenclient.DisconnectedError](<-lost); !ok {
			t.Error("a client was told something by a dead agent")
		}
	}
	time.Sleep(time.Second)
	w.node.Start()
	w.c = w.dial()
	r, err := w.c.Link(w.ctx(), handle, linked)
	if err != nil || r.GetExitStatus() != 5 || r.GetStdout() != "before\nafter\n" {
		t.Errorf("linked %v, %v", r, err)
	}
	output := ""
	status, _, err := w.c.Stream(w.ctx(), handle, streamed, func(_ string, data []byte) error { output += string(data); return nil })
	if err != nil || status != 6 || output != "one\ntwo\n" {
		t.Errorf("streamed %d %q, %v", status, output, err)
	}
	if next := w.spawn(handle, "true"); next <= streamed {
		t.Errorf("a job's number %d was given again", next)
	}
	w.destroy(handle)
}

func TestWardensMemoryLimitIsKept(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	if got, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle}); err != nil || got != 9223372036854771712 {
		t.Errorf("unlimited reads %d, %v", got, err)
	}
	limit := uint64(32 << 20)
	if got, err := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: &limit}); err != nil || got != limit {
		t.Errorf("limited to %d, %v", got, err)
	}
	w.run(handle, "head -c 200m /dev/zero | tail >/dev/null")
	deadline := time.Now().Add(wardenMax)
	for {
		info := w.info(handle)
		if slices.Equal(info.GetEvents(), []string{"out of memory"}) && info.GetState() == "stopped" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("info is %v", info)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.destroy(handle)
}

func TestAPortOfWardensLeadsIn(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	port, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &handle, ContainerPort: proto.Uint32(8080)})
	if err != nil || port.GetContainerPort() != 8080 {
		t.Fatalf("net_in: %v, %v", port, err)
	}
	w.spawn(handle, "cd /usr/share && exec python3 -m http.server 8080")
	url := fmt.Sprintf("http://127.0.0.1:%d/", port.GetHostPort())
	deadline := time.Now().Add(wardenMax)
	for {
		response, err := http.Get(url)
		if err == nil {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if !strings.Contains(string(body), "Directory listing") {
				t.Errorf("answered %q", body)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.destroy(handle)
	if response, err := http.Get(url); err == nil {
		response.Body.Close()
		t.Error("the port answers after the container's end")
	}
}

func TestFilesAreCopiedInAndOut(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "in", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "in", "sub", "file"), []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	in := &protocol.CopyInRequest{Handle: &handle, SrcPath: proto.String(folder + "/in/"), DstPath: proto.String("/home/vcap/there")}
	if err := w.c.CopyIn(w.ctx(), in); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := w.run(handle, "stat -c '%U %a' there/sub/file; cat there/sub/file"); out != "vcap 640\ncontent" {
		t.Errorf("inside it is %q", out)
	}
	forbidden := &protocol.CopyInRequest{Handle: &handle, SrcPath: in.SrcPath, DstPath: proto.String("/etc/there")}
	expectSaid(t, "copy to /etc", w.c.CopyIn(w.ctx(), forbidden), "command exited with failure")
	if err := w.c.Stop(w.ctx(), &protocol.StopRequest{Handle: &handle}); err != nil {
		t.Fatal(err)
	}
	out := &protocol.CopyOutRequest{Handle: &handle, SrcPath: proto.String("/home/vcap/there"), DstPath: proto.String(folder + "/out")}
	if err := w.c.CopyOut(w.ctx(), out); err != nil {
		t.Error(err)
	}
	if content, err := os.ReadFile(filepath.Join(folder, "out", "there", "sub", "file")); string(content) != "content" {
		t.Errorf("outside it is %q, %v", content, err)
	}
	w.destroy(handle)
}

// SIGUSR2 answers what is under way, and leaves the containers to a successor.
func TestUSR2DrainsAndTheNextAgentTakesOver(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.spawn(handle, "sleep 1; echo done")
	stubborn := w.create()
	w.spawn(stubborn, "trap '' TERM; while :; do sleep 0.1; done")
	other := w.dial()
	stopped := make(chan error, 1)
	time.Sleep(200 * time.Millisecond)
	go func() { stopped <- other.Stop(w.ctx(), &protocol.StopRequest{Handle: &stubborn}) }()
	time.Sleep(200 * time.Millisecond)
	w.node.Signal(syscall.SIGUSR2)
	if err := <-stopped; err != nil {
		t.Errorf("the stop under way: %v", err)
	}
	w.node.WaitEnd(wardenMax)
	begun := time.Now()
	w.node.Start()
	w.c = w.dial()
	took := time.Since(begun)
	t.Logf("the successor took %s", took.Round(time.Millisecond))
	if took > time.Second {
		t.Errorf("the successor took %s", took)
	}
	if r, err := w.c.Link(w.ctx(), handle, job); err != nil || r.GetStdout() != "done\n" {
		t.Errorf("linked %v, %v", r, err)
	}
	w.destroy(handle, stubborn)
}

// A hundred containers over ten connections, and then none.
func TestManyContainersOverManyConnections(t *testing.T) {
	w := newWardens(t, "")
	const connections, each = 10, 10
	var mu sync.Mutex
	var handles []string
	var group sync.WaitGroup
	begun := time.Now()
	for range connections {
		c := w.dial()
		group.Go(func() {
			for range each {
				handle, err := c.Create(w.ctx(), &protocol.CreateRequest{})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				handles = append(handles, handle)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	t.Logf("%d containers in %s", len(handles), time.Since(begun))
	listed, err := w.c.List(w.ctx())
	slices.Sort(listed)
	slices.Sort(handles)
	if err != nil || !slices.Equal(listed, handles) {
		t.Errorf("listed %d, made %d; %v", len(listed), len(handles), err)
	}
	begun = time.Now()
	for _, handle := range handles {
		c := w.dial()
		group.Go(func() {
			if err := c.Destroy(w.ctx(), handle); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	t.Logf("%d destroyed in %s", len(handles), time.Since(begun))
	if listed, err := w.c.List(w.ctx()); err != nil || len(listed) != 0 {
		t.Errorf("listed %q, %v", listed, err)
	}
}

// An agent whose configuration has no door any more still looks after what
// clients made, and a shutdown leaves nothing of it.
func TestAnAgentWithoutTheDoorLooksAfterWhatIsLeft(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	w.spawn(handle, "sleep 1000")
	w.node.Kill()
	config, err := os.ReadFile(w.node.Config())
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(config), "warden {")
	if err := os.WriteFile(w.node.Config(), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	w.node.Start()
	if _, err := wardenclient.Dial(w.ctx(), w.socket); err == nil {
		t.Error("there is a door although none is configured")
	}
	w.node.Shutdown() // and the rig looks for what is left
}
