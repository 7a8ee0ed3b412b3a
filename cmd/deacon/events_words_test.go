package main

import (
	"net/netip"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

func TestEventsAreSaidInWords(t *testing.T) {
	stop := messaging.Asker{Subject: "dea.stop"}
	for want, event := range map[string]messaging.Event{
		"node n has come up at 192.0.2.1 (version 0.1.0)": messaging.NodeStarted{
			Node: messaging.Node{ID: "n", Address: netip.MustParseAddr("192.0.2.1"), Version: "0.1.0"}},
		"a/0 on n has crashed: out of memory (SIGKILL)": messaging.InstanceChanged{
			NodeID: "n", Application: "a", To: messaging.Crashed, Signal: "SIGKILL", Description: "out of memory"},
		"a/2 on n has crashed: app instance exited (status 3)": messaging.InstanceChanged{
			NodeID: "n", Application: "a", Index: 2, To: messaging.Crashed, ExitStatus: 3, Description: "app instance exited"},
		"a/0 on n runs": messaging.InstanceChanged{NodeID: "n", Application: "a", To: messaging.Running},
		"n was asked to stop a (3 instances), by [ann@desk]": messaging.Asked{
			NodeID: "n", Application: "a", Index: -1, Instances: 3, Asker: messaging.Asker{Subject: "dea.stop", By: "ann@desk"}},
		"n was asked to stop a/0; NATS doesn't say by whom": messaging.Asked{NodeID: "n", Application: "a", Instances: 1, Asker: stop},
		"n was asked to start a/1, by ann@apps": messaging.Asked{
			NodeID: "n", Application: "a", Index: 1, Instances: 1, Asker: messaging.Asker{Subject: "dea.n.start", Account: "ann@apps"}},
		"n was asked to run a command in a/0, by [bob]": messaging.Asked{
			NodeID: "n", Application: "a", Instances: 1, Asker: messaging.Asker{Subject: "deacon.v1.n.exec", By: "bob"}},
		"n was asked to hand over its 7 instances and end, by [bob]": messaging.Asked{
			NodeID: "n", Index: -1, Instances: 7, Asker: messaging.Asker{Subject: "deacon.v1.n.evacuate", By: "bob"}},
	} {
		if got := sentence(event); got != want {
			t.Errorf("%T is said as %q, want %q", event, got, want)
		}
	}
}
