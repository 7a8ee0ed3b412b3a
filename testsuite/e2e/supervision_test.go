package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// moment is one kind of actor handling one kind of message.
type moment struct{ kind, message string }

// saboteur makes an actor fail, once, at the moment it is set on.
type saboteur struct {
	mu    sync.Mutex
	seen  []moment
	armed moment
	fired bool
}

func (s *saboteur) hook(turn kit.Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := moment{turn.Kind, turn.Message}
	if !slices.Contains(s.seen, m) && turn.Message != "Down" {
		s.seen = append(s.seen, m)
	}
	if s.armed == m && !s.fired {
		s.fired = true
		panic(fmt.Sprintf("sabotage of %s at %s", m.kind, m.message))
	}
}

func (s *saboteur) arm(m moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.fired = m, false
}

func (s *saboteur) done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fired
}

// inside runs the agent in the test's own process, where its actors can be
// made to fail, and returns a stage for it.
func inside(t *testing.T, hook func(kit.Turn)) *stage {
	t.Helper()
	state, err := os.MkdirTemp("", "dcn-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	config, err := agent.ParseConfig("test", fmt.Appendf(nil, `
node {
  state   = %q
  address = "127.0.0.1"
  init    = %q
}
nats { servers = [%q] }
%s`, filepath.Join(state, "s"), rig.Binary(t, "deacon-init"), s.nats.URL, sharedDisk))
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	var log strings.Builder
	var mu sync.Mutex
	// A hundred failures in a minute are the test's, not the tree's.
	budget := kit.Budget{Restarts: 1000, Window: time.Minute, PauseMin: time.Millisecond, PauseMax: time.Millisecond}
	o := agent.Options{Hook: hook, Signals: signals, Budget: budget,
		Log: hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &mu, Level: hclog.Info})}
	go func() { ended <- agent.Run(context.Background(), config, o) }()
	t.Cleanup(func() {
		signals <- unix.SIGINT
		if err := <-ended; err != nil {
			t.Error("the agent ended:", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if t.Failed() {
			t.Log(log.String())
		}
		for _, left := range rig.TracesOf(t, filepath.Join(state, "s")).Leftovers() {
			t.Error("left behind:", left)
		}
		os.RemoveAll(state)
	})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	return s
}

// cycle plays a short life beside the steady application, and repeats what a
// failing actor swallowed as a controller would.
func (s *stage) cycle(n int) {
	s.t.Helper()
	app := fmt.Sprint("other", n)
	s.insist(app, "RUNNING", func() { s.start(app, s.serve, nil) })
	s.ctl.Conn.PublishRequest("dea.find.droplet", "INBOX.unread", []byte(`{"droplet": "steady", "include_stats": true}`))
	s.ctl.Publish("router.start", map[string]any{})
	s.ctl.Publish("healthmanager.start", map[string]any{})
	s.insist(app, "STOPPED", func() { s.ctl.Publish("dea.stop", map[string]any{"droplet": app}) })
	s.ctl.Forget()
}

func (s *stage) insist(app, state string, order func()) {
	s.t.Helper()
	for range 5 {
		order()
		if _, ok := s.ctl.Next("deacon.v1.instance", 5*time.Second, rig.With("application", app), rig.With("to", state)); ok {
			return
		}
	}
	s.t.Errorf("%s never became %s", app, state)
}

// Every kind of actor fails at every message that it handles, on the real
// kernel, one after the other beside an application that must not notice.
func TestAFailureAtAnyMomentHarmsNoApplication(t *testing.T) {
	saboteur := &saboteur{}
	s := inside(t, saboteur.hook)
	steady := s.running("steady", nil)
	born := steady.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat")
	stop := watchSteady(t, steady)
	s.cycle(0)
	saboteur.mu.Lock()
	moments := interleave(saboteur.seen)
	saboteur.mu.Unlock()
	failed := map[string]int{}
	for n, m := range moments {
		saboteur.arm(m)
		s.cycle(n + 1)
		if saboteur.done() {
			failed[m.kind]++
		}
		if t.Failed() {
			t.Fatalf("after the failure of %s at %s", m.kind, m.message)
		}
	}
	saboteur.arm(moment{})
	stop()
	if now := steady.ask("/run", "sh", "cut -d' ' -f22 /proc/1/stat"); now != born {
		t.Errorf("the steady application's PID 1 was started at %s, and is now one of %s", born, now)
	}
	t.Logf("failures by kind, of %d moments: %v", len(moments), failed)
	for _, kind := range []string{"node", "ledger", "networks", "allocation", "containers", "container", "job", "output",
		"health", "droplets", "droplet", "instances", "instance"} {
		if failed[kind] == 0 {
			t.Errorf("%s was never made to fail", kind)
		}
	}
}

// interleave puts the moments of one kind far apart, because each kind's
// budget is meant for rare failures.
func interleave(seen []moment) (mixed []moment) {
	byKind := map[string][]moment{}
	var kinds []string
	for _, m := range seen {
		if !slices.Contains(kinds, m.kind) {
			kinds = append(kinds, m.kind)
		}
		byKind[m.kind] = append(byKind[m.kind], m)
	}
	for round := 0; len(mixed) < len(seen); round++ {
		for _, kind := range kinds {
			if round < len(byKind[kind]) {
				mixed = append(mixed, byKind[kind][round])
			}
		}
	}
	return mixed
}

// watchSteady asks the application all the time; not one answer may be missing.
func watchSteady(t *testing.T, app *instance) (stop func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
			answer, err := http.Get(app.base)
			if err != nil {
				t.Error("the steady application did not answer:", err)
				return
			}
			answer.Body.Close()
		}
	}()
	return func() { close(over); <-done }
}
