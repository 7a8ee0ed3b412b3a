package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestEveryEndIsToldInTheWiresWords(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	for _, c := range []struct {
		app, command string
		status       int
		words        string
	}{
		{"exit-0", "exit 0", 0, "app instance exited"},
		{"exit-7", "exit 7", 7, "app instance exited"},
		{"segv", "kill -SEGV $$", 255, "app instance exited"},
		{"no-command", "", -1, "missing start command"},
	} {
		s.start(c.app, s.blobs.Add(c.command), map[string]any{"uris": []string{}})
		expectEnd(t, s.crashed(c.app, soon), c.status, c.words)
	}
	own := s.ctl.Expect("deacon.v1.instance", soon, rig.With("application", "segv"), rig.With("to", "CRASHED")).Body
	if own["signal"] != "SIGSEGV" {
		t.Errorf("our own event of the signal is %v", own)
	}
	s.atRest(offer)
}

func TestAStartThatCantBecomeOneHoldsNothing(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	wrong := s.serve
	wrong.SHA1 = strings.Repeat("0", 40)
	s.start("wrong-digest", wrong, nil)
	expectEnd(t, s.crashed("wrong-digest", soon), -1, "failed to start")
	missing := rig.Droplet{URI: s.serve.URI + "-not-there", SHA1: strings.Repeat("1", 40)}
	s.start("not-there", missing, nil)
	expectEnd(t, s.crashed("not-there", soon), -1, "failed to start")
	s.start("stack", s.serve, map[string]any{"stack": "no-such-stack"})
	expectEnd(t, s.crashed("stack", soon), -1, "failed to start")
	s.start("deaf", s.blobs.Add("exec sleep 1000"), map[string]any{"health_check_timeout": 1})
	expectEnd(t, s.crashed("deaf", soon), -1, "failed to accept connections within health check timeout")
	s.start("memory", s.serve, map[string]any{"limits": map[string]any{"mem": 1 << 30, "disk": 1, "fds": 10}})
	expectEnd(t, s.crashed("memory", soon), -1, "Not enough memory resource available.")
	s.start("disk", s.serve, map[string]any{"limits": map[string]any{"mem": 1, "disk": 1 << 30, "fds": 10}})
	expectEnd(t, s.crashed("disk", soon), -1, "Not enough disk resource available.")
	s.ctl.ExpectNone("router.register", 50*time.Millisecond)
	s.atRest(offer)
}

func TestAMemoryHogIsOutOfMemory(t *testing.T) {
	s := newStage(t, "")
	app := s.running("hog", nil)
	go app.try("/hog", "mib", "200")
	expectEnd(t, s.crashed("hog", soon), 255, "out of memory")
}

// The application survives, but one of its processes did not.
func TestAChildOutOfMemoryEndsTheInstance(t *testing.T) {
	s := newStage(t, "")
	app := s.running("parent", nil)
	go app.try("/run", "sh", "tail /dev/zero")
	if exited := s.crashed("parent", late); exited["exit_description"] != "out of memory" {
		t.Errorf("told %v", exited)
	}
}

func TestAForkBombIsContained(t *testing.T) {
	s := newStage(t, "")
	bystander := s.running("bystander", nil)
	app := s.running("bomb", map[string]any{"limits": map[string]any{"mem": 512, "disk": 64, "fds": 4096}})
	if said := app.ask("/forks", "most", "2000"); !strings.HasPrefix(said, "refused after") {
		t.Errorf("a fork bomb was %s", said)
	}
	if body := bystander.ask("/"); body != "hello from 0\n" {
		t.Errorf("the bystander answers %q", body)
	}
	s.stop("bomb")
}

func TestDiskIsLimited(t *testing.T) {
	s := newStage(t, "")
	app := s.running("writer", map[string]any{"limits": map[string]any{"mem": 64, "disk": 32, "fds": 256}})
	if said := app.ask("/write", "path", "/home/vcap/app/small", "mib", "8"); said != "written" {
		t.Errorf("8 of 32 MiB: %s", said)
	}
	if said := app.ask("/write", "path", "/home/vcap/app/large", "mib", "100"); !strings.HasPrefix(said, "failed") {
		t.Errorf("100 of 32 MiB: %s", said)
	}
}
