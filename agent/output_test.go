package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

func newTestOutputs(t *testing.T, dir string) *outputs {
	t.Helper()
	o, err := newOutputs(func(string, uint32) string { return dir },
		func(context.Context, []messaging.LogLine) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.close() })
	return o
}

// followed has one line of a source taken to its end.
func followed(t *testing.T, o *outputs, dir string, source actors.OutputSource) {
	t.Helper()
	for _, stream := range []string{"stdout", "stderr"} {
		if err := os.WriteFile(filepath.Join(dir, stream), []byte("a line\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	close(done)
	if err := o.Follow(t.Context(), source, done); err != nil {
		t.Fatal(err)
	}
}

func TestLinesOfAForgottenInstanceAreNotKept(t *testing.T) {
	dir := t.TempDir()
	o := newTestOutputs(t, dir)
	o.keep(messaging.LogLine{Application: "a", Instance: "one"}, messaging.LogLine{Application: "a", Instance: "two"})
	o.Forget("one")
	o.Forget("one")
	o.keep(messaging.LogLine{Application: "a", Instance: "one"})
	followed(t, o, dir, actors.OutputSource{Container: "c", Job: 1, Application: "a", Instance: "one"})
	lines, _ := o.Tail(t.Context(), "a", -1, 10)
	if len(o.tails) != 1 || len(lines) != 1 || lines[0].Instance != "two" {
		t.Errorf("%d tails, lines %+v", len(o.tails), lines)
	}
}

func TestLinesOfAContainerThatIsNobodysAreNotKept(t *testing.T) {
	dir := t.TempDir()
	o := newTestOutputs(t, dir)
	followed(t, o, dir, actors.OutputSource{Container: "c", Job: 1, Application: "a", Instance: "c"})
	if len(o.tails) != 0 {
		t.Errorf("%d tails", len(o.tails))
	}
}

func TestWhatIsRememberedOfForgottenInstancesIsBounded(t *testing.T) {
	o := newTestOutputs(t, t.TempDir())
	const more = 10
	for i := range forgottenMax + more {
		o.Forget(fmt.Sprint(i))
	}
	if len(o.forgotten) != forgottenMax || len(o.inTurn) != forgottenMax ||
		o.forgotten[fmt.Sprint(more-1)] || !o.forgotten[fmt.Sprint(more)] {
		t.Errorf("%d are remembered, the oldest: %t, the first that should be: %t",
			len(o.forgotten), o.forgotten["0"], o.forgotten[fmt.Sprint(more)])
	}
}
