package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// docs/permissions.conf is enough for everybody it names, and for nothing beyond: a
// real server with it, a node, and who may do what.
func TestThePermissionsThatAreDocumented(t *testing.T) {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		t.Fatal("Debian's package nats-server is missing; `make setup` installs it")
	}
	url := permitNATS(t, program, "one")
	as := func(user string) string {
		return strings.Replace(url, "nats://", "nats://"+user+":change-me-"+user+"@", 1)
	}
	s := &stage{t: t, blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, as("everybody"))
	s.node = rig.StartNode(t, rig.Options{NATS: url, NodeHCL: `id = "one"`, Config: sharedDisk, NATSHCL: `
  user     = "node"
  password = "change-me-node"`})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	controller := permitted(t, as("controller"))
	start := message("web", s.serve, nil)
	if err := controller.publish("dea.one.start", start); err != nil {
		t.Fatal("the controller may not start:", err)
	}
	app := s.registered("web")
	instance := s.instanceOf("web")
	deacon := func(user string, args ...string) (string, int) {
		command := exec.Command(rig.Binary(t, "deacon"), args...)
		command.Env = append(os.Environ(), "DEACON_NATS="+as(user))
		var out bytes.Buffer
		command.Stdout, command.Stderr = &out, &out
		command.Run()
		return out.String(), command.ProcessState.ExitCode()
	}
	inbox := []string{"--nats-inbox", "_INBOX_operator"}
	if out, code := deacon("operator", append([]string{"exec", "web"}, append(inbox, "--", "echo", "inside")...)...); out != "inside\n" {
		t.Errorf("the operator's command: %q, %d", out, code)
	}
	if out, code := deacon("watcher", "ps"); code != 0 || !strings.Contains(out, "RUNNING") {
		t.Errorf("the watcher's deacon ps: %q, %d", out, code)
	}
	if out, code := deacon("watcher", "exec", "web", "--", "touch", "/tmp/entered"); code == 0 {
		t.Errorf("the watcher is inside: %q", out)
	}
	if found := app.ask("/run", "sh", "ls /tmp/entered"); !strings.Contains(found, "No such file") {
		t.Errorf("the watcher was inside: %q", found)
	}
	nobodyOversteps(t, as, map[string]any{"instance": instance, "command": []string{"true"}, "output": "_INBOX.x"})
	if err := controller.publish("dea.stop", map[string]any{"droplet": "web"}); err != nil {
		t.Error("the controller may not stop:", err)
	}
	s.gone("web")
	if log := s.node.Log(); strings.Contains(strings.ToLower(log), "permissions violation") {
		t.Errorf("the node wants what it may not:\n%s", log)
	}
}

// nobodyOversteps tries what each user may not say, and may not hear.
func nobodyOversteps(t *testing.T, as func(user string) string, request map[string]any) {
	t.Helper()
	for user, forbidden := range map[string][]string{
		"controller": {"deacon.v1.one.exec", "deacon.v1.one.exec.0123", "deacon.v1.one.evacuate", "dea.heartbeat", "deacon.v1.instance"},
		"watcher":    {"deacon.v1.one.exec", "deacon.v1.one.exec.0123", "deacon.v1.one.evacuate", "dea.stop", "dea.one.start"},
		"operator":   {"dea.one.start", "dea.stop", "droplet.exited", "router.register"},
		"node":       {"dea.stop", "dea.two.start", "deacon.v1.two.exec", "deacon.v1.one.exec", "droplet.status", "router.start"},
	} {
		conn := permitted(t, as(user))
		for _, subject := range forbidden {
			if err := conn.publish(subject, request); err == nil {
				t.Errorf("%s may say %s", user, subject)
			}
		}
	}
	for user, forbidden := range map[string][]string{
		"controller": {"deacon.v1.>", "deacon.v1.one.exec", "_INBOX_operator.>", ">"},
		"watcher":    {"deacon.v1.>", "deacon.v1.*.exec.*", "_INBOX_operator.>", "_INBOX_one.>", ">"},
		"operator":   {"deacon.v1.one.exec", "deacon.v1.one.exec.*", "_INBOX.>", ">"},
		"node":       {"dea.two.start", "deacon.v1.two.exec", "deacon.v1.*.exec.*", "_INBOX.>", "_INBOX_operator.>", ">"},
	} {
		conn := permitted(t, as(user))
		for _, subject := range forbidden {
			if err := conn.subscribe(subject); err == nil {
				t.Errorf("%s may hear %s", user, subject)
			}
		}
	}
}

// permitNATS runs a server with the documented permissions, for the node of that
// id, and one user more who may do everything.
func permitNATS(t *testing.T, program, node string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/permissions.conf")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	included := strings.ReplaceAll(string(text), "_INBOX_NODE", "_INBOX_"+node)
	included = strings.ReplaceAll(strings.ReplaceAll(included, ".NODE.", "."+node+"."), "users = [",
		"users = [\n{ user: everybody, password: \"change-me-everybody\" }")
	if err := os.WriteFile(filepath.Join(folder, "permissions.conf"), []byte(included), 0o600); err != nil {
		t.Fatal(err)
	}
	return "nats://" + runNATS(t, program, folder, "authorization { include permissions.conf }")
}

// asker is a connection that tells what it may not do.
type asker struct {
	*nats.Conn
	refused chan error
}

func permitted(t *testing.T, url string) asker {
	t.Helper()
	a := asker{refused: make(chan error, 64)}
	var err error
	a.Conn, err = nats.Connect(url, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { a.refused <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func (a asker) publish(subject string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if err := a.Publish(subject, text); err != nil {
		return err
	}
	return a.answered()
}

func (a asker) subscribe(subject string) error {
	sub, err := a.SubscribeSync(subject)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	return a.answered()
}

// answered is the server's refusal: it comes before the answer to a ping that was
// sent later, and is handed over a moment after.
func (a asker) answered() error {
	if err := a.Flush(); err != nil {
		return err
	}
	select {
	case err := <-a.refused:
		return err
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
