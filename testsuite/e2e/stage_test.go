package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// How long things may take on a busy machine of two cores.
const (
	soon = 15 * time.Second
	late = 45 * time.Second
)

func TestMain(m *testing.M) { rig.Main(m) }

// stage is a node, its NATS server, its controller and a blob store.
type stage struct {
	t     testing.TB
	nats  *rig.NATS
	ctl   *rig.Controller
	blobs *rig.DropletServer
	node  *rig.Node
	id    string // the node's, as it says itself
	serve rig.Droplet
}

// sharedDisk keeps pools small: each test's node has one.
const sharedDisk = `disk { pool_size = "1GiB" }
`

func newStage(t *testing.T, config string) *stage {
	t.Helper()
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, Config: sharedDisk + config})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	return s
}

// meet learns the node's id from its own greeting.
func (s *stage) meet() {
	s.t.Helper()
	s.id, _ = s.ctl.Expect("dea.start", soon).Body["id"].(string)
	if s.id == "" {
		s.t.Fatal("dea.start has no id")
	}
}

var program struct {
	sync.Once
	file rig.File
}

// application is the program that does what a test asks, built once.
func application(t *testing.T) rig.File {
	t.Helper()
	program.Do(func() { program.file = rig.Program(t, "./testsuite/e2e/app", "app") })
	return program.file
}

// message is a start message as a cloud controller sends it.
func message(app string, d rig.Droplet, changes map[string]any) map[string]any {
	m := map[string]any{
		"droplet": app, "name": app, "version": "version-of-" + app, "index": 0,
		"uris": []string{app + ".example"}, "sha1": d.SHA1, "executableUri": d.URI, "executableFile": "deprecated",
		"cc_partition": "default", "limits": map[string]any{"mem": 64, "disk": 128, "fds": 512},
		"services": []any{}, "env": []string{"COLOUR=green"}, "vcap_application": map[string]any{"name": app},
	}
	maps.Copy(m, changes)
	return m
}

// start asks for an instance.
func (s *stage) start(app string, d rig.Droplet, changes map[string]any) {
	s.t.Helper()
	s.ctl.Publish("dea."+s.id+".start", message(app, d, changes))
}

// running starts an instance of the test's own application and waits until the
// router is told of it.
func (s *stage) running(app string, changes map[string]any) *instance {
	s.t.Helper()
	s.start(app, s.serve, changes)
	return s.registered(app)
}

func (s *stage) registered(app string) *instance {
	s.t.Helper()
	seen := s.ctl.Expect("router.register", soon, rig.With("app", app))
	port, _ := seen.Body["port"].(float64)
	return &instance{s: s, app: app, base: fmt.Sprintf("http://127.0.0.1:%d", int(port)), port: int(port)}
}

// crashed waits for the end of an instance and returns what was told of it.
func (s *stage) crashed(app string, limit time.Duration) map[string]any {
	s.t.Helper()
	return s.ctl.Expect("droplet.exited", limit, rig.With("droplet", app)).Body
}

func expectEnd(t *testing.T, exited map[string]any, status int, words string) {
	t.Helper()
	if exited["reason"] != "CRASHED" || exited["exit_status"] != float64(status) || exited["exit_description"] != words {
		t.Errorf("droplet.exited is %v, want CRASHED with %d %q", exited, status, words)
	}
}

// stop asks for the end of an application's instances and waits until our own
// events say that they are gone.
func (s *stage) stop(app string) {
	s.t.Helper()
	s.ctl.Publish("dea.stop", map[string]any{"droplet": app})
	s.gone(app)
}

func (s *stage) gone(app string) {
	s.t.Helper()
	s.ctl.Expect("deacon.v1.instance", late, rig.With("application", app), rig.With("to", "STOPPED"))
}

// atRest wants the node to offer all that it offered at first.
func (s *stage) atRest(offer map[string]any) {
	s.t.Helper()
	s.ctl.Expect("dea.advertise", soon, rig.With("available_memory", offer["available_memory"]),
		rig.With("available_disk", offer["available_disk"]))
}

// offer is what the node has to give before anything runs.
func (s *stage) offer() map[string]any {
	s.t.Helper()
	return s.ctl.Expect("dea.advertise", soon, rig.With("id", s.id)).Body
}

// instance is one that serves.
type instance struct {
	s    *stage
	app  string
	base string
	port int
}

var client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// try asks the application for something.
func (i *instance) try(path string, query ...string) (string, error) {
	values := url.Values{}
	for n := 0; n+1 < len(query); n += 2 {
		values.Set(query[n], query[n+1])
	}
	answer, err := client.Get(i.base + path + "?" + values.Encode())
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func (i *instance) ask(path string, query ...string) string {
	i.s.t.Helper()
	body, err := i.try(path, query...)
	if err != nil {
		i.s.t.Fatalf("%s%s: %v", i.app, path, err)
	}
	return body
}

// refuses wants nobody behind the port.
func (i *instance) refuses() {
	i.s.t.Helper()
	if body, err := i.try("/"); err == nil || !strings.Contains(err.Error(), "refused") {
		i.s.t.Errorf("%s still answers on port %d: %q, %v", i.app, i.port, body, err)
	}
}
