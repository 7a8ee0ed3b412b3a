package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// fleet is two nodes on one NATS, with a router and a client that asks through it.
type fleet struct {
	*stage
	other   *rig.Node
	otherID string
}

// apart keeps the second node's addresses, ports and ids from the first's.
const apart = `network {
  pool       = "10.253.0.0/16"
  port_first = 30000
  port_last  = 32000
}
`

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{stage: newStage(t, "")}
	f.other = rig.StartNode(t, rig.Options{NATS: f.nats.URL, NodeHCL: `uid_base = 2200000000`, Config: sharedDisk + apart})
	f.otherID, _ = f.ctl.Expect("dea.start", soon, func(s rig.Seen) bool { return s.Body["id"] != f.id }).Body["id"].(string)
	return f
}

// endpoint is where a router sends a request.
type endpoint struct {
	Host string
	Port int
}

// router is a stand-in: it knows what router.register and router.unregister say.
type router struct {
	mu    sync.Mutex
	known map[string][]endpoint // by uri
	turn  int
}

func newRouter(t *testing.T, conn *nats.Conn) *router {
	t.Helper()
	r := &router{known: map[string][]endpoint{}}
	hear := func(m *nats.Msg) {
		var route struct {
			endpoint
			URIs []string
		}
		if err := json.Unmarshal(m.Data, &route); err != nil {
			t.Errorf("%s: %s: %v", m.Subject, m.Data, err)
		}
		r.take(m.Subject == "router.register", route.endpoint, route.URIs)
	}
	if _, err := conn.Subscribe("router.*", hear); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *router) take(registers bool, e endpoint, uris []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, uri := range uris {
		r.known[uri] = slices.DeleteFunc(r.known[uri], func(other endpoint) bool { return other == e })
		if registers {
			r.known[uri] = append(r.known[uri], e)
		}
	}
}

// choose is the next endpoint in turn, or an error as a router answers 404.
func (r *router) choose(uri string) (endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[uri]
	if len(known) == 0 {
		return endpoint{}, errors.New("there is no route")
	}
	r.turn++
	return known[r.turn%len(known)], nil
}

// get asks as a router does: where nobody accepts the connection another endpoint is tried.
func (r *router) get(uri, path string) (string, error) {
	var failed error
	for range 3 {
		e, err := r.choose(uri)
		if err != nil {
			return "", errors.Join(failed, err)
		}
		answer, err := client.Get(fmt.Sprintf("http://%s:%d%s", e.Host, e.Port, path))
		if errors.Is(err, syscall.ECONNREFUSED) {
			failed = err
			continue
		}
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered with %s", answer.Status)
		}
		return string(body), err
	}
	return "", failed
}

// askers is how many ask at the same time.
const askers = 4

// ask asks for uri all the time until the returned function is called, which tells
// how many were answered and what went wrong. Somebody always waits for an answer.
func (r *router) ask(uri string) (end func() (answered int, failed []error)) {
	var mu sync.Mutex
	var answered int
	var failed []error
	over := make(chan struct{})
	var all sync.WaitGroup
	once := func() {
		_, err := r.get(uri, "/wait?for=50ms")
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = append(failed, err)
		} else {
			answered++
		}
	}
	for range askers {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					once()
				}
			}
		})
	}
	return func() (int, []error) {
		close(over)
		all.Wait()
		return answered, failed
	}
}

// healthManager is a stand-in for the one thing of it that counts here: what it
// hears to be EVACUATING it has started on another node, and stopped once that runs.
func healthManager(t *testing.T, conn *nats.Conn, start func(app string, index int)) {
	t.Helper()
	type place struct {
		app   string
		index int
	}
	leaving, asked := map[place]string{}, map[place]bool{} // the instance by its place
	hear := func(m *nats.Msg) {
		var beat struct {
			Droplets []struct {
				Droplet, Instance, State string
				Index                    int
			}
		}
		if err := json.Unmarshal(m.Data, &beat); err != nil {
			t.Errorf("%s: %v", m.Data, err)
		}
		for _, d := range beat.Droplets {
			at := place{d.Droplet, d.Index}
			switch old, known := leaving[at]; {
			case d.State == "EVACUATING":
				leaving[at] = d.Instance
				if !asked[at] {
					asked[at] = true
					start(d.Droplet, d.Index)
				}
			case d.State == "RUNNING" && known && d.Instance != old:
				body, _ := json.Marshal(map[string]any{"droplet": d.Droplet, "instances": []string{old}})
				conn.Publish("dea.stop", body)
			}
		}
	}
	if _, err := conn.Subscribe("dea.heartbeat", hear); err != nil {
		t.Fatal(err)
	}
}

// Somebody asks all the time, through a router that believes what it is told: while
// the node is left, the agent is killed and comes again, no request is lost.
func TestAnEvacuationLosesNoRequest(t *testing.T) {
	f := newFleet(t)
	routes := newRouter(t, f.ctl.Conn)
	finishes := map[string]any{"env": []string{"FINISHES=1"}}
	f.running("web", finishes)
	if !f.waits(soon, func() bool { _, err := routes.get("web.example", "/"); return err == nil }) {
		t.Fatal("the router leads nowhere")
	}
	healthManager(t, f.ctl.Conn, func(app string, index int) {
		body, _ := json.Marshal(message(app, f.serve, map[string]any{"index": index, "env": finishes["env"]}))
		f.ctl.Conn.Publish("dea."+f.otherID+".start", body)
	})
	end := routes.ask("web.example")
	f.node.Signal(syscall.SIGUSR2)
	f.ctl.Expect("dea.shutdown", soon, rig.With("id", f.id))
	f.ctl.Expect("droplet.exited", soon, rig.With("droplet", "web"), rig.With("reason", "DEA_EVACUATION"))
	f.ctl.Expect("dea.heartbeat", soon, rig.With("dea", f.id), has("droplets", "EVACUATING"))
	f.node.Kill()
	f.node.Start()
	f.ctl.Expect("dea.heartbeat", soon, rig.With("dea", f.otherID), has("droplets", "RUNNING"))
	if code := f.node.WaitEnd(late); code != 0 {
		t.Errorf("the evacuated agent ended with %d", code)
	}
	answered, failed := end()
	if answered < 100 || len(failed) > 0 {
		t.Errorf("%d requests were answered, %d not: %v", answered, len(failed), errors.Join(failed...))
	}
	if body, err := routes.get("web.example", "/"); err != nil || body != "hello from 0\n" {
		t.Errorf("afterwards %q, %v", body, err)
	}
}

// waits says whether something comes true in time.
func (s *stage) waits(limit time.Duration, holds func() bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

// wire/dea.md a.4, with a real application that goes on.
func TestAnUpdateReroutesWithoutARestart(t *testing.T) {
	s := newStage(t, "")
	routes := newRouter(t, s.ctl.Conn)
	web := s.running("web", map[string]any{"uris": []string{"a.example", "b.example"}})
	before := s.beatOf("web", "")
	s.ctl.Forget()
	s.ctl.Publish("dea.update", map[string]any{
		"droplet": "web", "uris": []string{"b.example", "c.example"}, "version": "another",
	})
	registered := s.ctl.Expect("router.register", soon, rig.With("app", "web"))
	unregistered := s.ctl.Expect("router.unregister", soon, rig.With("app", "web"))
	if !has("uris", `["c.example"]`)(registered) || !has("uris", `["a.example"]`)(unregistered) {
		t.Errorf("registered %s, unregistered %s", registered.Raw, unregistered.Raw)
	}
	updated := s.ctl.Expect("deacon.v1.updated", soon, rig.With("was", before["instance"])).Body
	after := s.beatOf("web", updated["instance"])
	if after["version"] != "another" || after["instance"] != updated["instance"] || after["instance"] == before["instance"] ||
		after["state"] != "RUNNING" {
		t.Errorf("the heartbeat had %v and has %v", before, after)
	}
	if _, err := routes.get("a.example", "/"); err == nil {
		t.Error("a.example still leads somewhere")
	}
	for _, uri := range []string{"b.example", "c.example"} {
		if _, err := routes.get(uri, "/"); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	s.node.Kill()
	s.ctl.Forget()
	s.node.Start()
	registered = s.ctl.Expect("router.register", soon, rig.With("app", "web"))
	if !has("uris", `["b.example","c.example"]`)(registered) {
		t.Errorf("the successor registers %s", registered.Raw)
	}
	s.beatOf("web", after["instance"])
	web.ask("/say", "text", "still here")
	line := s.ctl.Expect("deacon.v1.logs.web.0", soon, rig.With("text", "still here")).Body
	if line["instance"] != after["instance"] {
		t.Errorf("the line came as %v", line)
	}
	s.ctl.Publish("dea.stop", map[string]any{"droplet": "web", "instances": []any{after["instance"]}})
	s.gone("web")
}

// beatOf waits for a heartbeat that has an instance of an application, by its id if
// one is given: a heartbeat may have been on its way for a while.
func (s *stage) beatOf(app string, id any) map[string]any {
	s.t.Helper()
	s.ctl.Publish("healthmanager.start", map[string]any{})
	beat := s.ctl.Expect("dea.heartbeat", soon, has("droplets", `"droplet":"`+app+`"`), has("droplets", fmt.Sprint(id)))
	for _, row := range beat.Body["droplets"].([]any) {
		if row := row.(map[string]any); row["droplet"] == app {
			return row
		}
	}
	return nil
}
