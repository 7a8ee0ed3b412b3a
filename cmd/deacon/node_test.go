package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rogpeppe/go-internal/testscript"
)

// wireNode speaks a node's side of the wire and runs nothing. It knows
// subjects and JSON, and nothing of deacon's code, so that the command line is
// held to the wire. What an application does is told by its start command:
// "listens", "exits N" or "hangs".
type wireNode struct {
	name  string
	fault func(format string, args ...any)
	conn  *nats.Conn
	mu    sync.Mutex
	rows  []map[string]any
	asked int // for usage
}

// startMessage is what a node reads of dea.<id>.start.
type startMessage struct {
	Droplet       string   `json:"droplet"`
	Name          string   `json:"name"`
	Version       string   `json:"version"`
	Index         int      `json:"index"`
	URIs          []string `json:"uris"`
	SHA1          string   `json:"sha1"`
	ExecutableURI string   `json:"executableUri"`
	StartCommand  string   `json:"start_command"`
	Env           []string `json:"env"`
	Limits        struct{ Mem, Disk, Fds int64 }
}

// startNode is "node NAME [MEMORY]" in a script; MEMORY is what it offers, in MiB.
func startNode(ts *testscript.TestScript, _ bool, args []string) {
	n := &wireNode{name: args[0], fault: ts.Logf}
	memory := "4096"
	if len(args) > 1 {
		memory = args[1]
	}
	var err error
	n.conn, err = nats.Connect(ts.Getenv(natsEnv))
	ts.Check(err)
	for subject, take := range map[string]func(*nats.Msg){
		"deacon.v1.ps": n.list, "deacon.v1.logs-tail": n.tail, "dea.stop": n.stop, "dea." + n.name + ".start": n.start,
		"deacon.v1." + n.name + ".evacuate": n.evacuate, "deacon.v1.actors": n.actors,
		"deacon.v1.usage": n.usage,
	} {
		_, err := n.conn.Subscribe(subject, take)
		ts.Check(err)
	}
	ts.Check(n.conn.Flush())
	done := make(chan struct{})
	go n.advertise(memory, done)
	ts.Defer(func() {
		close(done)
		n.conn.Close()
	})
}

func (n *wireNode) advertise(memory string, done <-chan struct{}) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		n.conn.Publish("dea.advertise", fmt.Appendf(nil, `{"id":%q,"stacks":["host"],"available_memory":%s,`+
			`"available_disk":8192,"app_id_to_count":{},"placement_properties":{"zone":"default"}}`, n.name, memory))
		select {
		case <-again.C:
		case <-done:
			return
		}
	}
}

func (n *wireNode) tell(subject string, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		n.fault("node: %v", err)
		return
	}
	n.conn.Publish(subject, data)
}

func (n *wireNode) list(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(m.Reply, map[string]any{"node": n.name, "instances": n.rows})
}

// actors answers in two pieces: a tree with a part that fell twice and one that is down.
func (n *wireNode) actors(m *nats.Msg) {
	actor := func(path, kind string, incarnation, mailbox int, failed bool) map[string]any {
		return map[string]any{"path": path, "kind": kind, "incarnation": incarnation, "mailbox": mailbox, "failed": failed}
	}
	n.tell(m.Reply, map[string]any{"node": n.name, "actors": []any{
		actor("node/instances/i1", "instance", 3, 0, false), actor("node", "node", 1, 0, false),
	}})
	n.tell(m.Reply, map[string]any{"node": n.name, "actors": []any{
		actor("node/ledger", "ledger", 1, 12, true), actor("node/instances", "instances", 1, 0, false),
	}})
}

// tail answers, and right behind it the application goes on writing.
func (n *wireNode) tail(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var question struct{ Application string }
	json.Unmarshal(m.Data, &question)
	for _, row := range n.rows {
		if row["application"] == question.Application {
			old := n.line(row, "an old line")
			n.tell(m.Reply, map[string]any{"lines": []any{old}})
			subject := fmt.Sprintf("deacon.v1.logs.%s.%d", row["application"], row["index"])
			n.tell(subject, old) // the follower is behind the tail
			n.tell(subject, n.line(row, "a new line"))
		}
	}
}

func (n *wireNode) line(row map[string]any, text string) map[string]any {
	return map[string]any{"application": row["application"], "instance": row["instance"], "index": row["index"],
		"stream": "stdout", "at": time.Now(), "text": text}
}

// start is the life of an application in one go.
func (n *wireNode) start(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var start startMessage
	if err := json.Unmarshal(m.Data, &start); err != nil {
		n.fault("node: %v", err)
		return
	}
	row := map[string]any{
		"application": start.Droplet, "name": start.Name, "version": start.Version,
		"instance": fmt.Sprintf("instance-%s-%d", start.Name, start.Index), "container": "c", "index": start.Index,
		"state": "STARTING", "since": time.Now(), "uris": start.URIs, "host": "192.0.2.1", "port": 20000 + start.Index,
		"exit_status": -1, "description": "",
	}
	if len(start.URIs) == 0 {
		row["port"] = 0
	}
	n.rows = append(n.rows, row)
	n.change(row, "STARTING", -1, "")
	if err := check(start); err != nil {
		n.fault("node: %v", err)
		n.change(row, "CRASHED", -1, "failed to start")
		return
	}
	n.tell(fmt.Sprintf("deacon.v1.logs.%s.%d", start.Droplet, start.Index),
		n.line(row, fmt.Sprintf("env %v mem %d", start.Env, start.Limits.Mem)))
	var status int
	switch _, err := fmt.Sscanf(start.StartCommand, "exits %d", &status); {
	case err == nil:
		n.change(row, "RUNNING", -1, "")
		n.change(row, "CRASHED", status, "app instance exited")
	case start.StartCommand != "hangs":
		n.change(row, "RUNNING", -1, "")
	}
}

// check fetches the droplet as a node would.
func check(start startMessage) error {
	response, err := http.Get(start.ExecutableURI)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum := sha1.New()
	if _, err := io.Copy(sum, response.Body); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != start.SHA1 {
		return fmt.Errorf("the droplet of %s has digest %s, not %s", start.Name, got, start.SHA1)
	}
	return nil
}

func (n *wireNode) change(row map[string]any, to string, status int, description string) {
	from := row["state"]
	row["state"], row["exit_status"], row["description"] = to, status, description
	n.tell("deacon.v1.instance", map[string]any{
		"node": n.name, "application": row["application"], "instance": row["instance"], "index": row["index"],
		"from": from, "to": to, "exit_status": status, "signal": "", "description": description, "at": time.Now(),
	})
}

// evacuate hands nothing over: whoever plays the controller stops what is there.
func (n *wireNode) evacuate(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var question struct {
		Within int `json:"within_seconds"`
	}
	json.Unmarshal(m.Data, &question)
	live := 0
	for _, row := range n.rows {
		if row["state"] != "CRASHED" {
			live++
			n.change(row, "EVACUATING", -1, "")
		}
	}
	n.tell(m.Reply, map[string]any{"node": n.name, "instances": live,
		"by": time.Now().Add(time.Duration(question.Within) * time.Second)})
}

func (n *wireNode) stop(m *nats.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var filter struct {
		Droplet   string
		Instances []string
	}
	if err := json.Unmarshal(m.Data, &filter); err != nil {
		n.fault("node: %v", err)
		return
	}
	n.rows = slices.DeleteFunc(n.rows, func(row map[string]any) bool {
		hit := row["application"] == filter.Droplet && row["state"] != "CRASHED" &&
			slices.Contains(filter.Instances, row["instance"].(string))
		if hit {
			n.change(row, "STOPPED", 0, "")
		}
		return hit
	})
}
