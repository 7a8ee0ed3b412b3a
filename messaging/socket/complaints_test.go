package socket

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFloodOfOneKindIsLoggedOnceAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLogbook()
		c := &complaints{log: log.logger()}
		flood := complaint{"a client is sent away", "droplet: missing"}
		for range 10_000 {
			c.say(flood)
		}
		c.say(complaint{"a client is sent away", "version: want a string, got 2"})
		if lines := strings.Count(log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines for two kinds:\n%s", lines, log)
		}
		time.Sleep(complaintWindow) // the bubble's time
		synctest.Wait()
		if !strings.Contains(log.String(), "suppressed=9999") || strings.Count(log.String(), "\n") != 3 {
			t.Errorf("the window ended with:\n%s", log)
		}
		c.say(flood)
		if lines := strings.Count(log.String(), "\n"); lines != 4 {
			t.Errorf("the next window didn't begin afresh:\n%s", log)
		}
		c.sumUp()
	})
}

// Whoever sends another mistake each time can't fill the log either.
func TestAFloodOfManyKindsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newLogbook()
		c := &complaints{log: log.logger()}
		for i := range complaintKindsMax + 500 {
			c.say(complaint{"a client is sent away", fmt.Sprint("reason ", i)})
		}
		c.sumUp()
		if lines := strings.Count(log.String(), "\n"); lines != complaintKindsMax+1 {
			t.Errorf("%d lines, want %d", lines, complaintKindsMax+1)
		}
		if !strings.Contains(log.String(), "suppressed=500") {
			t.Errorf("the rest isn't counted:\n%s", log)
		}
	})
}
