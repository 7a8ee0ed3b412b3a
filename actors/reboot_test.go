package actors_test

import (
	"testing"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// What ran is started in a container of its own, or is there to be told of; what was
// over, or on its way to be, is left to go.
func TestAnEarlierBootsInstancesStartOver(t *testing.T) {
	for state, want := range map[messaging.State]struct {
		started, reported messaging.State
		moves             bool // to another container, where it is to be started
	}{
		messaging.Born:     {messaging.Born, messaging.Born, true},
		messaging.Starting: {messaging.Born, messaging.Crashed, true},
		messaging.Running:  {messaging.Born, messaging.Running, true},
		messaging.Stopping: {messaging.Stopping, messaging.Stopping, false},
		messaging.Crashed:  {messaging.Crashed, messaging.Crashed, false},
	} {
		for _, report := range []bool{false, true} {
			store := &model.Store{}
			store.Put(actors.Record{Instance: "i", State: state, BootID: "before",
				Placement: actors.Placement{Instance: "i", Container: "c", Slot: 1}})
			b := actors.Boot{ID: "now", Report: report, At: time.Unix(1, 0), NewContainerID: func() string { return "d" }}
			changed := b.StartOver(store)
			r, _ := store.Get("i")
			expected := want.started
			if report {
				expected = want.reported
			}
			if moved := r.Placement.Container == "d"; r.State != expected || moved != (want.moves && expected == messaging.Born) {
				t.Errorf("%s (report %v) is %s in %+v, want %s", state, report, r.State, r.Placement, expected)
			}
			if again := b.StartOver(store); len(changed) > 1 || len(again) > 0 {
				t.Errorf("%s (report %v) changes %d and then %d", state, report, len(changed), len(again))
			}
		}
	}
}
