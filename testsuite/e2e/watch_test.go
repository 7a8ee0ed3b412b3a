package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const statusConfig = `status {
  listen   = "127.0.0.1:0"
  user     = "monitor"
  password = "s3cret"
}
`

// see asks the node by HTTP as the component that it announced itself to be.
func see(t testing.TB, component map[string]any, path string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("GET", fmt.Sprint("http://", component["host"], path), nil)
	if err != nil {
		t.Fatal(err)
	}
	who, _ := component["credentials"].([]any)
	r.SetBasicAuth(fmt.Sprint(who[0]), fmt.Sprint(who[1]))
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
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

// A monitor finds the node by NATS alone, and sees its applications.
func TestAMonitorFindsTheNodeAndSeesIt(t *testing.T) {
	s := newStage(t, statusConfig)
	announced := s.ctl.Expect("vcap.component.announce", soon).Body
	if announced["type"] != "DEA" || announced["uuid"] != s.id || announced["index"] != 0.0 {
		t.Errorf("announced %v", announced)
	}
	s.running("web", nil).ask("/hog", "mib", "8")
	answer, err := s.ctl.Conn.Request("vcap.component.discover", nil, soon)
	if err != nil {
		t.Fatal(err)
	}
	var component map[string]any
	if err := json.Unmarshal(answer.Data, &component); err != nil {
		t.Fatal(err)
	}
	if up := fmt.Sprint(component["uptime"]); !strings.HasPrefix(up, "0d:0h:") || component["host"] != announced["host"] {
		t.Errorf("found %s, announced %v", answer.Data, announced)
	}
	if code, body := see(t, component, "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	expectVarz(t, component)
	expectMetrics(t, component)
	component["credentials"] = []any{"monitor", "wrong"}
	for _, path := range []string{"/varz", "/metrics"} {
		if code, _ := see(t, component, path); code != 401 {
			t.Errorf("%s without the password: %d", path, code)
		}
	}
	s.node.Detach()
	if conn, err := net.Dial("tcp", fmt.Sprint(component["host"])); err == nil {
		conn.Close()
		t.Error("the agent has ended, and still listens")
	}
	s.node.Start() // for whoever takes the application down
}

func expectVarz(t *testing.T, component map[string]any) {
	t.Helper()
	code, body := see(t, component, "/varz")
	var varz struct {
		UUID     string                               `json:"uuid"`
		State    string                               `json:"state"`
		Apps     int                                  `json:"num_apps"`
		Max      float64                              `json:"apps_max_memory"`
		Reserved float64                              `json:"apps_reserved_memory"`
		Used     float64                              `json:"apps_used_memory"`
		Held     []string                             `json:"warden_containers"`
		Registry map[string]map[string]map[string]any `json:"instance_registry"`
		Config   map[string]any                       `json:"config"`
	}
	if err := json.Unmarshal([]byte(body), &varz); err != nil || code != 200 {
		t.Fatal(code, body, err)
	}
	if varz.UUID != component["uuid"] || varz.State != "RUNNING" || varz.Apps != 1 || len(varz.Held) != 1 ||
		varz.Used < 8 || varz.Reserved != 64 || varz.Max < varz.Reserved {
		t.Errorf("/varz is %s", body)
	}
	for _, one := range varz.Registry["web"] {
		if one["warden_handle"] != varz.Held[0] || one["state"] != "RUNNING" || one["used_memory_in_bytes"].(float64) < 8<<20 {
			t.Errorf("the registry has %v", one)
		}
	}
	status, _ := varz.Config["status"].(map[string]any)
	if len(varz.Registry["web"]) != 1 || status["user"] != "monitor" || status["password"] != nil {
		t.Errorf("/varz is %s", body)
	}
	if strings.Contains(body, "COLOUR") {
		t.Errorf("an application's environment is in /varz: %s", body)
	}
}

func expectMetrics(t *testing.T, component map[string]any) {
	t.Helper()
	code, body := see(t, component, "/metrics")
	if code != 200 {
		t.Fatal(code, body)
	}
	for _, want := range []string{
		"\ndeacon_ready 1\n", "\ndeacon_nats_connected 1\n", "\ndeacon_memory_reserved_bytes 6.7108864e+07\n",
		"\ndeacon_slots_reserved 1\n", "\ndeacon_instances{state=\"RUNNING\"} 1\n",
		`deacon_instance_memory_limit_bytes{app="web",index="0",`, `deacon_instance_network_sent_bytes_total{app="web",`,
		`deacon_isolation_step_seconds_count{operation="create",step="rootfs"} 1`,
		`deacon_isolation_step_failures_total{operation="create",step="whole"} 0`,
		"\ndeacon_actors{kind=\"instance\"} 1\n", "\ndeacon_actor_restarts_total{kind=\"instance\"} 0\n", "\ngo_goroutines ",
		"\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %q:\n%s", want, body)
		}
	}
}

// Whoever asks for the node's actors sees them all.
func TestActorsAreListedWithoutAskingThem(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	answer, err := s.ctl.Conn.Request("deacon.v1.actors", []byte("{}"), soon)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Node   string `json:"node"`
		Actors []struct {
			Path, Kind  string
			Incarnation int
		} `json:"actors"`
	}
	if err := json.Unmarshal(answer.Data, &list); err != nil || list.Node != s.id {
		t.Fatal(err, string(answer.Data))
	}
	var kinds []string
	for _, a := range list.Actors {
		kinds = append(kinds, a.Kind)
		if a.Incarnation != 1 || !strings.HasPrefix(a.Path, "node") {
			t.Errorf("listed %+v", a)
		}
	}
	for _, want := range []string{"node", "ledger", "instances", "instance", "containers", "container", "job", "output", "health"} {
		if !slices.Contains(kinds, want) {
			t.Errorf("no %s among %q", want, kinds)
		}
	}
}

// A node without the block is as silent as ever.
func TestANodeIsNotWatchedUnlessItSaysSo(t *testing.T) {
	s := newStage(t, "")
	s.ctl.ExpectNone("vcap.component.announce", 200*time.Millisecond)
	if answer, err := s.ctl.Conn.Request("vcap.component.discover", nil, 500*time.Millisecond); err == nil {
		t.Errorf("a node that can't be watched answers %s", answer.Data)
	}
}
