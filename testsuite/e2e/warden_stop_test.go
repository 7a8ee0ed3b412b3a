package e2e

import (
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

// stubborn ignores TERM and counts how often it came, in a file.
const stubborn = "trap 'echo x >> terms' TERM; echo up | tee up; while :; do sleep 0.05; done"

// begin spawns a job and waits until it has made the file "up" at home.
func (w *wardens) begin(handle, script string) uint32 {
	w.t.Helper()
	job := w.spawn(handle, script)
	w.run(handle, "until [ -e up ]; do sleep 0.02; done; rm up")
	return job
}

// Each of these takes its own time, so they take it together.
func TestEveryWayToStop(t *testing.T) {
	w := newWardens(t, "")
	var group sync.WaitGroup
	defer group.Wait()
	each := func(test func(c *wardenclient.Client, handle string)) {
		c := w.dial()
		handle, err := c.Create(w.ctx(), &protocol.CreateRequest{})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() { test(c, handle) })
	}
	stop := func(c *wardenclient.Client, handle string, change func(*protocol.StopRequest)) time.Duration {
		begun, request := time.Now(), &protocol.StopRequest{Handle: &handle}
		change(request)
		if err := c.Stop(w.ctx(), request); err != nil {
			t.Error(err)
		}
		return time.Since(begun)
	}
	each(func(c *wardenclient.Client, handle string) {
		if took := stop(c, handle, func(*protocol.StopRequest) {}); took > time.Second {
			t.Errorf("stopping nothing took %s", took)
		}
		if took := stop(c, handle, func(*protocol.StopRequest) {}); took > time.Second {
			t.Errorf("stopping it again took %s", took)
		}
	})
	each(func(c *wardenclient.Client, handle string) {
		job := w.begin(handle, "trap 'echo bye; exit 7' TERM; echo up | tee up; while :; do sleep 0.05; done")
		if took := stop(c, handle, func(*protocol.StopRequest) {}); took > 5*time.Second {
			t.Errorf("stopping what obeys took %s", took)
		}
		if r := w.link(c, handle, job); r.GetExitStatus() != 7 || r.GetStdout() != "up\nbye\n" {
			t.Errorf("what obeyed ended with %v", r)
		}
	})
	each(func(c *wardenclient.Client, handle string) {
		job := w.begin(handle, stubborn)
		if took := stop(c, handle, func(r *protocol.StopRequest) { r.Kill = proto.Bool(true) }); took > 5*time.Second {
			t.Errorf("killing took %s", took)
		}
		if r := w.link(c, handle, job); r.GetExitStatus() != 255 {
			t.Errorf("what was killed ended with %v", r)
		}
	})
	each(func(c *wardenclient.Client, handle string) { w.stubbornly(c, handle, stop) })
}

// stubbornly stops what ignores TERM in the background: the state is another at
// once, the jobs are dead 10 s later, and meanwhile a second stop is answered.
func (w *wardens) stubbornly(c *wardenclient.Client, handle string,
	stop func(*wardenclient.Client, string, func(*protocol.StopRequest)) time.Duration) {
	job := w.begin(handle, stubborn)
	begun := time.Now()
	if took := stop(c, handle, func(r *protocol.StopRequest) { r.Background = proto.Bool(true) }); took > 2*time.Second {
		w.t.Errorf("a stop in the background took %s", took)
	}
	if state := w.info(handle).GetState(); state != "stopped" {
		w.t.Errorf("then the state is %q", state)
	}
	if took := stop(c, handle, func(*protocol.StopRequest) {}); took > 2*time.Second {
		w.t.Errorf("a second stop took %s", took)
	}
	if ids := w.info(handle).GetJobIds(); !slices.Equal(ids, []uint64{uint64(job)}) {
		w.t.Errorf("then the jobs are %v", ids)
	}
	if r := w.link(c, handle, job); r.GetExitStatus() != 255 {
		w.t.Errorf("what was killed ended with %v", r)
	}
	if took := time.Since(begun); took < 9*time.Second || took > 14*time.Second {
		w.t.Errorf("it was killed after %s, want 10s", took)
	}
	folder := w.t.TempDir()
	if err := c.CopyOut(w.ctx(), &protocol.CopyOutRequest{
		Handle: &handle, SrcPath: proto.String("/home/vcap/terms"), DstPath: &folder,
	}); err != nil {
		w.t.Error(err)
	}
	if terms := strings.Count(content(w.t, folder+"/terms"), "x"); terms < 5 || terms > 12 {
		w.t.Errorf("TERM came %d times in 10 s, want one each second", terms)
	}
}

// Whoever waits for a job of a container that is destroyed is answered.
func TestADestructionAnswersWhoWaits(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	job := w.begin(handle, "echo up | tee up; sleep 60")
	var group sync.WaitGroup
	for range 3 {
		linker, streamer := w.dial(), w.dial()
		group.Go(func() {
			r := w.link(linker, handle, job)
			if r.GetExitStatus() != 255 || r.GetStdout() != "up\n" || r.GetInfo().GetContainerIp() == "" ||
				r.GetInfo().GetState() != "stopped" {
				t.Errorf("linked %v", r)
			}
		})
		group.Go(func() {
			if status, got, _ := w.stream(streamer, handle, job); status != 255 || got["stdout"] != "up\n" {
				t.Errorf("streamed %d %v", status, got)
			}
		})
	}
	w.until("the readers' arrival", func() bool {
		_, out, _ := w.run(handle, "sleep 0.3; echo slept")
		return out == "slept\n"
	})
	begun := time.Now()
	w.destroy(handle)
	group.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("destroying took %s", took)
	}
	_, err := w.c.Info(w.ctx(), handle)
	expectSaid(t, "info", err, "unknown handle")
}

// content is a file's, as text.
func content(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
