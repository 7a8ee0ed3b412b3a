package status

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before you commit it")

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// node is what a door shows in these tests.
type node struct {
	reason atomic.Pointer[error]
	report messaging.Report
	scrape func(w http.ResponseWriter, r *http.Request)
}

func (n *node) ready() error {
	if err := n.reason.Load(); err != nil {
		return *err
	}
	return nil
}

func (n *node) open(t *testing.T, c Config) *Door {
	t.Helper()
	c.Listen, c.User, c.Password, c.Log = anyPort, "monitor", "s3cret", logbook.New().Logger()
	d, err := Open(c, Sources{
		Ready: n.ready, Report: func(context.Context) messaging.Report { return n.report },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.scrape != nil {
				n.scrape(w, r)
				return
			}
			io.WriteString(w, "up 1\n")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

// ask returns the status and the body; who is "user:password", or empty.
func (d *Door) ask(t *testing.T, method, path, who string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+d.Address().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user, password, given := strings.Cut(who, ":"); given {
		r.SetBasicAuth(user, password)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestHealthIsOkOrAReason(t *testing.T) {
	n := &node{}
	d := n.open(t, Config{})
	if code, body := d.ask(t, "GET", "/healthz", ""); code != 200 || body != "ok\n" {
		t.Errorf("a node that is ready answers %d %q", code, body)
	}
	why := errors.New("the node is leaving")
	n.reason.Store(&why)
	if code, body := d.ask(t, "GET", "/healthz", ""); code != 503 || body != "the node is leaving\n" {
		t.Errorf("a node that is not ready answers %d %q", code, body)
	}
}

func TestWhoMaySeeWhat(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		d := (&node{}).open(t, Config{GuardMetrics: guarded})
		metrics := 200
		if guarded {
			metrics = 401
		}
		for _, c := range []struct {
			method, path, who string
			want              int
		}{
			{"GET", "/varz", "", 401}, {"GET", "/varz", "monitor:", 401}, {"GET", "/varz", ":s3cret", 401},
			{"GET", "/varz", "monitor:s3cre", 401}, {"GET", "/varz", "monitor:s3cret ", 401},
			{"GET", "/varz", "monitor:s3cret", 200}, {"GET", "/metrics", "monitor:s3cret", 200},
			{"GET", "/metrics", "", metrics}, {"GET", "/healthz", "", 200}, {"HEAD", "/healthz", "", 200},
			{"POST", "/healthz", "", 405}, {"PUT", "/varz", "monitor:s3cret", 405}, {"DELETE", "/metrics", "", 405},
			{"GET", "/", "monitor:s3cret", 404}, {"GET", "/varz/x", "monitor:s3cret", 404},
			{"GET", "/debug/pprof/", "monitor:s3cret", 404},
		} {
			if got, body := d.ask(t, c.method, c.path, c.who); got != c.want {
				t.Errorf("guarded %t: %s %s as %q: %d %q, want %d", guarded, c.method, c.path, c.who, got, body, c.want)
			}
		}
	}
}

var since = time.Date(2026, 11, 24, 18, 29, 5, 250_000_000, time.UTC)

func example() messaging.Report {
	one := messaging.InstanceReport{
		Partition: "default", Application: "app-1", Name: "guestbook", Version: "v1", Instance: "i1",
		PrivateInstance: "p1", Container: "04k9r8m2q1d", DropletSHA1: "0f", Stack: "host", Index: 1,
		State: messaging.Running, Since: since, URIs: []string{"g.example"},
		Limits: messaging.ApplicationLimits{MemoryMiB: 256, DiskMiB: 512, Files: 1024}, Port: 20017, Restarts: 3,
		Usage: &messaging.InstanceUsage{
			MemoryBytes: 33 << 20, DiskBytes: 4096, Processes: 2, CPU: time.Minute, CPUShare: 0.25,
		},
	}
	crashed := one
	crashed.Instance, crashed.Index, crashed.State, crashed.Usage, crashed.Port = "i0", 0, messaging.Crashed, nil, 0
	return messaging.Report{
		Component: messaging.Component{
			Type: "DEA", Index: 3, UUID: "0-5f", Address: netip.MustParseAddrPort("192.0.2.7:34501"), User: "monitor",
			Password: "s3cret", Started: since.Add(-62 * time.Second),
		},
		At: since, Stacks: []string{"host"}, MemoryMiB: messaging.Share{Capacity: 1024, Promised: 256},
		DiskMiB:   messaging.Share{Capacity: 4096, Promised: 512},
		Instances: []messaging.InstanceReport{crashed, one}, Containers: []string{"04k9r8m2q1d"},
		Logged: map[string]uint64{"info": 7, "warn": 1},
		Agent:  messaging.AgentUsage{Cores: 2, CPUPercent: 1.5, MemoryBytes: 50 << 20},
		Config: map[string]any{"node": map[string]any{"zone": "z1"}},
	}
}

// The golden file has both generations' fields; an idle node has every one of them
// too, and nothing that is null.
func TestVarzIsWhatADEATold(t *testing.T) {
	n := &node{report: example()}
	_, body := n.open(t, Config{}).ask(t, "GET", "/varz", "monitor:s3cret")
	if *update {
		if err := os.WriteFile("testdata/varz.json", []byte(body+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/varz.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), body+"\n"); diff != "" {
		t.Error("/varz differs from testdata/varz.json (-want +got):\n", diff)
	}
	idle := messaging.Report{Config: map[string]any{}, Logged: map[string]uint64{}}
	_, body = (&node{report: idle}).open(t, Config{}).ask(t, "GET", "/varz", "monitor:s3cret")
	var full, empty map[string]any
	if err := errors.Join(json.Unmarshal(want, &full), json.Unmarshal([]byte(body), &empty)); err != nil {
		t.Fatal(err)
	}
	for key := range full {
		if empty[key] == nil {
			t.Errorf("an idle node has %s %v", key, empty[key])
		}
	}
}

// Whoever connects and says nothing, says too much, or says it slowly is let go.
func TestHostileClientsAreLetGo(t *testing.T) {
	d := (&node{}).open(t, Config{})
	for what, sent := range map[string]string{
		"a header without end": "GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 2*headerMax) + "\r\n\r\n",
		"no HTTP":              "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
		"a long body":          "GET /varz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n123456789",
		"a path that climbs":   "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", d.Address().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(2 * readMax))
		io.WriteString(conn, sent)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode < 300 {
			t.Errorf("%s: %v, %v", what, answer, err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays", what)
		}
		conn.Close()
	}
	silent, err := net.Dial("tcp", d.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	silent.SetDeadline(time.Now().Add(3 * readMax))
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Errorf("who says nothing keeps the connection: %v", err)
	}
}

// More scrapes than answersAtAll are told to come again, and a health check isn't
// kept waiting by them.
func TestManyScrapesHoldUpNobody(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	n := &node{scrape: func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release }}
	d := n.open(t, Config{})
	answers := make(chan int, answersAtAll)
	for range answersAtAll {
		go func() {
			answer, err := http.Get("http://" + d.Address().String() + "/metrics")
			if err != nil {
				answers <- 0
				return
			}
			answer.Body.Close()
			answers <- answer.StatusCode
		}()
		<-begun
	}
	if code, _ := d.ask(t, "GET", "/metrics", ""); code != 503 {
		t.Errorf("one scrape too many: %d", code)
	}
	if code, _ := d.ask(t, "GET", "/healthz", ""); code != 200 {
		t.Errorf("the health check is kept out by scrapes: %d", code)
	}
	close(release)
	for range answersAtAll {
		if code := <-answers; code != 200 {
			t.Errorf("a scrape: %d", code)
		}
	}
}

func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	d := (&node{}).open(t, Config{})
	if _, err := Open(Config{Listen: d.Address(), Log: logbook.New().Logger()}, Sources{}); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprint(d.Address())) {
		t.Errorf("error %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET /varz HTTP/1.0\r\nAuthorization: Basic bW9uaXRvcjpzM2NyZXQ=\r\n\r\n"))
	f.Add([]byte("GET /varz HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ====\r\n\r\n"))
	n := &node{report: example()}
	d := &Door{
		config:  Config{User: "monitor", Password: "s3cret", Log: logbook.New().Logger()},
		sources: Sources{Ready: n.ready, Report: func(context.Context) messaging.Report { return n.report }, Metrics: http.NotFoundHandler()},
		places:  make(chan struct{}, answersAtAll),
	}
	routes := d.routes()
	f.Fuzz(func(t *testing.T, sent []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(sent)))
		if err != nil {
			return
		}
		w := &written{header: http.Header{}, code: 200}
		routes.ServeHTTP(w, r)
		user, password, _ := r.BasicAuth()
		known := user == "monitor" && password == "s3cret"
		if strings.Contains(w.body.String(), "private_instance_id") && !known {
			t.Errorf("%q is shown the node's account", sent)
		}
		if len(d.places) != 0 {
			t.Fatalf("%q keeps a place", sent)
		}
	})
}

// written is an answer as httptest.ResponseRecorder keeps it, without its checks.
type written struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (w *written) Header() http.Header         { return w.header }
func (w *written) WriteHeader(code int)        { w.code = code }
func (w *written) Write(b []byte) (int, error) { return w.body.Write(b) }
