package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// ways are how an agent may go.
func (w *wardens) ways() map[string]func() {
	return map[string]func(){
		"a crash": w.node.Kill,
		"a drain": func() {
			w.node.Signal(syscall.SIGUSR2)
			w.node.WaitEnd(wardenMax)
		},
		"TERM": w.node.Detach,
	}
}

// again starts a successor and a client of it, and says how long that took.
func (w *wardens) again() time.Duration {
	w.t.Helper()
	begun := time.Now()
	w.node.Start()
	w.c = w.dial()
	return time.Since(begun)
}

// What a container was told holds for a successor, however the agent went.
func TestASuccessorKeepsWhatClientsAsked(t *testing.T) {
	outside := rig.NewOutside(t)
	go answer(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80)))
	w := newWardens(t, `job_output_limit = "1KiB"`)
	handle := w.create()
	port, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &handle, ContainerPort: proto.Uint32(8080)})
	if err != nil {
		t.Fatal(err)
	}
	w.serve(handle, "alive", 8080)
	for what, request := range map[string]proto.Message{
		"net_out":   &protocol.NetOutRequest{Handle: &handle, Network: proto.String(rig.InternetAddress.String())},
		"memory":    &protocol.LimitMemoryRequest{Handle: &handle, LimitInBytes: proto.Uint64(64 << 20)},
		"cpu":       &protocol.LimitCpuRequest{Handle: &handle, LimitInShares: proto.Uint64(777)},
		"disk":      &protocol.LimitDiskRequest{Handle: &handle, BlockHard: proto.Uint64(50 << 10)},
		"bandwidth": &protocol.LimitBandwidthRequest{Handle: &handle, Rate: proto.Uint64(5 << 20), Burst: proto.Uint64(1 << 20)},
	} {
		w.takes(what, request)
	}
	w.run(handle, "head -c 2000 /dev/zero") // an event
	before := w.info(handle)
	for what, go_ := range w.ways() {
		go_()
		if took := w.again(); took > 5*time.Second {
			t.Errorf("after %s the successor took %s", what, took)
		}
		after := w.info(handle)
		if !slices.Equal(after.GetEvents(), []string{"command exceeded maximum output"}) || after.GetState() != "active" ||
			after.GetContainerIp() != before.GetContainerIp() || after.GetContainerPath() != before.GetContainerPath() ||
			after.GetBandwidthStat().GetOutRate() != 5<<20 || !slices.Equal(after.GetJobIds(), before.GetJobIds()) {
			t.Errorf("after %s info is %v, was %v", what, after, before)
		}
		memory, _ := w.c.LimitMemory(w.ctx(), &protocol.LimitMemoryRequest{Handle: &handle})
		shares, _ := w.c.LimitCPU(w.ctx(), &protocol.LimitCpuRequest{Handle: &handle})
		if memory != 64<<20 || shares != 777 {
			t.Errorf("after %s it has %d bytes and %d shares", what, memory, shares)
		}
		w.disk("after "+what, &protocol.LimitDiskRequest{Handle: &handle}, 50<<10)
		if got := hears(dialSoon, fmt.Sprintf("127.0.0.1:%d", port.GetHostPort())); got != "alive" {
			t.Errorf("after %s the port says %q", what, got)
		}
		if !w.reaches(handle, rig.InternetAddress.String()+":80") {
			t.Errorf("after %s what was allowed is not reached", what)
		}
		other := w.create()
		next, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &other})
		if err != nil || next.GetHostPort() == port.GetHostPort() || w.info(other).GetContainerIp() == before.GetContainerIp() {
			t.Errorf("after %s a container got %v, %v and %s", what, next, err, w.info(other).GetContainerIp())
		}
		w.destroy(other)
	}
	// The limit is a limit, and out of memory is told, for a successor as well.
	w.run(handle, "head -c 200m /dev/zero | tail > /dev/null")
	w.until("the event", func() bool { return slices.Contains(w.info(handle).GetEvents(), "out of memory") })
	w.until("the stop", func() bool { return len(w.info(handle).GetJobIds()) == 0 })
	w.node.Kill()
	w.again()
	info := w.info(handle)
	if info.GetState() != "stopped" || !slices.Equal(info.GetEvents(), []string{"command exceeded maximum output", "out of memory"}) {
		t.Errorf("a stopped container came back as %v", info)
	}
	w.refused("spawn", &protocol.SpawnRequest{Handle: &handle, Script: proto.String("true")}, notActive)
	w.destroy(handle)
}

// Jobs that ended before, meanwhile and after keep their status and all of
// their output.
func TestJobsOutliveTheAgent(t *testing.T) {
	w := newWardens(t, "")
	for what, go_ := range w.ways() {
		handle := w.create()
		early := w.spawn(handle, "echo early; exit 3")
		w.until("the early one's end", func() bool { return len(w.info(handle).GetJobIds()) == 0 })
		meanwhile := w.begin(handle, "echo up | tee up; until [ -e ended ]; do sleep 0.02; done; echo meanwhile; touch done; exit 4")
		late := w.begin(handle, "echo up | tee up; until [ -e go ]; do sleep 0.02; done; echo late; exit 5")
		linked := w.spawn(handle, "true")
		w.link(w.c, handle, linked)
		w.spawn(handle, "sleep 1; touch ended")
		go_()
		time.Sleep(1500 * time.Millisecond)
		w.again()
		for job, want := range map[uint32]struct {
			status uint32
			stdout string
		}{early: {3, "early\n"}, meanwhile: {4, "up\nmeanwhile\n"}} {
			if r := w.link(w.c, handle, job); r.GetExitStatus() != want.status || r.GetStdout() != want.stdout {
				t.Errorf("after %s: %v, want %v", what, r, want)
			}
		}
		w.noSuchJob(handle, early)
		w.run(handle, "touch go")
		if status, got, _ := w.stream(w.c, handle, late); status != 5 || got["stdout"] != "up\nlate\n" {
			t.Errorf("after %s: %d %v", what, status, got)
		}
		if next := w.spawn(handle, "true"); next <= late {
			t.Errorf("after %s the next job is %d, the last was %d", what, next, late)
		}
		w.destroy(handle)
	}
}

// A drain lets go at once whoever waits for nothing or for a job, answers what
// is under way, lets nobody in, and ends.
func TestADrainAnswersWhatIsUnderWay(t *testing.T) {
	w := newWardens(t, "")
	handle, ending := w.create(), w.create()
	job := w.begin(handle, "echo up | tee up; sleep 60")
	w.begin(ending, stubborn)
	ended := func(what string, c *wardenclient.Client) {
		select {
		case <-c.Done():
		case <-time.After(soon):
			t.Errorf("%s is connected still", what)
		}
	}
	idle, linking, streaming, running, stopping := w.dial(), w.dial(), w.dial(), w.dial(), w.dial()
	pending := map[string]*wardenclient.Client{"a link": linking, "a stream": streaming, "a run": running, "nothing": idle}
	for c, request := range map[*wardenclient.Client]proto.Message{
		linking: &protocol.LinkRequest{Handle: &handle, JobId: &job},
		running: &protocol.RunRequest{Handle: &handle, Script: proto.String("sleep 60")},
	} {
		if _, err := c.Start(w.ctx(), request); err != nil {
			t.Fatal(err)
		}
	}
	go streaming.Stream(w.ctx(), handle, job, func(string, []byte) error { return nil })
	stopped := make(chan error, 1)
	go func() { stopped <- stopping.Stop(w.ctx(), &protocol.StopRequest{Handle: &ending}) }()
	w.until("the stop", func() bool { return w.info(ending).GetState() == "stopped" })
	w.node.Signal(syscall.SIGUSR2)
	for what, c := range pending {
		ended("who waits for "+what, c)
	}
	select {
	case err := <-stopped:
		t.Errorf("the stop was answered before its end: %v", err)
	default:
	}
	if conn, err := net.Dial("unix", w.socket); err == nil {
		conn.SetReadDeadline(time.Now().Add(soon))
		if n, err := conn.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Error("a client was let in by an agent that drains")
		}
		conn.Close()
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop under way: %v", err)
	}
	if code := w.node.WaitEnd(wardenMax); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	w.again()
	if ids := w.info(handle).GetJobIds(); !slices.Contains(ids, uint64(job)) {
		t.Errorf("the jobs are %v", ids)
	}
	w.destroy(handle, ending)
}

// The socket has the configured mode, the pid file the agent's number, and the
// health check says that all is well.
func TestOldHabitsAreKept(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	w := newWardens(t, fmt.Sprintf("mode = \"0777\"\n pid_file = %q\n health_check = \"127.0.0.1:2345\"", pid))
	if stat, err := os.Stat(w.socket); err != nil || stat.Mode().Perm() != 0o777 || stat.Mode()&os.ModeSocket == 0 {
		t.Errorf("the socket is %v, %v", stat, err)
	}
	if got := strings.TrimSpace(content(t, pid)); got != fmt.Sprint(w.node.PID()) {
		t.Errorf("the pid file has %q", got)
	}
	conn, err := dialSoon("tcp", "127.0.0.1:2345")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "anything at all\r\n\r\n")
	conn.SetReadDeadline(time.Now().Add(soon))
	said := make([]byte, 15)
	if _, err := conn.Read(said); err != nil || string(said) != "HTTP/1.1 200 OK" {
		t.Errorf("the health check says %q, %v", said, err)
	}
	w.node.Shutdown()
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file outlives its agent")
	}
	w.again()
}
