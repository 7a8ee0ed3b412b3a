package agent

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/agent/journal"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/messaging"
)

// Records that an older agent wrote lack fields, those of a newer one have more:
// both say what is known of.
func TestRecordsOfOtherAgentsAreRead(t *testing.T) {
	state := t.TempDir()
	kept, _, _, err := journal.Open(filepath.Join(state, instancesFile))
	if err != nil {
		t.Fatal(err)
	}
	err = kept.Append([]journal.Change{
		{Name: "older", Value: []byte(`{"instance":"older","start":{"Application":"a"},"state":"RUNNING",` +
			`"placement":{"Container":"aaaaaaaaaaa","Slot":3,"Port":20001}}`)},
		{Name: "newer", Value: []byte(`{"instance":"newer","start":{"Application":"b","Weather":"fine"},"state":"CRASHED",` +
			`"placement":{"Container":"bbbbbbbbbbb","Moon":{"phase":1}},"exit_status":7,"from_the_future":[1,2]}`)},
	})
	if err := errors.Join(err, kept.Close()); err != nil {
		t.Fatal(err)
	}
	want := []actors.Record{
		{Instance: "older", Start: messaging.StartInstance{Application: "a"}, State: messaging.Running,
			Placement: actors.Placement{Container: "aaaaaaaaaaa", Slot: 3, Port: 20001}},
		{Instance: "newer", Start: messaging.StartInstance{Application: "b"}, State: messaging.Crashed, ExitStatus: 7,
			Placement: actors.Placement{Container: "bbbbbbbbbbb"}},
	}
	if diff := cmp.Diff(want, found(t, state)); diff != "" {
		t.Error("(-want +got):\n", diff)
	}

	var spec isolation.Spec
	newer := map[string]any{"id": "ccccccccccc", "slot": 4, "epoch": 2, "owner": "warden", "tide": "low",
		"limits": map[string]any{"memory_bytes": 1 << 20, "heat": 3}}
	if err := errors.Join(record.Save(state, "spec", newer), record.Load(state, "spec", &spec)); err != nil {
		t.Fatal(err)
	}
	if spec.ID != "ccccccccccc" || spec.Slot != 4 || spec.Epoch != 2 || spec.Owner != isolation.OwnerWarden {
		t.Errorf("a spec of a newer agent is %+v", spec)
	}
}
