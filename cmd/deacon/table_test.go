package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

func TestThePsTableLinesUpAndSaysWhy(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	host := netip.MustParseAddr("192.0.2.7")
	rows := []row{
		{node: "nodeone", InstanceRow: messaging.InstanceRow{Application: "guid-1", Name: "hello", Index: 0, State: messaging.Running,
			Since: now.Add(-90 * time.Second), Host: host, Port: 20001, URIs: []string{"hello.example"}}},
		{node: "nodeone", InstanceRow: messaging.InstanceRow{Application: "guid-4", Name: "worker", Index: 0, State: messaging.Running,
			Since: now.Add(-90 * time.Second), Host: host, Port: 20003}},
		{node: "nodeone", InstanceRow: messaging.InstanceRow{Application: "guid-2", Index: 12, State: messaging.Crashed,
			Since: now.Add(-3 * time.Hour), Host: host, Port: 20002, ExitStatus: 7, Description: "app instance exited"}},
		{node: "nodetwo", InstanceRow: messaging.InstanceRow{Application: "guid-3", Name: "bad\n\x1b[31mname", State: messaging.Crashed,
			Since: now.Add(-50 * time.Hour), ExitStatus: -1, Description: "failed to start"}},
	}
	var out strings.Builder
	if err := printRows(&out, rows, now); err != nil {
		t.Fatal(err)
	}
	const want = `
APP             INDEX   STATE     SINCE   URL                      NODE      WHY
hello           0       RUNNING   1m30s   http://192.0.2.7:20001   nodeone   -
worker          0       RUNNING   1m30s   -                        nodeone   -
guid-2          12      CRASHED   3h0m    -                        nodeone   app instance exited (status 7)
bad??[31mname   0       CRASHED   2d2h    -                        nodetwo   failed to start
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("got:%s\nwant:%s", got, want)
	}
}

func TestAnInstanceThatDoesNotAnswerHasNoURL(t *testing.T) {
	base := messaging.InstanceRow{State: messaging.Running, Host: netip.MustParseAddr("::1"), Port: 80}
	if got := (row{InstanceRow: base}).url(); got != "http://[::1]:80" {
		t.Errorf("running: %q", got)
	}
	for name, change := range map[string]func(*messaging.InstanceRow){
		"without a port": func(r *messaging.InstanceRow) { r.Port = 0 },
		"without a host": func(r *messaging.InstanceRow) { r.Host = netip.Addr{} },
		"starting":       func(r *messaging.InstanceRow) { r.State = messaging.Starting },
	} {
		changed := base
		change(&changed)
		if got := (row{InstanceRow: changed}).url(); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAgesAreShort(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for age, want := range map[time.Duration]string{
		-time.Second: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s",
		time.Minute: "1m0s", 61 * time.Minute: "1h1m", 47 * time.Hour: "47h0m", 49 * time.Hour: "2d1h",
	} {
		if got := since(now.Add(-age), now); got != want {
			t.Errorf("%s: got %s, want %s", age, got, want)
		}
	}
	if got := since(time.Time{}, now); got != "-" {
		t.Errorf("never: got %s", got)
	}
}

func TestAnApplicationIsFoundByItsIDBeforeItsName(t *testing.T) {
	rows := []row{
		{node: "n", InstanceRow: messaging.InstanceRow{Application: "guid-1", Name: "hello"}},
		{node: "n", InstanceRow: messaging.InstanceRow{Application: "hello", Name: "other"}},
		{node: "n", InstanceRow: messaging.InstanceRow{Application: "guid-3", Name: "hello"}},
	}
	for app, want := range map[string]string{"hello": "hello", "guid-3": "guid-3", "other": "hello"} {
		found, err := find(rows, app)
		if err != nil || len(found) != 1 || found[0].Application != want {
			t.Errorf("%s: got %v, %v", app, found, err)
		}
	}
	if _, err := find(rows, "missing"); err == nil {
		t.Error("what is not there was found")
	}
	if len(rows) != 3 || rows[0].Application != "guid-1" {
		t.Error("looking for something changed the rows")
	}
}
