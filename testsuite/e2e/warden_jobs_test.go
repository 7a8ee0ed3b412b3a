package e2e

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// stream reads a job over a client to its end.
func (w *wardens) stream(c *wardenclient.Client, handle string, job uint32) (uint32, map[string]string, *protocol.InfoResponse) {
	w.t.Helper()
	got := map[string]string{}
	status, info, err := c.Stream(w.ctx(), handle, job, func(name string, data []byte) error {
		got[name] += string(data)
		if len(data) == 0 {
			w.t.Errorf("job %d: an empty chunk of %s", job, name)
		}
		return nil
	})
	if err != nil {
		w.t.Errorf("stream of job %d: %v", job, err)
	}
	return status, got, info
}

// link reads a job over a client when it has ended.
func (w *wardens) link(c *wardenclient.Client, handle string, job uint32) *protocol.LinkResponse {
	w.t.Helper()
	r, err := c.Link(w.ctx(), handle, job)
	if err != nil {
		w.t.Errorf("link of job %d: %v", job, err)
		return &protocol.LinkResponse{}
	}
	return r
}

// noSuchJob wants a job to be nobody's any more.
func (w *wardens) noSuchJob(handle string, job uint32) {
	w.t.Helper()
	_, err := w.c.Link(w.ctx(), handle, job)
	expectSaid(w.t, "link", err, "no such job")
	_, _, err = w.c.Stream(w.ctx(), handle, job, func(string, []byte) error { return nil })
	expectSaid(w.t, "stream", err, "no such job")
}

// until waits for what is told by nothing but asking.
func (w *wardens) until(what string, is func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(wardenMax); !is(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not in %s", what, wardenMax)
		}
		time.Sleep(10 * time.Millisecond) // a process of another's gives no event to wait for
	}
}

func TestWhatAJobWritesBeyondTheLimitIsCut(t *testing.T) {
	const limit, read = 100 << 10, 64 << 10
	w := newWardens(t, `job_output_limit = "100KiB"`)
	handle := w.create()
	const exceeded = "command exceeded maximum output"
	for _, c := range []struct {
		what, script string
		discard      bool
		status       uint32
		bytes        [2]int // least and most, of both streams
		event        bool
	}{
		{"as much as it may", "head -c 102400 /dev/zero", false, 0, [2]int{limit, limit}, false},
		{"discarded", "head -c 10000000 /dev/zero; echo >&2; exit 3", true, 3, [2]int{}, false},
		{"one byte more", "head -c 102401 /dev/zero", false, 255, [2]int{limit, limit + read}, true},
		{"both streams together", "head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2", false, 255, [2]int{limit, limit + read}, true},
		{"for ever", "yes", false, 255, [2]int{limit, limit + read}, true},
	} {
		begun := time.Now()
		status, stdout, stderr := w.run(handle, c.script, func(r *protocol.RunRequest) { r.DiscardOutput = &c.discard })
		if n := len(stdout) + len(stderr); status != c.status || n < c.bytes[0] || n > c.bytes[1] {
			t.Errorf("%s: status %d and %d bytes, want %d and %d", c.what, status, n, c.status, c.bytes)
		}
		if events := w.info(handle).GetEvents(); slices.Equal(events, []string{exceeded}) != c.event {
			t.Errorf("%s: events are %q", c.what, events)
		}
		t.Logf("%s: %s", c.what, time.Since(begun))
	}
	if _, out, _ := w.run(handle, "pgrep -x yes | wc -l"); out != "1\n" {
		t.Errorf("%q of what wrote for ever run on, want it alive until the stop", out)
	}
	if ids := w.info(handle).GetJobIds(); len(ids) > 0 {
		t.Errorf("job_ids has %v, which nobody can link", ids)
	}
	w.takes("stop", &protocol.StopRequest{Handle: &handle})
	w.destroy(handle)
}

func TestAStreamIsCutWithoutAnEvent(t *testing.T) {
	w := newWardens(t, `job_output_limit = "100KiB"`)
	handle := w.create()
	status, got, info := w.stream(w.c, handle, w.spawn(handle, "head -c 500000 /dev/zero"))
	if n := len(got["stdout"]); status != 255 || n > 164<<10 || n == 0 {
		t.Errorf("status %d and %d bytes", status, n)
	}
	if len(info.GetEvents())+len(w.info(handle).GetEvents()) > 0 {
		t.Errorf("a stream noted %q", info.GetEvents())
	}
	discarded, err := w.c.Spawn(w.ctx(), &protocol.SpawnRequest{
		Handle: &handle, Script: proto.String("head -c 500000 /dev/zero; exit 4"), DiscardOutput: proto.Bool(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, got, _ := w.stream(w.c, handle, discarded); status != 4 || len(got) > 0 {
		t.Errorf("discarded: status %d and %d streams", status, len(got))
	}
	w.destroy(handle)
}

// Linkers and streamers of one job may be many, and come when they like.
func TestEveryReaderOfAJobGetsAllOfIt(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.spawn(handle, "echo one; echo err >&2; until [ -e go ]; do sleep 0.02; done; echo two; exit 9")
	var group sync.WaitGroup
	read := func(what string) {
		linker, streamer := w.dial(), w.dial()
		group.Go(func() {
			r := w.link(linker, handle, job)
			if r.GetExitStatus() != 9 || r.GetStdout() != "one\ntwo\n" || r.GetStderr() != "err\n" ||
				slices.Contains(r.GetInfo().GetJobIds(), uint64(job)) || r.GetInfo().GetState() != "active" {
				t.Errorf("%s linked %v", what, r)
			}
		})
		group.Go(func() {
			status, got, info := w.stream(streamer, handle, job)
			if status != 9 || got["stdout"] != "one\ntwo\n" || got["stderr"] != "err\n" || !slices.Contains(info.GetJobIds(), uint64(job)) {
				t.Errorf("%s streamed %d, %v, %v", what, status, got, info)
			}
		})
	}
	read("the first")
	read("the second")
	if info := w.info(handle); !slices.Equal(info.GetJobIds(), []uint64{uint64(job)}) {
		t.Errorf("job_ids are %v", info.GetJobIds())
	}
	w.run(handle, "sleep 0.2") // those readers wait by now, or get all from its beginning as well
	read("a late one")
	w.run(handle, "sleep 0.2; touch go")
	group.Wait()
	w.noSuchJob(handle, job)
	w.noSuchJob(handle, 4711)

	// One that ended long ago keeps what it wrote for its first reader.
	linked, streamed := w.spawn(handle, "echo kept; exit 2"), w.spawn(handle, "echo kept >&2; kill -9 $$")
	w.until("the jobs' end", func() bool { return len(w.info(handle).GetJobIds()) == 0 })
	if r := w.link(w.c, handle, linked); r.GetExitStatus() != 2 || r.GetStdout() != "kept\n" {
		t.Errorf("linked %v", r)
	}
	if status, got, _ := w.stream(w.c, handle, streamed); status != 255 || got["stderr"] != "kept\n" {
		t.Errorf("streamed %d %v", status, got)
	}
	w.noSuchJob(handle, linked)
	w.noSuchJob(handle, streamed)
	w.destroy(handle)
}

// Who leaves a link takes the job along; who leaves a stream does so only if
// there was nothing more to read.
func TestReadersThatLeave(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	const wait = "until [ -e go ]; do sleep 0.02; done; "
	linked := w.spawn(handle, wait+"echo lost")
	silent := w.spawn(handle, "echo first; "+wait)
	talking := w.spawn(handle, "echo first; "+wait+"for i in 1 2 3 4 5 6; do echo more; sleep 0.1; done; exit 8")
	link := w.dial()
	pending, err := link.Start(w.ctx(), &protocol.LinkRequest{Handle: &handle, JobId: &linked})
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []uint32{silent, talking} {
		c, first := w.dial(), make(chan bool)
		var once sync.Once
		go c.Stream(w.ctx(), handle, job, func(string, []byte) error { once.Do(func() { close(first) }); return nil })
		<-first
		c.Close()
	}
	w.run(handle, "sleep 0.2") // the link is there by now, and the agent has noticed who left
	link.Close()
	if _, err := pending.Wait(w.ctx()); err == nil {
		t.Error("a closed client was answered")
	}
	w.run(handle, "sleep 0.2; touch go")
	w.until("the jobs' end", func() bool { return len(w.info(handle).GetJobIds()) == 0 })
	w.noSuchJob(handle, linked)
	w.noSuchJob(handle, silent)
	if status, got, _ := w.stream(w.c, handle, talking); status != 8 || got["stdout"] != "first\n"+strings.Repeat("more\n", 6) {
		t.Errorf("what was left streams %d %q", status, got)
	}
	w.destroy(handle)
}

// Job ids are the node's, and a job ends with its first process.
func TestJobsAreNumberedAndEndWithTheirFirstProcess(t *testing.T) {
	w := newWardens(t, "")
	first, second := w.create(), w.create()
	var ids []uint32
	for _, handle := range []string{first, second, first} {
		ids = append(ids, w.spawn(handle, "true"))
	}
	if !slices.Equal(ids, []uint32{1, 2, 3}) {
		t.Errorf("the ids of jobs are %v", ids)
	}
	_, err := w.c.Link(w.ctx(), second, ids[0])
	expectSaid(t, "link of another container's job", err, "no such job")
	begun := time.Now()
	status, stdout, _ := w.run(first, "(sleep 3; echo late) & echo $$; exit 6")
	if took := time.Since(begun); status != 6 || took > 2*time.Second {
		t.Errorf("status %d %q after %s", status, stdout, took)
	}
	if _, out, _ := w.run(first, "pgrep -x sleep | wc -l"); out != "1\n" {
		t.Errorf("%q of what it left behind runs on", out)
	}
	w.destroy(first, second)
}

// What the wire says of 0 and of nothing differs; beside that, statuses.
func TestNothingIsSaidWithPresence(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	run, err := w.c.Run(w.ctx(), &protocol.RunRequest{Handle: &handle, Script: proto.String("true")})
	if err != nil || run.ExitStatus == nil || run.Stdout == nil || run.Stderr == nil || run.Info == nil {
		t.Errorf("run answered %v, %v", run, err)
	}
	link := w.link(w.c, handle, w.spawn(handle, "true"))
	if link.ExitStatus == nil || link.Stdout == nil || link.Stderr == nil || link.Info == nil {
		t.Errorf("link answered %v", link)
	}
	info := w.info(handle)
	if info.Events != nil || info.JobIds != nil || info.GetState() != "active" || info.MemoryStat.TotalUnevictable == nil ||
		info.CpuStat.User == nil || info.DiskStat.InodesUsed == nil || info.BandwidthStat.OutBurst == nil {
		t.Errorf("info is %v", info)
	}
	if !strings.HasPrefix(info.GetContainerPath(), "/") || !strings.Contains(info.GetContainerPath(), handle) {
		t.Errorf("the container's path is %q", info.GetContainerPath())
	}
	if stat, err := os.Stat(info.GetContainerPath()); err != nil || !stat.IsDir() {
		t.Errorf("the container's path: %v", err)
	}
	for _, c := range []struct {
		script string
		status uint32
	}{
		{"exit 0", 0}, {"exit 1", 1}, {"exit 254", 254}, {"exit 255", 255}, {"exit 256", 0}, {"kill -TERM $$", 255}, {"kill -KILL $$", 255},
		{"nothing-of-that-name", 127},
	} {
		if status, _, _ := w.run(handle, c.script); status != c.status {
			t.Errorf("%q: status %d, want %d", c.script, status, c.status)
		}
	}
	if _, out, _ := w.run(handle, "printf '\\0\\377\\200x'"); !bytes.Equal([]byte(out), []byte{0, 0xff, 0x80, 'x'}) {
		t.Errorf("output came as %q", out)
	}
	w.destroy(handle)
	if list, err := w.c.Call(w.ctx(), &protocol.ListRequest{}); err != nil || list.(*protocol.ListResponse).Handles != nil {
		t.Errorf("no container is listed as %v, %v", list, err)
	}
}
