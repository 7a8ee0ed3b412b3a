package bus

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/messaging"
)

// parcelOf is a parcel as Publish makes it, with a body that a test can read.
func parcelOf(event messaging.Event, body string) *parcel {
	return &parcel{rule: ruleFor(event), subject: "s", body: []byte(body)}
}

func (o *outbox) takeAll() []string {
	var bodies []string
	for _, p := range o.take(outboxMax) {
		bodies = append(bodies, string(p.body))
	}
	return bodies
}

func routeTo(port uint16, uris ...string) messaging.Route {
	return messaging.Route{Host: netip.MustParseAddr("192.0.2.7"), Port: port, PrivateInstance: "p", URIs: uris}
}

func TestWithoutAConnectionOnlyWhatMattersIsKept(t *testing.T) {
	o := newOutbox()
	for _, event := range []messaging.Event{
		messaging.Beat{}, messaging.InstanceExited{Instance: "a"}, messaging.Advertised{}, messaging.InstanceFound{},
		messaging.NodeStarted{}, messaging.ComponentAnnounced{}, messaging.ComponentDiscovered{}, messaging.ActorsListed{},
		messaging.InstancesListed{}, messaging.InstanceChanged{Instance: "a"},
		messaging.RouteRegistered{Route: routeTo(1)}, messaging.LogsTailed{}, messaging.ActorGaveUp{Actor: "x"},
		messaging.LogLine{Instance: "a"}, messaging.RouteUnregistered{Route: routeTo(2)}, messaging.NodeStopped{},
	} {
		o.put(parcelOf(event, fmt.Sprintf("%T", event)))
	}
	if got := o.takeAll(); got != nil {
		t.Fatalf("without a connection %q was taken", got)
	}
	o.setUp(true)
	want := []string{
		"messaging.InstanceExited", "messaging.ComponentAnnounced", "messaging.InstanceChanged",
		"messaging.RouteRegistered", "messaging.ActorGaveUp",
		"messaging.LogLine", "messaging.RouteUnregistered", "messaging.NodeStopped",
	}
	if diff := cmp.Diff(want, o.takeAll()); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestWhatIsStaleGoesWithTheConnection(t *testing.T) {
	o := newOutbox()
	o.setUp(true)
	o.put(parcelOf(messaging.Beat{}, "beat"))
	o.put(parcelOf(messaging.InstanceExited{Instance: "a"}, "exit"))
	o.put(parcelOf(messaging.InstanceFound{}, "answer"))
	o.setUp(false)
	o.setUp(true)
	if diff := cmp.Diff([]string{"exit"}, o.takeAll()); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestOfARouteTheNewestIsKeptInTheOrderOfTheNews(t *testing.T) {
	o := newOutbox()
	o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(1, "u")}, "register 1 u"))
	o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(2, "u")}, "register 2 u"))
	o.put(parcelOf(messaging.RouteUnregistered{Route: routeTo(1, "u")}, "unregister 1 u"))
	o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(2, "v")}, "register 2 v"))
	o.put(parcelOf(messaging.RouteUnregistered{Route: routeTo(2, "u")}, "unregister 2 u"))
	o.setUp(true)
	want := []string{"unregister 1 u", "register 2 v", "unregister 2 u"}
	if diff := cmp.Diff(want, o.takeAll()); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestOfEachInstanceTheNewestExitsAreKept(t *testing.T) {
	o := newOutbox()
	full := 0
	for i := range exitsKept + 2 {
		for _, instance := range []string{"a", "b"} {
			if !o.put(parcelOf(messaging.InstanceExited{Instance: instance}, fmt.Sprint(instance, i))) {
				full++
			}
		}
	}
	if full != 4 {
		t.Errorf("%d losses were told, want 4", full)
	}
	o.setUp(true)
	got := o.takeAll()
	if len(got) != 2*exitsKept || got[0] != "a2" || got[len(got)-1] != "b9" {
		t.Errorf("kept %q", got)
	}
}

// While there is a connection a burst of one instance's news is no reason to
// lose any of it.
func TestABurstIsNotCutWhileThereIsAConnection(t *testing.T) {
	o := newOutbox()
	o.setUp(true)
	for i := range 10 * changesKept {
		o.put(parcelOf(messaging.InstanceChanged{Instance: "a"}, fmt.Sprint(i)))
	}
	o.put(parcelOf(messaging.Beat{}, "old"))
	o.put(parcelOf(messaging.Beat{}, "new"))
	got := o.takeAll()
	if len(got) != 10*changesKept+1 || got[len(got)-1] != "new" {
		t.Errorf("%d messages, the last %q", len(got), got[len(got)-1])
	}
}

func TestTheOutboxIsBounded(t *testing.T) {
	o := newOutbox()
	lost := 0
	for i := range outboxMax + 3 {
		if !o.put(parcelOf(messaging.InstanceExited{Instance: fmt.Sprint(i)}, fmt.Sprint(i))) {
			lost++
		}
	}
	o.setUp(true)
	got := o.takeAll()
	if lost != 3 || len(got) != outboxMax || got[0] != "3" {
		t.Errorf("%d lost, %d kept, the first %s; want 3, %d, 3", lost, len(got), got[0], outboxMax)
	}
	if len(o.byKey) != 0 || o.count != 0 || len(o.queue) != 0 {
		t.Errorf("an empty outbox holds %d keys, %d parcels, %d places", len(o.byKey), o.count, len(o.queue))
	}
}

// A node that registers the same routes for days without a server must not
// gather the places of what was replaced.
func TestWhatWasReplacedTakesNoRoom(t *testing.T) {
	o := newOutbox()
	for range 100_000 {
		o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(1)}, "r"))
	}
	if len(o.queue) > 100 {
		t.Errorf("%d places for one parcel", len(o.queue))
	}
}

func TestWhatMayNotHaveBeenSentStandsFirstAgain(t *testing.T) {
	o := newOutbox()
	o.setUp(true)
	o.put(parcelOf(messaging.InstanceExited{Instance: "a"}, "exit a"))
	o.put(parcelOf(messaging.Beat{}, "beat"))
	o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(1)}, "register 1"))
	o.put(parcelOf(messaging.RouteRegistered{Route: routeTo(2)}, "register 2"))
	batch := o.take(10)
	o.put(parcelOf(messaging.RouteUnregistered{Route: routeTo(1)}, "unregister 1"))
	o.put(parcelOf(messaging.InstanceExited{Instance: "b"}, "exit b"))
	o.giveBack(batch)
	want := []string{"exit a", "register 2", "unregister 1", "exit b"}
	if diff := cmp.Diff(want, o.takeAll()); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestAClosedOutboxTakesNothingAndGivesWhatItHas(t *testing.T) {
	o := newOutbox()
	o.setUp(true)
	o.put(parcelOf(messaging.InstanceExited{Instance: "a"}, "first"))
	o.close()
	o.put(parcelOf(messaging.InstanceExited{Instance: "a"}, "late"))
	if got := strings.Join(o.takeAll(), " "); got != "first" {
		t.Errorf("took %q", got)
	}
}
