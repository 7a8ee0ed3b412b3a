package complaints

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestAFloodOfOneKindIsLoggedOnceAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := New(hclog.New(&hclog.LoggerOptions{Output: &log}))
		flood := Kind{"malformed message ignored", "dea.stop", "droplet: missing"}
		for range 10_000 {
			c.Say(flood)
		}
		c.Say(Kind{"malformed message ignored", "dea.stop", "version: want a string, got 2"})
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines for two kinds:\n%s", lines, &log)
		}
		time.Sleep(Window) // the bubble's time
		synctest.Wait()
		if !strings.Contains(log.String(), "suppressed=9999") || strings.Count(log.String(), "\n") != 3 {
			t.Errorf("the window ended with:\n%s", &log)
		}
		c.Say(flood)
		if lines := strings.Count(log.String(), "\n"); lines != 4 {
			t.Errorf("the next window didn't begin afresh:\n%s", &log)
		}
		c.SumUp()
	})
}

// Whoever sends another mistake each time can't fill the log either.
func TestAFloodOfManyKindsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := New(hclog.New(&hclog.LoggerOptions{Output: &log}))
		for i := range KindsMax + 500 {
			c.Say(Kind{"malformed message ignored", "dea.stop", fmt.Sprint("reason ", i)})
		}
		c.SumUp()
		if lines := strings.Count(log.String(), "\n"); lines != KindsMax+1 {
			t.Errorf("%d lines, want %d", lines, KindsMax+1)
		}
		if !strings.Contains(log.String(), "suppressed=500") {
			t.Errorf("the rest isn't counted:\n%s", &log)
		}
	})
}
