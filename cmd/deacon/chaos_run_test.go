package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/chaos/drill"
)

func TestAVerdictIsReadAloud(t *testing.T) {
	report := drill.Report{
		Lasted: chaos.Span(25 * time.Second), Crashes: 2, Agents: 1,
		Faults:   []drill.FaultRow{{Fault: "init-killed"}, {Fault: "disk-full", Skipped: "no"}, {Fault: "no-inodes", Error: "no"}},
		Requests: drill.Requests{Answered: 90, WindowAnswered: 1, WindowFailed: 3},
		Findings: []drill.Finding{{Text: "a link is missing"}},
	}
	var out bytes.Buffer
	err := (&session{out: &out, errs: io.Discard}).verdict(report)
	failed, ok := errors.AsType[*failure](err)
	if !ok || failed.code != exitFailed || err.Error() != "the nodes did not stand it: 1 finding" {
		t.Errorf("error %v", err)
	}
	want := "1 fault and 2 not done in 25s, 2 crashes, 1 agent began anew\n" +
		"in the windows of faults 1 request answered and 3 not; outside of them 90 answered and 0 not\n"
	if text := out.String(); !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "a link is missing\n") {
		t.Errorf("it says %q", text)
	}
}
