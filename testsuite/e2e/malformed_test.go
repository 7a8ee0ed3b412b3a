package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// malformed are ten kinds of bytes that are no message; more, with the exact
// reasons, stand beside the decoders (messaging/dea).
var malformed = []string{
	``, `{`, `[]`, `null`, `"droplet"`, `{"droplet": {}}`, `{"droplet": ["a"]}`, `{"droplet": ""}`,
	"\xff\xfe", `{"droplet": "a", "indices": "0", "limits": 3, "uris": "a.example"}`,
}

func TestMalformedMessagesChangeNothingAndAreLoggedOnce(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	for _, subject := range []string{"dea." + s.id + ".start", "dea.stop", "dea.find.droplet"} {
		for range 3 { // the same mistake again is not news
			for _, body := range malformed {
				if err := s.ctl.Conn.PublishRequest(subject, "INBOX.unread", []byte(body)); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.ctl.Conn.Flush()
	}
	s.ctl.ExpectNone("deacon.v1.instance", 200*time.Millisecond)
	s.ctl.ExpectNone("droplet.exited", 10*time.Millisecond)
	if body := s.running("web", nil).ask("/"); body != "hello from 0\n" {
		t.Errorf("afterwards an application answers %q", body)
	}
	s.stop("web")
	s.atRest(offer)
	lines := map[string]int{}
	for line := range strings.Lines(s.node.Log()) {
		if strings.Contains(line, "malformed") {
			_, facts, _ := strings.Cut(line, "malformed")
			lines[strings.Split(facts, " suppressed=")[0]]++
		}
	}
	if len(lines) < 10 {
		t.Errorf("%d reasons were logged:\n%s", len(lines), fmt.Sprint(lines))
	}
	for line, n := range lines {
		if n > 1 {
			t.Errorf("logged %d times: %s", n, line)
		}
	}
}

func TestTERMShutsDownWhereItIsConfigured(t *testing.T) {
	s := &stage{t: t, nats: rig.StartNATS(t), blobs: rig.NewDropletServer(t)}
	s.ctl = rig.NewController(t, s.nats.URL)
	s.node = rig.StartNode(t, rig.Options{NATS: s.nats.URL, Config: sharedDisk, NodeHCL: `on_term = "shutdown"`})
	s.meet()
	s.serve = s.blobs.Add("./app", application(t))
	app := s.running("web", nil)
	s.node.Detach() // which is TERM
	s.ctl.Expect("dea.shutdown", soon, rig.With("id", s.id))
	app.refuses()
}
