package dea

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reasonMax is how long a reason may be, whatever the message: it is logged.
const reasonMax = 200

func FuzzDecodeStart(f *testing.F) {
	f.Add(golden(f, "start.json"))
	fuzzDecode(f, "dea.node.start", "command_start.json", "command_start_least.json")
}

func FuzzDecodeStop(f *testing.F) {
	fuzzDecode(f, "dea.stop", "command_stop.json", "command_stop_all.json")
}

func FuzzDecodeUpdate(f *testing.F) {
	f.Add(golden(f, "start.json"))
	fuzzDecode(f, "dea.update", "command_update.json", "command_update_least.json")
}

func FuzzDecodeFind(f *testing.F) {
	fuzzDecode(f, "dea.find.droplet", "command_find.json")
}

func FuzzDecodeDiscover(f *testing.F) {
	f.Add([]byte(`{"droplet":7,"limits":{"mem":512},"name":"a","runtime":"ruby19","prod":null,"sha":"00"}`))
	fuzzDecode(f, "dea.discover", "command_discover.json")
}

func FuzzDecodeRouterStart(f *testing.F) {
	f.Add([]byte(`{"id":"r1","hosts":["10.0.0.1"],"minimumRegisterIntervalInSeconds":20,"pruneThresholdInSeconds":120}`))
	fuzzDecode(f, "router.start", "command_router_start.json")
}

func FuzzDecodeHealthManagerStart(f *testing.F) {
	fuzzDecode(f, "healthmanager.start", "command_healthmanager_start.json")
}

func FuzzDecodeEvacuate(f *testing.F) {
	fuzzDecode(f, "deacon.v1.node.evacuate", "command_evacuate.json", "command_evacuate_least.json")
}

func FuzzDecodeComponents(f *testing.F) {
	fuzzDecode(f, "vcap.component.discover", "command_components.json")
}

func FuzzDecodeActors(f *testing.F) {
	fuzzDecode(f, "deacon.v1.actors", "command_actors.json")
}

func FuzzDecodePS(f *testing.F) {
	fuzzDecode(f, "deacon.v1.ps", "command_ps.json")
}

func FuzzDecodeUsage(f *testing.F) {
	fuzzDecode(f, "deacon.v1.usage", "command_usage.json")
}

func FuzzDecodeLogsTail(f *testing.F) {
	fuzzDecode(f, "deacon.v1.logs-tail", "command_logs_tail.json")
}

// fuzzDecode holds a decoder to its promises: it never panics, it refuses with
// an InvalidError of bounded length, and what it takes means the same when it
// is said again.
func fuzzDecode(f *testing.F, subject string, files ...string) {
	for _, file := range files {
		f.Add(golden(f, file))
	}
	for body := range malformed[subject] {
		f.Add([]byte(body))
	}
	for body := range whole {
		if len(body) < 4096 {
			f.Add([]byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		cmd, err := Decode(subject, body)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		_, again, err := EncodeCommand(cmd, "node")
		if err != nil {
			t.Fatalf("%+v: %v", cmd, err)
		}
		if len(again) > MessageMax {
			return // saying it in full made it longer
		}
		back, err := Decode(subject, again)
		if err != nil {
			t.Fatalf("%s became %s: %v", body, again, err)
		}
		if diff := cmp.Diff(cmd, back, same); diff != "" {
			t.Fatalf("%s became %s (-before +after):\n%s", body, again, diff)
		}
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	invalid, ok := errors.AsType[*InvalidError](err)
	if !ok || invalid.Reason == "" || len(invalid.Reason) > reasonMax {
		t.Fatalf("refused with %T %v", err, err)
	}
}

// FuzzDecodeEvent holds the client's side to the same, for every event.
func FuzzDecodeEvent(f *testing.F) {
	for i, sample := range sampleEvents {
		f.Add(uint8(i), golden(f, sample.file))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		sample := sampleEvents[int(which)%len(sampleEvents)]
		event, err := hear(sample, body)
		if err != nil {
			if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Reason == "" {
				t.Fatalf("refused with %T %v", err, err)
			}
			return
		}
		_, again, err := Encode(event)
		if err != nil {
			t.Fatalf("%+v: %v", event, err)
		}
		back, err := hear(sample, again)
		if err != nil {
			t.Fatalf("%s became %s: %v", body, again, err)
		}
		if diff := cmp.Diff(event, back, same); diff != "" {
			t.Fatalf("%s became %s (-before +after):\n%s", body, again, diff)
		}
	})
}
