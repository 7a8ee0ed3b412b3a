package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// node is the whole of deacon: the real agent as a process of its own, asked
// over NATS in the DEA's words by a controller that knows nothing else.
type node struct {
	s       *stand
	ctl     *rig.Controller
	agent   *rig.Node
	id      string
	socket  string // Warden's
	droplet rig.Droplet
	made    int
}

const nodeName = "deacon agent, over NATS"

// nodeMax is how long anything that was asked of the node may take.
const nodeMax = 60 * time.Second

// nodeConfig gives room for the idle containers; everything else that has to do
// with speed or safety is as it is by default. Steps are told at level debug.
const nodeConfig = `
warden {
  socket           = %q
  job_output_limit = %q
}
resources {
  memory_overcommit = 8.0
  disk_overcommit   = 8.0
}
disk { pool_size = "8GiB" }
log {
  level  = "debug"
  format = "json"
}
`

func newNode(s *stand, shop *workshop) *node {
	n := &node{s: s, socket: filepath.Join(shop.folder, "w.sock")}
	nats := rig.StartNATS(s)
	n.ctl = rig.NewController(s, nats.URL)
	n.agent = rig.StartNode(s, rig.Options{NATS: nats.URL, Config: fmt.Sprintf(nodeConfig, n.socket, wardenOutputMax)})
	n.id, _ = n.ctl.Expect("dea.start", nodeMax).Body["id"].(string)
	body, err := os.ReadFile(filepath.Join(shop.rootfs, "bin", "ready"))
	s.must(err)
	n.droplet = rig.NewDropletServer(s).Add("./ready", rig.File{Name: "ready", Body: body, Mode: 0o755})
	return n
}

func (n *node) name() string { return nodeName }

// begin asks for one instance and returns its application's name. The name is
// in its environment too, by which its process is known.
func (n *node) begin() string {
	n.made++
	app := fmt.Sprintf("bench-%d", n.made)
	n.ctl.Publish("dea."+n.id+".start", map[string]any{
		"droplet": app, "name": app, "version": "1", "index": 0, "uris": []string{app + ".example"},
		"sha1": n.droplet.SHA1, "executableUri": n.droplet.URI, "executableFile": "deprecated", "cc_partition": "default",
		"limits": map[string]any{"mem": 128, "disk": 64, "fds": 1024}, "services": []any{}, "env": []string{},
		"vcap_application": map[string]any{"application_id": app},
	})
	return app
}

// firstByte is what the application wrote, as the node publishes it.
func (n *node) firstByte(app string) (moment, error) {
	line := n.ctl.Expect("deacon.v1.logs."+app+".0", nodeMax, rig.With("stream", "stdout"))
	text, _ := line.Body["text"].(string)
	return parseMoment(text)
}

// registered waits until the router is told of the application.
func (n *node) registered(app string) (address string, seen time.Time) {
	told := n.ctl.Expect("router.register", nodeMax, rig.With("app", app))
	return fmt.Sprintf("%v:%v", told.Body["host"], told.Body["port"]), told.At
}

func (n *node) trial() (trial, error) {
	n.ctl.Forget()
	begun, begunAt := now(), time.Now()
	app := n.begin()
	address, seen := n.registered(app)
	spoke, err := n.firstByte(app)
	if err != nil {
		return trial{}, err
	}
	t := trial{firstByte: spoke.since(begun), registered: seen.Sub(begunAt), steps: n.lastSteps()}
	if len(t.steps) == 0 {
		return trial{}, errors.New("the agent's log doesn't tell the steps of \"container made\"")
	}
	// The box's own account ends with the whole of it.
	t.steps = append(t.steps, isolation.Timing{
		Step: "beyond the box", Took: t.firstByte - t.steps[len(t.steps)-1].Took,
	})
	if err := answers(address); err != nil {
		return trial{}, err
	}
	pid, err := processOf(app)
	if err != nil {
		return trial{}, err
	}
	inside, err := processesWith(pid)
	if err != nil {
		return trial{}, err
	}
	defer inside.close()

	asked := now()
	n.end(app)
	if err := errors.Join(inside.wait(nodeMax), untilRefused(address)); err != nil {
		return trial{}, err
	}
	t.gone = now().since(asked)
	return t, n.rest()
}

func (n *node) end(app string) { n.ctl.Publish("dea.stop", map[string]any{"droplet": app}) }

// rest waits until the node has given everything back: the folder of a
// container is the last that goes.
func (n *node) rest() error {
	for deadline := time.Now().Add(nodeMax); ; time.Sleep(2 * time.Millisecond) {
		ids, err := n.containers()
		if err != nil || len(ids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the node still has %d containers %s after their end", len(ids), nodeMax)
		}
	}
}

func (n *node) containers() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(n.agent.State, "s", "containers"))
	var ids []string
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids, err
}

func untilRefused(address string) error {
	deadline := time.Now().Add(nodeMax)
	for {
		err := refuses(address)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// lastSteps are what the agent's log says of the last container that it made.
func (n *node) lastSteps() []isolation.Timing {
	log := n.agent.Log()
	at := strings.LastIndex(log, `"container made"`)
	if at < 0 {
		return nil
	}
	begin := strings.LastIndexByte(log[:at], '\n') + 1
	line, _, _ := strings.Cut(log[begin:], "\n")
	var said struct{ Steps string }
	if json.Unmarshal([]byte(line), &said) != nil {
		return nil
	}
	var steps []isolation.Timing
	for _, word := range strings.Fields(said.Steps) {
		name, text, _ := strings.Cut(word, "=")
		if took, err := time.ParseDuration(text); err == nil {
			steps = append(steps, isolation.Timing{Step: name, Took: took})
		}
	}
	return steps
}

// processOf finds the process that has the application's id in its environment.
func processOf(app string) (pid int, err error) {
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return 0, err
	}
	for _, file := range environments {
		content, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(content), `"`+app+`"`) {
			continue
		}
		if _, err := fmt.Sscanf(file, "/proc/%d/environ", &pid); err != nil {
			return 0, err
		}
		return pid, nil
	}
	return 0, fmt.Errorf("no process has %s in its environment: %w", app, syscall.ESRCH)
}

// rate asks for all containers at once; how many are in flight is the node's
// own choice (starts_max). The clock stops at the last one's first byte.
func (n *node) rate(b batch) (float64, error) {
	n.ctl.Forget()
	begun := now()
	var apps []string
	for range b.total {
		apps = append(apps, n.begin())
	}
	last := begun
	for _, app := range apps {
		spoke, err := n.firstByte(app)
		if err != nil {
			return 0, err
		}
		last = max(last, spoke)
	}
	for _, app := range apps {
		n.end(app)
	}
	return float64(b.total) / last.since(begun).Seconds(), n.rest()
}
