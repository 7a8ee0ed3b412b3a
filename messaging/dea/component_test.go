package dea

import (
	"strings"
	"testing"
	"time"
)

func TestUptimeIsSpelledAsComponentsSpelledIt(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0d:0h:0m:0s", 0: "0d:0h:0m:0s", 62*time.Second + 999*time.Millisecond: "0d:0h:1m:2s",
		100*24*time.Hour + 23*time.Hour + 59*time.Minute + 59*time.Second: "100d:23h:59m:59s",
	} {
		if got := Uptime(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestAComponentThatCantBeAskedIsNotBelieved(t *testing.T) {
	good := string(golden(t, "component.json"))
	for _, c := range []struct{ was, is, want string }{
		{"192.0.2.7:34501", "192.0.2.7", "host: want an address and a port"},
		{"192.0.2.7:34501", "192.0.2.7:0", "no address"},
		{"2026-11-24 18:29:05 +0000", "yesterday", `start: want a time like "2006-01-02 15:04:05 -0700"`},
		{"1d:2h:3m:4s", "a day", `uptime: want days to seconds, as in "0d:0h:1m:2s"`},
		{"1d:2h:3m:4s", "1d:24h:3m:4s", `uptime: "1d:24h:3m:4s" is out of range`},
		{`"DEA"`, `""`, "no type"},
	} {
		_, err := DecodeReply(SubjectComponents, []byte(strings.Replace(good, c.was, c.is, 1)))
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.is, err, c.want)
		}
	}
}
