package drill

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

func listed(node string, rows ...messaging.InstanceRow) messaging.InstancesListed {
	return messaging.InstancesListed{NodeID: node, Instances: rows}
}

func row(instance string, index int) messaging.InstanceRow {
	return messaging.InstanceRow{Application: "id", Name: "shop", Instance: instance, Index: index,
		State: messaging.Running, Host: netip.MustParseAddr("127.0.0.1"), Port: 20000}
}

// seen is what a keeper of the node "n" makes of what nodes list.
func seen(k *keeper, lists ...messaging.InstancesListed) view {
	v := view{answered: map[string]bool{}, runs: map[string]string{}}
	k.take(&v, lists)
	return v
}

// On a fleet others answer too. What a silent node runs is not missing: its
// ports may answer, and are asked on.
func TestASilentNodesInstancesAreNotMissing(t *testing.T) {
	k := newKeeper(&Drill{Nodes: []string{"n"}}, &Log{Exits: map[string]int{}})
	if v := seen(k, listed("n", row("one", 0)), listed("other")); v.running != 1 || len(v.missing) != 0 {
		t.Fatalf("%+v", v)
	}
	if v := seen(k, listed("other"), listed("another")); len(v.missing) != 0 || k.targets.url("shop/0") == "" {
		t.Errorf("missing %v, asked at %q", v.missing, k.targets.url("shop/0"))
	}
	if v := seen(k, listed("n")); !slices.Equal(v.missing, []string{"shop/0"}) || k.targets.url("shop/0") != "" {
		t.Errorf("missing %v, asked at %q", v.missing, k.targets.url("shop/0"))
	}
}

// A victim may be gone before anybody could ask whose it was.
func TestAVictimIsKnownFromWhatWasHeardBefore(t *testing.T) {
	k := newKeeper(&Drill{Nodes: []string{"n"}}, &Log{Exits: map[string]int{}})
	seen(k, listed("n", row("one", 3)))
	k.write(messaging.InstanceChanged{NodeID: "n", Application: "id", Instance: "two", Index: 4})
	for instance, want := range map[string]string{"one": "shop/3", "two": "shop/4", "three": "three"} {
		if got := k.victim(instance); got != want {
			t.Errorf("%s is %s, want %s", instance, got, want)
		}
	}
}

func TestOtherNodesEventsDontCount(t *testing.T) {
	log := &Log{Exits: map[string]int{}}
	k := newKeeper(&Drill{Nodes: []string{"n"}}, log)
	for _, node := range []string{"n", "other"} {
		k.write(messaging.Beat{NodeID: node})
		k.write(messaging.NodeStarted{Node: messaging.Node{ID: node}})
		k.write(messaging.ActorGaveUp{NodeID: node})
	}
	if len(log.Beats) != 1 || len(log.Begun) != 1 || len(log.GaveUp) != 1 {
		t.Errorf("%d heartbeats, %d agents, %d given up; want one each", len(log.Beats), len(log.Begun), len(log.GaveUp))
	}
}

// A node that is away may still run what the drill brought.
func TestOwnApplicationsAreOverOnlyWhereEveryNodeSaysSo(t *testing.T) {
	k := newKeeper(&Drill{Nodes: []string{"n", "m"}, Scenario: Scenario{
		Applications: []Application{{Name: "pig", Instances: 2}},
	}}, &Log{Exits: map[string]int{}})
	own := k.own["pig/0"].start.Application
	crashed := messaging.InstanceRow{Application: own, State: messaging.Crashed}
	live, silent := k.left([]messaging.InstancesListed{listed("n", crashed, row("other", 0)), listed("x")})
	if len(live) != 0 || !slices.Equal(silent, []string{"m"}) {
		t.Errorf("live %v, silent %v", live, silent)
	}
	runs := messaging.InstanceRow{Application: own, State: messaging.Running}
	if live, silent = k.left([]messaging.InstancesListed{listed("n"), listed("m", runs)}); len(live) != 1 || len(silent) != 0 {
		t.Errorf("live %v, silent %v", live, silent)
	}
}
