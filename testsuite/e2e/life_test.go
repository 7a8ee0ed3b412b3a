package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestAnApplicationStartsServesAndStops(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	app := s.running("web", map[string]any{"env": []string{"COLOUR=green", "QUOTE=it's \"so\""}})
	if body := app.ask("/"); body != "hello from 0\n" {
		t.Errorf("it answers %q", body)
	}
	beat := s.ctl.Expect("dea.heartbeat", soon, has("droplets", "RUNNING"))
	var heartbeat struct {
		DEA      string
		Droplets []map[string]any
	}
	if err := json.Unmarshal(beat.Raw, &heartbeat); err != nil || heartbeat.DEA != s.id || len(heartbeat.Droplets) != 1 {
		t.Fatalf("heartbeat %s: %v", beat.Raw, err)
	}
	row := heartbeat.Droplets[0]
	if row["droplet"] != "web" || row["version"] != "version-of-web" || row["index"] != 0.0 || row["cc_partition"] != "default" {
		t.Errorf("heartbeat row is %v", row)
	}
	environment := app.ask("/env")
	for _, want := range []string{"COLOUR=green", `QUOTE=it's "so"`, "HOME=/home/vcap/app", "MEMORY_LIMIT=64m",
		"VCAP_APP_HOST=0.0.0.0", "CF_INSTANCE_INDEX=0", `"instance_id":"` + row["instance"].(string)} {
		if !strings.Contains(environment, want) {
			t.Errorf("the environment lacks %q:\n%s", want, environment)
		}
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "web"})
	s.ctl.Expect("router.unregister", soon, rig.With("app", "web"), rig.With("port", app.port))
	s.gone("web")
	app.refuses()
	s.ctl.ExpectNone("droplet.exited", 100*time.Millisecond)
	s.atRest(offer)
}

// has matches a field whose JSON contains text.
func has(field, text string) rig.Match {
	return func(s rig.Seen) bool {
		body, _ := json.Marshal(s.Body[field])
		return strings.Contains(string(body), text)
	}
}

func TestEveryLineIsPublishedWithItsPlace(t *testing.T) {
	s := newStage(t, "")
	app := s.running("talker", map[string]any{"index": 3})
	app.ask("/say", "text", "a line of its own")
	line := s.ctl.Expect("deacon.v1.logs.talker.3", soon, rig.With("text", "a line of its own")).Body
	if line["application"] != "talker" || line["index"] != 3.0 || line["stream"] != "stdout" || line["at"] == "" {
		t.Errorf("the line came as %v", line)
	}
}

func TestFindDropletAnswersWithStats(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	answer, err := s.ctl.Conn.Request("dea.find.droplet",
		[]byte(`{"droplet": "web", "states": ["RUNNING"], "include_stats": true}`), soon)
	if err != nil {
		t.Fatal(err)
	}
	var found struct {
		DEA, Droplet, State string
		Stats               struct {
			Host  string
			Port  int
			Usage struct{ Mem, Disk int64 }
		}
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		t.Fatal(err)
	}
	if found.DEA != s.id || found.State != "RUNNING" || found.Stats.Usage.Mem < 100<<10 || found.Stats.Host != "127.0.0.1" {
		t.Errorf("found %s", answer.Data)
	}
	if answer, err := s.ctl.Conn.Request("dea.find.droplet", []byte(`{"droplet": "nobody"}`), 200*time.Millisecond); err == nil {
		t.Errorf("an unknown droplet was found: %s", answer.Data)
	}
}

func TestTheNodeAnswersForItself(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil).ask("/hog", "mib", "8")
	ask := func(subject, body string) map[string]any {
		t.Helper()
		answer, err := s.ctl.Conn.Request(subject, []byte(body), soon)
		if err != nil {
			t.Fatal(subject, err)
		}
		var m map[string]any
		if err := json.Unmarshal(answer.Data, &m); err != nil {
			t.Fatal(err)
		}
		if m["id"] != s.id || m["ip"] != "127.0.0.1" {
			t.Errorf("%s is answered %s", subject, answer.Data)
		}
		return m
	}
	status := ask("dea.status", "")
	reserved, used := status["reserved_memory"].(float64), status["used_memory"].(float64)
	clients, is := status["num_clients"]
	if !is || clients != nil || used < 8 || reserved < used || status["max_memory"].(float64) < reserved {
		t.Errorf("the status is %v", status)
	}
	described, err := s.ctl.Conn.Request("droplet.status", nil, soon)
	var m struct {
		Name  string
		Usage struct{ Mem int64 }
	}
	if err != nil || json.Unmarshal(described.Data, &m) != nil || m.Name != "web" || m.Usage.Mem < 8<<20 {
		t.Errorf("droplet.status is answered %v, %v", described, err)
	}
	ask("dea.discover", `{"droplet": "web", "limits": {"mem": 16, "disk": 16}}`)
	tooMuch := []byte(`{"droplet": "web", "limits": {"mem": 999999999}}`)
	if answer, err := s.ctl.Conn.Request("dea.discover", tooMuch, 400*time.Millisecond); err == nil {
		t.Errorf("more than there is was found: %s", answer.Data)
	}
	s.ctl.Forget()
	s.ctl.Publish("dea.locate", map[string]any{})
	s.ctl.Expect("dea.advertise", time.Second, rig.With("id", s.id))
}

func TestARouterAndAHealthManagerThatComeUpAreTold(t *testing.T) {
	s := newStage(t, "")
	s.running("web", nil)
	s.ctl.Expect("dea.heartbeat", soon, has("droplets", "RUNNING"))
	s.ctl.Forget()
	s.ctl.Publish("router.start", map[string]any{"id": "r", "hosts": []string{"127.0.0.1"}})
	s.ctl.Expect("router.register", 2*time.Second, rig.With("app", "web"))
	s.ctl.Publish("healthmanager.start", map[string]any{})
	s.ctl.Expect("dea.heartbeat", 2*time.Second, has("droplets", "web"))
}

func TestAStopWhileStartingIsAStop(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	deaf := s.blobs.Add("exec sleep 1000")
	s.start("deaf", deaf, nil)
	s.ctl.Expect("deacon.v1.instance", soon, rig.With("application", "deaf"), rig.With("to", "STARTING"))
	s.stop("deaf")
	s.ctl.ExpectNone("droplet.exited", 100*time.Millisecond)
	s.atRest(offer)
}

func TestTwentyInstancesAtOnce(t *testing.T) {
	s := newStage(t, "")
	const many = 20
	for i := range many {
		s.start("many", s.serve, map[string]any{"index": i, "limits": map[string]any{"mem": 32, "disk": 32, "fds": 256}})
	}
	ports := map[int]bool{}
	for range many {
		app := s.registered("many")
		ports[app.port] = true
		app.ask("/")
	}
	if len(ports) != many {
		t.Errorf("%d instances share %d ports", many, len(ports))
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "many", "indices": []int{0, 1, 2, 3, 4}})
	for range 5 {
		s.gone("many")
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "many"})
	for range many - 5 {
		s.gone("many")
	}
}
