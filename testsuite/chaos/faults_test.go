package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	faults "github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/chaos/drill"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// laboratory is a node with one application, to which one fault after the other
// is done.
type laboratory struct {
	*stage
	client  *bus.Client
	ctl     *rig.Controller
	id      string
	orders  int
	listing faults.Listing
}

func newLaboratory(t *testing.T) *laboratory {
	l := &laboratory{stage: newStage(t, "auto")}
	client, err := bus.Dial(t.Context(), bus.Config{Servers: []string{l.nats.URL}, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	l.client, l.ctl = client, rig.NewController(t, l.nats.URL)
	l.id, _ = l.ctl.Expect("dea.advertise", soon).Body["id"].(string)
	l.listing = ask[faults.Listing](l, faults.VerbList, struct{}{})
	return l
}

func try[T any](l *laboratory, verb string, question any) (answer T, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if body, err = l.client.Ask(ctx, dea.ChaosSubject(l.id, verb), body); err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(body, &answer)
}

func ask[T any](l *laboratory, verb string, question any) T {
	l.t.Helper()
	answer, err := try[T](l, verb, question)
	if err != nil {
		l.t.Fatalf("%s %v: %v", verb, question, err)
	}
	return answer
}

func (l *laboratory) inject(o faults.Order) faults.Injected {
	l.t.Helper()
	l.orders++
	o.ID, o.Seed = fmt.Sprint(l.orders), uint64(l.orders)
	return ask[faults.Injected](l, faults.VerbInject, o)
}

// start has an application run and returns where it answers.
func (l *laboratory) start(app string) string {
	l.t.Helper()
	l.ctl.Forget() // an earlier one's routes
	l.ctl.Publish("dea."+l.id+".start", map[string]any{
		"droplet": app, "name": app, "version": "v", "index": 0, "uris": []string{app + ".example"},
		"sha1": l.droplet.SHA1, "executableUri": l.droplet.URI, "cc_partition": "default",
		"limits": map[string]any{"mem": 64, "disk": 32, "fds": 512}, "services": []any{}, "env": []string{},
	})
	seen := l.ctl.Expect("router.register", soon, rig.With("app", app))
	return fmt.Sprintf("http://127.0.0.1:%v/", seen.Body["port"])
}

func answers(url string) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err == nil {
		err = answer.Body.Close()
	}
	return err
}

// eventually waits for something to become true.
func (l *laboratory) eventually(what string, true func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(late); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("not in %s: %s", late, what)
		}
	}
}

func (l *laboratory) reachable() bool {
	_, err := try[faults.Audit](l, faults.VerbAudit, struct{}{})
	return err == nil
}

func (l *laboratory) whole() bool {
	a, err := try[faults.Audit](l, faults.VerbAudit, struct{}{})
	return err == nil && len(a.Odd) == 0 && len(a.Faults) == 0
}

// A fault that lasts is seen while it does, harms nobody, and is over by itself.
func TestFaultsThatLastDoWhatTheySayAndEnd(t *testing.T) {
	l := newLaboratory(t)
	url := l.start("steady")
	for _, c := range []struct {
		order faults.Order
		seen  func() bool
	}{
		{faults.Order{Fault: "nats-killed"}, func() bool { return !l.reachable() }},
		{faults.Order{Fault: "nats-partitioned", For: faults.Span(4 * time.Second)}, func() bool { return !l.reachable() }},
		{faults.Order{Fault: "nats-slow", Delay: faults.Span(300 * time.Millisecond)}, l.slow},
		{faults.Order{Fault: "nats-duplicated", Rate: 1}, l.twice},
		{faults.Order{Fault: "disk-full"}, func() bool { return l.free().Bavail == 0 }},
		{faults.Order{Fault: "no-inodes"}, func() bool { return l.free().Ffree == 0 }},
		{faults.Order{Fault: "no-descriptors"}, func() bool { return l.status("limits", "Max open files") < 500 }},
		{faults.Order{Fault: "memory-pressure", Size: 200 << 20}, func() bool { return l.status("status", "VmRSS:") > 200<<10 }},
		{faults.Order{Fault: "clock-jumped"}, func() bool { return l.under("clock-jumped") }},
		{faults.Order{Fault: "steps-slow"}, func() bool { return l.under("steps-slow") }},
		{faults.Order{Fault: "steps-fail"}, func() bool { return l.under("steps-fail") }},
		{faults.Order{Fault: "nats-reordered"}, func() bool { return l.under("nats-reordered") }},
		{faults.Order{Fault: "actor-panics", Rate: 1, For: faults.Span(4 * time.Second)}, func() bool { return l.node.said("was made to fail") }},
	} {
		if c.order.For == 0 {
			c.order.For = faults.Span(1500 * time.Millisecond)
		}
		done := l.inject(c.order)
		if done.For != c.order.For {
			t.Errorf("%s: it lasts %s", c.order.Fault, done.For)
		}
		l.eventually(c.order.Fault+" is seen", c.seen)
		if err := answers(url); err != nil {
			t.Errorf("%s: the application does not answer: %v", c.order.Fault, err)
		}
		l.eventually(c.order.Fault+" is over", l.whole)
		if c.order.Fault != "actor-panics" && c.order.Fault != "memory-pressure" && c.seen() {
			t.Errorf("%s is over, and still seen", c.order.Fault)
		}
	}
	if _, ok := l.ctl.Next("droplet.exited", 10*time.Millisecond); ok {
		t.Error("an application crashed by what harms nobody")
	}
}

func (l *laboratory) slow() bool {
	began := time.Now()
	return l.reachable() && time.Since(began) > 500*time.Millisecond // there and back
}

// twice says whether answers come twice.
func (l *laboratory) twice() bool {
	answers, err := l.client.RequestMany(l.t.Context(), dea.SubjectPS, []byte("{}"))
	return err == nil && len(answers) > 1
}

func (l *laboratory) free() (free unix.Statfs_t) {
	if err := unix.Statfs(l.node.state, &free); err != nil {
		l.t.Error(err)
	}
	return free
}

// under says whether the node says that a fault lasts.
func (l *laboratory) under(fault string) bool {
	a, err := try[faults.Audit](l, faults.VerbAudit, struct{}{})
	return err == nil && slices.Contains(a.Faults, fault)
}

// status is the first number of a line of the agent's in /proc.
func (l *laboratory) status(file, line string) int {
	body, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.listing.PID), file))
	if err != nil {
		l.t.Fatal(err)
	}
	for text := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(text, line); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				l.t.Fatal(err)
			}
			return n
		}
	}
	l.t.Fatalf("%s has no %s", file, line)
	return 0
}

// A fault that harms one instance is told as its crash or mended, and another
// instance next to it never notices.
func TestFaultsThatHarmOneAreToldAndHarmNoOther(t *testing.T) {
	l := newLaboratory(t)
	steady := l.start("steady")
	for _, fault := range []string{
		"init-killed", "job-killed", "link-deleted", "group-removed", "state-truncated", "state-flipped",
	} {
		url := l.start("victim")
		victim := l.instance("victim")
		l.ctl.Forget()
		done := l.inject(faults.Order{Fault: fault, Instance: victim})
		if done.Instance != victim {
			t.Fatalf("%s: done to %q, ordered for %q", fault, done.Instance, victim)
		}
		if fault == "link-deleted" { // that can be given back
			l.eventually("the victim is mended", func() bool { return answers(url) == nil })
		} else {
			l.ctl.Expect("droplet.exited", soon, rig.With("instance", victim))
		}
		l.eventually("the node is whole after "+fault, l.whole)
		if err := answers(steady); err != nil {
			t.Errorf("%s: another application does not answer: %v", fault, err)
		}
		l.ctl.Publish("dea.stop", map[string]any{"droplet": "victim"})
		l.eventually("the victim is gone after "+fault, func() bool { return l.instance("victim") == "" })
	}
}

// instance is the id of an application's living instance; empty: none.
func (l *laboratory) instance(app string) string {
	replies, err := l.client.RequestMany(l.t.Context(), dea.SubjectPS, []byte("{}"))
	if err != nil || len(replies) == 0 {
		return "?"
	}
	for _, reply := range replies {
		event, err := dea.DecodeReply(dea.SubjectPS, reply)
		if err != nil {
			l.t.Fatal(err)
		}
		for _, row := range event.(messaging.InstancesListed).Instances {
			if row.Application == app && row.State != messaging.Crashed && row.State != messaging.Stopped {
				return row.Instance
			}
		}
	}
	return ""
}

func TestAFlushedTableComesBackAndPortsAnswerAgain(t *testing.T) {
	l := newLaboratory(t)
	url := l.start("steady")
	l.inject(faults.Order{Fault: "table-flushed"})
	l.eventually("the port answers again", func() bool { return answers(url) == nil })
	l.eventually("the node says what was done to it", func() bool { return l.node.said("nftables table is gone") })
	l.eventually("the node is whole", l.whole)
}

// An agent that is killed in the middle of a fault heals it at its next start.
func TestWhatAKilledAgentLeftOfAFaultIsGoneAtTheNextStart(t *testing.T) {
	l := newLaboratory(t)
	url := l.start("steady")
	l.inject(faults.Order{Fault: "disk-full", For: faults.Span(10 * time.Minute)})
	if free := l.free().Bavail; free != 0 {
		t.Errorf("%d blocks are free", free)
	}
	l.inject(faults.Order{Fault: "agent-killed"})
	l.eventually("another agent answers", func() bool {
		now, err := try[faults.Listing](l, faults.VerbList, struct{}{})
		return err == nil && now.PID != l.listing.PID
	})
	if free := l.free().Bavail; free == 0 {
		t.Error("the disk is still full")
	}
	if err := answers(url); err != nil {
		t.Error(err)
	}
	l.eventually("the node is whole", l.whole)
}

// A drill against an application that its controller doesn't start again says so.
func TestADrillFindsWhatDoesNotComeBack(t *testing.T) {
	l := newLaboratory(t)
	l.start("lonely")
	file := filepath.Join(t.TempDir(), "lonely.hcl")
	scenario := `
duration = "6s"
recovery = "3s"
load { every = "200ms" }
fault "job-killed" { at = "1s" }
`
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "result.json")
	out, err := l.command("chaos", "run", file, "--json-file", data)
	if err == nil || !strings.Contains(out, "lonely/0 did not answer again within 3s after job-killed") ||
		!strings.Contains(out, "these don't run: lonely/0") || !strings.Contains(out, "--seed ") {
		t.Errorf("%v\n%s", err, out)
	}
	body, err := os.ReadFile(data)
	var report drill.Report
	if err = errors.Join(err, json.Unmarshal(body, &report)); err != nil {
		t.Fatal(err)
	}
	if report.Passed || report.Requests.Answered == 0 || report.Requests.Unanswered == 0 || report.Crashes != 1 {
		t.Errorf("%+v", report.Requests)
	}
}

// An agent that was stopped can't go on by itself, and who stopped it may be
// killed before he continues it.
func TestAStoppedAgentGoesOnThoughWhoStoppedItIsKilled(t *testing.T) {
	l := newLaboratory(t)
	url := l.start("steady")
	file := filepath.Join(t.TempDir(), "stop.hcl")
	scenario := `
duration = "1m"
fault "agent-stopped" {
  at  = "1s"
  for = "4s"
}
`
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	drill := exec.Command(rig.Binary(t, "deacon"), "chaos", "run", file)
	drill.Env = append(os.Environ(), "DEACON_NATS="+l.nats.URL)
	if err := drill.Start(); err != nil {
		t.Fatal(err)
	}
	l.eventually("the agent is stopped", l.stopped)
	if err := errors.Join(answers(url), drill.Process.Kill()); err != nil {
		t.Error(err)
	}
	drill.Wait()
	if !l.stopped() {
		t.Error("the agent goes on at once")
	}
	l.eventually("the agent goes on", func() bool { return !l.stopped() && l.reachable() })
}

// stopped says whether the agent's process is.
func (l *laboratory) stopped() bool {
	body, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.listing.PID), "stat"))
	if err != nil {
		l.t.Fatal(err)
	}
	_, state, _ := strings.Cut(string(body), ") ")
	return strings.HasPrefix(state, "T")
}
