package actors_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging"
)

func TestAuditedHarmIsSaidOnceAndAnEndHasItsReason(t *testing.T) {
	onStage(t, func(t *testing.T, s *stage) {
		var said bytes.Buffer
		var mu sync.Mutex
		s.log = hclog.New(&hclog.LoggerOptions{Output: &said, Mutex: &mu, Level: hclog.Warn})
		text := func() string {
			mu.Lock()
			defer mu.Unlock()
			return said.String()
		}
		s.begin()
		s.start("mended", "serve")
		s.start("lost", "serve")
		pass(time.Second)
		containers := map[string]string{}
		for _, r := range s.store.All() {
			containers[r.Start.Application] = r.Placement.Container
		}
		s.kernel.Harm(containers["mended"], "its link is down", false)
		s.kernel.Harm(containers["lost"], "its cgroups are gone", true)
		pass(5 * time.Second)
		for _, want := range []string{"its link is down", "it was given that again", "its cgroups are gone", "it was ended"} {
			if strings.Count(text(), want) != 1 {
				t.Errorf("%q is not said once:\n%s", want, text())
			}
		}
		for _, r := range s.store.All() {
			want := messaging.Running
			if r.Start.Application == "lost" {
				want = messaging.Crashed
			}
			if r.State != want {
				t.Errorf("%s is %s, want %s", r.Start.Application, r.State, want)
			}
		}
		reasons := 0
		for _, line := range told[messaging.LogLine](s) {
			if line.Application == "lost" && strings.Contains(string(line.Text), "its cgroups are gone") {
				reasons++
			}
		}
		if reasons != 1 {
			t.Errorf("the application's own output has the reason %d times, want once", reasons)
		}
	})
}
