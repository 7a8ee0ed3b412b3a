package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/metrics.md; read the difference before you commit it")

var since = time.Date(2026, 11, 24, 18, 29, 5, 0, time.UTC)

// reported is a node with so many instances that run and one that crashed.
func reported(instances int) messaging.Report {
	r := messaging.Report{
		Node: messaging.Node{ID: "n1", Version: "0.1.0"}, Zone: "z1", Component: messaging.Component{Started: since},
		MemoryMiB: messaging.Share{Capacity: 1024, Promised: 256}, DiskMiB: messaging.Share{Capacity: 4096, Promised: 512},
		Slots: messaging.Share{Capacity: 16384, Promised: 3}, Ports: messaging.Share{Capacity: 100, Promised: 2},
		Containers: []string{"c"}, Logged: map[string]uint64{"warn": 2},
		Instances: []messaging.InstanceReport{{Application: "old", Instance: "gone", State: messaging.Crashed}},
	}
	for n := range instances {
		r.Instances = append(r.Instances, messaging.InstanceReport{
			Application: "5d5b1b2e-0f1a-4a0c-9d0e-4c3b2a190817", Instance: fmt.Sprintf("%032x", n), Index: n, Since: since,
			State: messaging.Running, Limits: messaging.ApplicationLimits{MemoryMiB: 64, DiskMiB: 128}, Restarts: 3,
			Usage: &messaging.InstanceUsage{
				MemoryBytes: 33 << 20, DiskBytes: 4096, Processes: 2, OOMKills: 1, CPU: 1500 * time.Millisecond,
				ReceivedBytes: 10, SentBytes: 20,
			},
		})
	}
	return r
}

func sources(r messaging.Report) Sources {
	return Sources{
		Ready: func() error { return nil }, Report: func(context.Context) messaging.Report { return r },
		Actors: func() []kit.Standing {
			return []kit.Standing{
				{Path: "node", Kind: "node", Incarnation: 1}, {Path: "node/a", Kind: "instance", Mailbox: 3},
				{Path: "node/b", Kind: "instance", Mailbox: 5, Failed: true},
			}
		},
		Failures: func() map[string]kit.Tally { return map[string]kit.Tally{"health": {Restarts: 4, GivenUp: 1}} },
		Bus: func() (bus.Stats, bool) {
			return bus.Stats{Connected: true, Connections: 2, Waiting: 7, Lost: 1}, true
		},
		Pressure: func() ([]isolation.Stall, error) {
			return []isolation.Stall{{Scope: "machine", Resource: "io", Kind: "full", Total: 1500 * time.Millisecond}}, nil
		},
	}
}

func full(t testing.TB, instances int) *Metrics {
	t.Helper()
	m := New(sources(reported(instances)), logbook.New().Logger())
	m.Took("create", "clone", 700*time.Microsecond, false)
	m.Took("create", "clone", 40*time.Millisecond, true)
	return m
}

// scrape returns what a scrape says, its comments left out.
func scraped(t testing.TB, m *Metrics, accept string) (http.Header, []string) {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return w.Header(), lines
}

func TestAScrapeTellsWhatIs(t *testing.T) {
	const one = `{app="5d5b1b2e-0f1a-4a0c-9d0e-4c3b2a190817",index="0",instance="00000000000000000000000000000000"} `
	_, got := scraped(t, full(t, 1), "")
	for _, want := range []string{
		`deacon_node_info{node="n1",version="0.1.0",zone="z1"} 1`, "deacon_ready 1",
		"deacon_memory_capacity_bytes 1.073741824e+09", "deacon_memory_reserved_bytes 2.68435456e+08",
		"deacon_memory_used_bytes 3.4603008e+07", "deacon_slots_reserved 3", "deacon_ports_capacity 100",
		`deacon_instances{state="RUNNING"} 1`, `deacon_instances{state="CRASHED"} 1`, `deacon_instances{state="BORN"} 0`,
		"deacon_instance_cpu_seconds_total" + one + "1.5", "deacon_instance_memory_bytes" + one + "3.4603008e+07",
		"deacon_instance_memory_limit_bytes" + one + "6.7108864e+07", "deacon_instance_network_sent_bytes_total" + one + "20",
		"deacon_instance_restarts_total" + one + "3", "deacon_instance_oom_kills_total" + one + "1",
		`deacon_isolation_step_seconds_bucket{operation="create",step="clone",le="0.0005"} 0`,
		`deacon_isolation_step_seconds_bucket{operation="create",step="clone",le="0.001"} 1`,
		`deacon_isolation_step_seconds_count{operation="create",step="clone"} 2`,
		`deacon_isolation_step_failures_total{operation="create",step="clone"} 1`,
		`deacon_actors{kind="instance"} 2`, `deacon_actors_failed{kind="instance"} 1`,
		`deacon_actor_mailbox_messages{kind="instance"} 8`, `deacon_actor_mailbox_longest_messages{kind="instance"} 5`,
		`deacon_actor_restarts_total{kind="health"} 4`, `deacon_actor_restarts_total{kind="instance"} 0`,
		`deacon_actors_given_up_total{kind="health"} 1`,
		"deacon_nats_connected 1", "deacon_nats_connections_total 2", "deacon_nats_outbox_messages 7",
		"deacon_nats_lost_messages_total 1", `deacon_log_messages_total{level="warn"} 2`,
		`deacon_pressure_stalled_seconds_total{kind="full",resource="io",scope="machine"} 1.5`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("a scrape has no line\n%s\namong\n%s", want, strings.Join(got, "\n"))
			return
		}
	}
	for _, line := range got {
		if strings.Contains(line, `instance="gone"`) {
			t.Errorf("an instance that is over has a series: %s", line)
		}
	}
}

// Before the tree is there, what isn't known is missing, and no zero.
func TestANodeThatIsNotReadyTellsWhatItKnows(t *testing.T) {
	m := New(Sources{
		Ready:    func() error { return errors.New("starting") },
		Report:   func(context.Context) messaging.Report { return messaging.Report{} },
		Actors:   func() []kit.Standing { return nil },
		Failures: func() map[string]kit.Tally { return map[string]kit.Tally{} },
		Bus:      func() (stats bus.Stats, ok bool) { return stats, false },
		Pressure: func() ([]isolation.Stall, error) { return nil, errors.New("not yet") },
	}, logbook.New().Logger())
	_, got := scraped(t, m, "")
	if !slices.Contains(got, "deacon_ready 0") {
		t.Errorf("a scrape of a node that isn't ready: %q", got)
	}
	for _, line := range got {
		for _, absent := range []string{"deacon_memory_capacity", "deacon_nats", "deacon_actor", "deacon_pressure"} {
			if strings.HasPrefix(line, absent) {
				t.Errorf("told although nobody knows: %s", line)
			}
		}
	}
}

// An application's id is any bytes that a controller likes.
func TestNoApplicationsNameSpoilsAScrape(t *testing.T) {
	r := reported(0)
	for n, app := range []string{"a\xffb", "a\xfeb", "a\nb\"} 1\ndeacon_ready 0", strings.Repeat("x", 4096), ""} {
		r.Instances = append(r.Instances, messaging.InstanceReport{
			Application: app, Instance: fmt.Sprint(n), State: messaging.Running, Usage: &messaging.InstanceUsage{},
		})
	}
	_, got := scraped(t, New(sources(r), logbook.New().Logger()), "")
	count := 0
	for _, line := range got {
		if strings.HasPrefix(line, "deacon_instance_memory_bytes{") {
			count++
		}
		if line == "deacon_ready 0" {
			t.Error("an application's name became a metric")
		}
	}
	if count != 5 {
		t.Errorf("%d of 5 instances are told of", count)
	}
}

func TestOpenMetricsIsSpokenToWhoAsksForIt(t *testing.T) {
	header, _ := scraped(t, full(t, 1), "application/openmetrics-text; version=1.0.0")
	if got := header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") {
		t.Errorf("answered with %q", got)
	}
	if header, _ = scraped(t, full(t, 1), ""); !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("answered with %q", header.Get("Content-Type"))
	}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	problems, err := testutil.GatherAndLint(full(t, 1).Gather())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// ours are the families that are the node's own.
func ours(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	families, err := full(t, 1).Gather().Gather()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), prefix) })
}

func TestEveryMetricIsTold(t *testing.T) {
	const histogramAndFailures = 2
	if got, want := len(ours(t)), len(all)+histogramAndFailures; got != want {
		t.Errorf("a full scrape has %d metrics, %d are described", got, want)
	}
}

const docs = "../../docs/metrics.md"

// The table of docs/metrics.md is what is registered.
func TestTheDocumentListsEveryMetric(t *testing.T) {
	var table strings.Builder
	table.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range ours(t) {
		var labels []string
		for _, label := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()),
			strings.Join(labels, ", "), f.GetHelp())
	}
	body, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- metrics -->\n", "<!-- /metrics -->"
	head, rest, found := strings.Cut(string(body), begin)
	listed, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no %q", docs, begin)
	}
	if *update {
		if err := os.WriteFile(docs, []byte(head+begin+table.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(table.String(), listed); diff != "" {
		t.Errorf("%s differs from what is registered; go test ./agent/metrics -update (-registered +listed):\n%s", docs, diff)
	}
}

// What a scrape of a full node costs, beside what is measured for it.
func BenchmarkScrape(b *testing.B) {
	m := full(b, 500)
	handler := m.Handler()
	r := httptest.NewRequest("GET", "/metrics", nil)
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

// What a start pays for being timed: ten of these.
func BenchmarkTook(b *testing.B) {
	m := full(b, 0)
	for b.Loop() {
		m.Took("create", "clone", 700*time.Microsecond, false)
	}
}

var _ prometheus.Collector = (*collector)(nil)
