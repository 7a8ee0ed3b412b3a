package sweep

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	wardenclient "github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// living is a real agent with a controller, Warden's clients and a tracer.
type living struct {
	t      testing.TB
	node   *rig.Node
	ctl    *rig.Controller
	serve  rig.Droplet
	socket string
	cargo  string // a folder for what is copied
	client *wardenclient.Client
	tracer *tracerPart
	traces rig.Traces
	pool   netip.Prefix
	idle   []string
	id     string
	over   chan struct{} // closed when the tracing is
	traced answer
	died   map[string]bool // in this round, by their roles
}

const (
	soon      = 15 * time.Second
	poolText  = "10.252.0.0/16"
	spareMost = 4
)

func newLiving(t *testing.T) *living {
	t.Helper()
	folder, err := os.MkdirTemp("", "dcn-sweep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := loadCargo(filepath.Join(folder, "in")); err != nil {
		t.Fatal(err)
	}
	nats, blobs := rig.StartNATS(t), rig.NewDropletServer(t)
	l := &living{t: t, socket: filepath.Join(folder, "w.sock"), cargo: folder, pool: netip.MustParsePrefix(poolText)}
	l.tracer = startTracer(t)
	l.ctl = rig.NewController(t, nats.URL)
	l.node = rig.StartNode(t, rig.Options{NATS: nats.URL, Config: fmt.Sprintf("disk { pool_size = \"1GiB\" }\n"+
		"network { pool = %q }\nwarden { socket = %q }\ninstance { spares = %d }\n"+
		"log { level = \"debug\" }\n", poolText, l.socket, spareMost)})
	l.serve = blobs.Add("./app", rig.Program(t, "./testsuite/e2e/app", "app"))
	l.traces = rig.TracesOf(t, filepath.Join(l.node.State, "s"))
	l.meet()
	return l
}

// meet is what a controller and a client do when there is an agent again.
func (l *living) meet() {
	l.t.Helper()
	l.id, _ = l.ctl.Expect("dea.start", soon).Body["id"].(string)
	l.reconnect()
}

// reconnect is for a client whose agent is another one.
func (l *living) reconnect() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), soon)
	defer cancel()
	client, err := wardenclient.Dial(ctx, l.socket)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.client != nil {
		l.client.Close()
	}
	l.client = client
}

// trace has somebody killed at a step: a role is who.
func (l *living) trace(k agentKill) {
	l.t.Helper()
	l.over = make(chan struct{})
	if err := l.tracer.send(order{Targets: l.targets(k)}); err != nil {
		l.t.Fatal(err)
	}
	var a answer
	if err := l.tracer.receive(&a); err != nil || a.Error != "" {
		l.t.Fatal("sweep: trace the agent: ", err, a.Error)
	}
	go func() {
		defer close(l.over)
		for l.traced = (answer{}); l.traced.Traced == nil && l.traced.Error == ""; {
			if err := l.tracer.receive(&l.traced); err != nil && !isTimeout(err) {
				l.traced.Error = err.Error()
			}
		}
	}()
}

// targets are the processes of a role. Which PID 1 an agent takes is its own
// choice: each is traced, and the first that comes so far is killed.
func (l *living) targets(k agentKill) (all []Target) {
	head := launcherOf(l.node.PID())
	if k.role == launcherMeanwhile {
		return []Target{{Role: launcher, PID: l.node.PID(), N: k.n, After: k.after, Instead: head}}
	}
	for i, role := range strings.Split(k.role, "+") {
		target := Target{Role: role, N: k.n, After: k.after}
		if i > 0 {
			target.N = k.m
		}
		switch role {
		case agent:
			target.PID = l.node.PID()
		case launcher:
			target.PID = head
		case pid1:
			for _, child := range childrenOf(head) {
				target.PID, target.Perhaps = child, true
				all = append(all, target)
			}
			continue
		}
		all = append(all, target)
	}
	return all
}

// untrace ends the tracing and says what became of the targets.
func (l *living) untrace() []Traced {
	l.t.Helper()
	if err := l.tracer.send(order{}); err != nil {
		l.t.Fatal(err)
	}
	<-l.over
	if l.traced.Error != "" {
		l.t.Fatal("sweep: the tracer: ", l.traced.Error)
	}
	return l.traced.Traced
}

// hears waits for a message for as long as the agent lives.
func (l *living) hears(subject string, matches ...rig.Match) (rig.Seen, bool) {
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		alive := l.alive()
		if seen, ok := l.ctl.Next(subject, 20*time.Millisecond, matches...); ok || !alive {
			return seen, ok
		}
	}
	return rig.Seen{}, false
}

// bounded is a client's patience: no longer than the agent lives.
func (l *living) bounded() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(l.t.Context(), soon)
	agent := l.node.PID() // the next one is none of ours
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for alive(agent) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}

// unbounded is the patience of whoever has a living agent.
func (l *living) unbounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(l.t.Context(), soon)
}

// alive says whether the agent is.
func (l *living) alive() bool { return alive(l.node.PID()) }

func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(status), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

// successor starts the next agent, where there is none.
func (l *living) successor(alive bool) {
	l.t.Helper()
	if alive {
		return
	}
	l.node.WaitEnd(deathMax)
	l.ctl.Forget()
	l.node.Start()
	l.meet()
}

// settle is a node with nothing to do: what it has then is the measure of what
// is left later. The spares that it keeps may come and go.
func (l *living) settle() {
	l.idle = l.kept().inventory()
	for _, thing := range slices.Clone(l.idle) {
		if strings.HasPrefix(thing, "process of ") || strings.HasPrefix(thing, "namespace of ") {
			for range spareMost {
				l.idle = append(l.idle, thing)
			}
		}
	}
}

// kept looks for what the agent has.
func (l *living) kept() kept {
	return kept{traces: l.traces, pool: l.pool, agent: l.node.PID(), patience: goneMax}
}

// clear takes everything away, as a controller and a client would, and says what
// can't be.
func (l *living) clear(app string) (wrong []string) {
	l.t.Helper()
	l.ctl.Publish("dea.stop", map[string]any{"droplet": app})
	ctx, cancel := context.WithTimeout(l.t.Context(), soon)
	defer cancel()
	handles, err := l.client.List(ctx)
	if err != nil {
		return []string{"list: " + err.Error()}
	}
	for _, handle := range handles {
		if err := l.client.Destroy(ctx, handle); err != nil {
			wrong = append(wrong, fmt.Sprintf("destroy %s: %v", handle, err))
		}
	}
	return wrong
}

func message(app string, d rig.Droplet) map[string]any {
	return map[string]any{
		"droplet": app, "name": app, "version": "version-of-" + app, "index": 0,
		"uris": []string{app + ".example"}, "sha1": d.SHA1, "executableUri": d.URI, "executableFile": "deprecated",
		"cc_partition": "default", "limits": map[string]any{"mem": 64, "disk": 64, "fds": 256},
		"services": []any{}, "env": []string{}, "vcap_application": map[string]any{"name": app},
	}
}

var browser = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers says whether an application serves at a port of the node.
func answers(port int) error {
	answer, err := browser.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func instanceOf(seen rig.Seen) any { return seen.Body["private_instance_id"] }

func portOf(seen rig.Seen) int {
	port, _ := seen.Body["port"].(float64)
	return int(port)
}

// promise is what an agent answered, and how to find out whether it holds.
type promise struct {
	what string
	kept func() error
}

// promises are those of one kill.
type promises struct {
	mu  sync.Mutex
	all []promise
}

func (p *promises) add(what string, kept func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, promise{what, kept})
}

// detach asks an agent to end and leave everything running.
func (l *living) detach() { l.node.Signal(syscall.SIGTERM) }
