package drill

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// battery is a drill under way and the NATS server that its nodes are on.
type battery struct {
	*run
	t    *testing.T
	nats *rig.NATS
}

func newBattery(t *testing.T, nodes ...string) battery {
	t.Helper()
	b := battery{t: t, nats: rig.StartNATS(t)}
	client, err := bus.Dial(t.Context(), bus.Config{Servers: []string{b.nats.URL}, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	d := &Drill{
		Nodes: nodes, Scenario: Scenario{Recovery: time.Second, Duration: time.Minute},
		Fleet: Fleet{Client: client, patience: 300 * time.Millisecond}, Note: t.Logf,
	}
	b.run = &run{Drill: d, log: &Log{Exits: map[string]int{}}, began: time.Now()}
	b.keeper = newKeeper(d, b.log)
	return b
}

// node has a node answer questions of one kind.
func (b battery) node(id, verb string, answer func(body []byte) any) {
	n, err := bus.Open(b.t.Context(), bus.Config{NodeID: id, Servers: []string{b.nats.URL}, Log: hclog.NewNullLogger()})
	if err == nil {
		err = n.Listen(func(messaging.Command) {})
	}
	offer := func(verb string, answer func([]byte) any) {
		if err == nil {
			err = n.Offer("chaos-"+verb, dea.ChaosSubject(id, verb), func(body []byte) ([]byte, error) {
				return json.Marshal(answer(body))
			})
		}
	}
	offer(verb, answer)
	offer("ready", func([]byte) any { return true }) // known to the server after the other
	if err != nil {
		b.t.Error(err)
		return
	}
	b.t.Cleanup(func() { n.Close(context.Background()) })
	for there := errors.New("not asked"); there != nil; {
		there = b.Fleet.ask(b.t.Context(), address{id, "ready"}, nil, new(bool))
	}
}

func TestAnOrderThatIsLostIsGivenAgain(t *testing.T) {
	b := newBattery(t, "n")
	var ids []string
	var once sync.Once
	order := func(body []byte) any {
		var o chaos.Order
		if err := json.Unmarshal(body, &o); err != nil {
			t.Error(err)
		}
		ids = append(ids, o.ID)
		return chaos.Injected{ID: o.ID, Note: "done"}
	}
	// The first one reaches somebody who says nothing.
	err := b.Fleet.Client.Subscribe(dea.ChaosSubject("n", chaos.VerbInject), func(string, []byte) {
		once.Do(func() { b.node("n", chaos.VerbInject, order) })
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := b.order(t.Context(), "n", chaos.Order{ID: "7", Fault: "init-killed"})
	if err != nil || answer.Note != "done" || !slices.Equal(slices.Compact(ids), []string{"7"}) {
		t.Errorf("%+v, %v, orders %v", answer, err, ids)
	}
}

// The same seed orders the same; an agent that lives on must not take it for
// what it has done already.
func TestAReplayIsDoneAnew(t *testing.T) {
	b := newBattery(t, "n")
	var ids []string
	b.node("n", chaos.VerbInject, func(body []byte) any {
		var o chaos.Order
		if err := json.Unmarshal(body, &o); err != nil {
			t.Error(err)
		}
		ids = append(ids, o.ID)
		return chaos.Injected{}
	})
	b.node("n", chaos.VerbList, func([]byte) any { return chaos.Listing{} })
	acts := Scenario{Fixed: []Fixed{{Order: chaos.Order{Fault: "job-killed"}}}}.Schedule(7, 1)
	for range 2 {
		again := run{Drill: b.Drill, log: b.log, keeper: newKeeper(b.Drill, b.log), began: b.began}
		again.act(t.Context(), acts)
	}
	if len(ids) != 2 || ids[0] == ids[1] {
		t.Errorf("orders %q; done: %+v", ids, b.log.Done)
	}
}

func TestAnOrderIsNotCutOffByAnInterrupt(t *testing.T) {
	b := newBattery(t, "n")
	ctx, interrupt := context.WithCancel(t.Context())
	b.node("n", chaos.VerbInject, func([]byte) any {
		interrupt()
		return chaos.Injected{Note: "done"}
	})
	if answer, err := b.order(ctx, "n", chaos.Order{ID: "1"}); err != nil || answer.Note != "done" {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestEveryNodeIsHealedThoughOneIsAway(t *testing.T) {
	b := newBattery(t, "away", "here")
	healed := 0
	b.node("here", chaos.VerbHeal, func([]byte) any {
		healed++
		return chaos.Healed{}
	})
	if b.healAll(); healed != 1 {
		t.Errorf("healed %d times", healed)
	}
}

// The number of an agent that has ended may be a stranger's.
func TestAProcessThatIsNoLongerTheAgentIsNotHeld(t *testing.T) {
	b := newBattery(t, "n")
	pid := os.Getpid() // now somebody else's
	b.node("n", chaos.VerbList, func([]byte) any { return chaos.Listing{PID: pid + 1} })
	if _, err := b.hold(t.Context(), "n", pid); err == nil || !strings.Contains(err.Error(), "the agent is process") {
		t.Errorf("error %v", err)
	}
}

func TestWhatAnInterruptKeptFromBeingDoneDidNotFail(t *testing.T) {
	b := newBattery(t, "away")
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if done := b.inject(ctx, Done{Node: "away"}, chaos.Order{Fault: "job-killed"}); done.Error != "" || done.Skipped == "" {
		t.Errorf("%+v", done)
	}
}

func TestWhatCameTooLateIsReportedAsNotDone(t *testing.T) {
	b := newBattery(t, "n")
	b.began = time.Now().Add(-2 * time.Minute)
	b.act(t.Context(), []Act{{At: time.Second, Order: chaos.Order{Fault: "init-killed"}}})
	if len(b.log.Done) != 1 || !strings.Contains(b.log.Done[0].Skipped, "took longer than planned") {
		t.Errorf("%+v", b.log.Done)
	}
}
