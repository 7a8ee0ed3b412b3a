package agent

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging"
)

func TestTheConfigurationIsToldWithoutSecrets(t *testing.T) {
	t.Setenv("DEACON_TEST_PASSWORD", "hunter2")
	c, err := LoadConfig("testdata/config/everything.hcl")
	if err != nil {
		t.Fatal(err)
	}
	c.NATS.Servers = append(c.NATS.Servers, "nats://user:hunter2@h:4222", "nats://hunter2@h", "://hunter2")
	c.NATS.Token, c.NATS.NkeyFile, c.NATS.CredsFile, c.Status.Password = "hunter2", "/hunter2", "/hunter2", "hunter2"
	body, err := json.Marshal(c.told())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), "hunter2") || strings.Contains(string(body), "/c/key.pem") {
		t.Errorf("a secret is told: %s", body)
	}
	for _, want := range []string{
		`"heartbeat":"9s"`, `"on_usr2":"detach"`, `"uid_base":2000000`, `"servers":["tls://a:4222","nats://b","nats://h:4222","nats://h",""]`,
		`"pool":"10.9.0.0/20"`, `"memory_to_cpu_share_ratio":4`, `"stacks":[{"name":"lucid64","path":"/stacks/lucid64"}`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
}

func TestRestartsAreCountedByIndex(t *testing.T) {
	var r restarts
	change := func(app string, index int, to messaging.State) {
		r.see(messaging.InstanceChanged{Application: app, Index: index, To: to})
	}
	for range 3 {
		change("a", 0, messaging.Starting)
		change("a", 0, messaging.Running)
		change("a", 0, messaging.Crashed)
	}
	change("a", 1, messaging.Starting)
	for want, c := range map[uint64]indexed{2: {"a", 0}, 0: {"a", 1}} {
		if got := r.before(c.application, c.index); got != want {
			t.Errorf("%v was started %d times before, want %d", c, got, want)
		}
	}
	if got := r.before("b", 0); got != 0 {
		t.Errorf("one that never was has %d", got)
	}
	for n := range 2 * restartsMax {
		change("many", n, messaging.Starting)
	}
	if got := len(r.starts); got > restartsMax {
		t.Errorf("%d are remembered", got)
	}
}

func TestWhatIsLoggedIsCountedByLevel(t *testing.T) {
	var out bytes.Buffer
	log := newLog(Log{Level: "info"}, &out, time.Now)
	c := countLog(log)
	log.Info("one")
	log.Named("part").With("a", 1).Warn("two")
	log.Debug("not logged")
	c.close()
	log.Error("not counted")
	got := c.counts()
	if got["info"] != 1 || got["warn"] != 1 || got["debug"] != 0 || got["error"] != 0 {
		t.Errorf("counted %v", got)
	}
	if countLog(hclog.NewNullLogger()).counts()["info"] != 0 {
		t.Error("a logger that can't be listened to is counted")
	}
}

func TestANodeIsReachedWhereItIsAndNotEverywhere(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.7")
	for listens, want := range map[string]string{
		"0.0.0.0:1": "192.0.2.7:1", "[::]:1": "192.0.2.7:1", "127.0.0.1:2": "127.0.0.1:2", "10.0.0.1:3": "10.0.0.1:3",
	} {
		if got := reachable(netip.MustParseAddrPort(listens), node); got.String() != want {
			t.Errorf("%s: %s, want %s", listens, got, want)
		}
	}
}

func TestCredentialsAreConfiguredOrDrawn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	user, password, drawn, err := (Status{User: "m", PasswordFile: file}).Login()
	if user != "m" || password != "s3cret" || drawn || err != nil {
		t.Errorf("%s %s %t %v", user, password, drawn, err)
	}
	_, first, drawn, err := Status{}.Login()
	_, second, _, _ := Status{}.Login()
	if !drawn || err != nil || len(first) < 32 || first == second {
		t.Errorf("drawn %q and %q, %v", first, second, err)
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Status{{User: "m", PasswordFile: file}, {User: "m", PasswordFile: file + ".gone"}} {
		if _, _, _, err := s.Login(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("error is %v", err)
		}
	}
}
