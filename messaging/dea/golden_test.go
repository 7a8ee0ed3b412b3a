package dea

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/deacon-agent/deacon/messaging"
)

// same lets an empty list be one that is not there.
var same = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before you commit it")

func golden(t testing.TB, file string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// compare holds body to the golden file, which is indented to be read.
func compare(t *testing.T, file string, body []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, body, "", "  "); err != nil {
		t.Fatalf("%s is not JSON: %v", body, err)
	}
	indented.WriteByte('\n')
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", file), indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(golden(t, file)), indented.String()); diff != "" {
		t.Errorf("the message differs from testdata/%s (-want +got):\n%s", file, diff)
	}
}

// The file is what a cloud controller sends, with fields of older eras in it.
func TestAControllersStartIsUnderstood(t *testing.T) {
	got, err := Decode("dea."+nodeID+".start", golden(t, "start.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(messaging.Command(exampleStart), got, same); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestEveryEventIsSpokenAsTheWireHasIt(t *testing.T) {
	for _, sample := range sampleEvents {
		t.Run(sample.file, func(t *testing.T) {
			subject, body, err := Encode(sample.event)
			if err != nil {
				t.Fatal(err)
			}
			if subject != sample.subject {
				t.Errorf("subject %q, want %q", subject, sample.subject)
			}
			compare(t, sample.file, body)
			heard, err := hear(sample, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample.event, heard, same); diff != "" {
				t.Error("heard differs from told (-told +heard):\n", diff)
			}
		})
	}
}

// hear decodes a sample's message; the bus would add where it was heard.
func hear(sample sampleEvent, body []byte) (messaging.Event, error) {
	if sample.question == "" {
		return DecodeEvent(sample.subject, body)
	}
	event, err := DecodeReply(sample.question, body)
	return withReplyTo(event, sample.subject), err
}

func withReplyTo(event messaging.Event, subject string) messaging.Event {
	switch e := event.(type) {
	case messaging.NodeDiscovered:
		e.ReplyTo = subject
		return e
	case messaging.NodeDescribed:
		e.ReplyTo = subject
		return e
	case messaging.UsageDescribed:
		e.ReplyTo = subject
		return e
	case messaging.NodeEvacuating:
		e.ReplyTo = subject
		return e
	case messaging.InstanceDescribed:
		e.ReplyTo = subject
		return e
	case messaging.ComponentDiscovered:
		e.ReplyTo = subject
		return e
	case messaging.ActorsListed:
		e.ReplyTo = subject
		return e
	case messaging.InstanceFound:
		e.ReplyTo = subject
		return e
	case messaging.InstancesListed:
		e.ReplyTo = subject
		return e
	case messaging.LogsTailed:
		e.ReplyTo = subject
		return e
	}
	return event
}

func TestEveryCommandIsUnderstoodAsItWasMeant(t *testing.T) {
	for _, sample := range sampleCommands {
		t.Run(sample.file, func(t *testing.T) {
			subject, body, err := EncodeCommand(sample.command, nodeID)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, sample.file, body)
			got, err := Decode(subject, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sample.command, got, same); diff != "" {
				t.Error("-meant +understood:\n", diff)
			}
		})
	}
}

// Consumers test for the type of a number: a whole state_timestamp must still
// have a point, a crash_timestamp must not.
func TestTimestampsHaveTheTypesOfTheirEra(t *testing.T) {
	beat, exited := golden(t, "heartbeat.json"), golden(t, "exited.json")
	if !bytes.Contains(beat, []byte(`"state_timestamp": 1795544945.000000`)) {
		t.Errorf("a whole state_timestamp has no point:\n%s", beat)
	}
	if !bytes.Contains(exited, []byte(`"crash_timestamp": 1795544945`+"\n")) {
		t.Errorf("crash_timestamp is not in whole seconds:\n%s", exited)
	}
}

// The health manager forgets what is missing from a heartbeat and stumbles
// over states that it has no word for.
func TestAHeartbeatListsOnlyWhatTheHealthManagerKnows(t *testing.T) {
	beat := messaging.Beat{NodeID: nodeID}
	for _, state := range states {
		beat.Instances = append(beat.Instances, messaging.BeatInstance{Instance: string(state), State: state})
	}
	_, body, err := Encode(beat)
	if err != nil {
		t.Fatal(err)
	}
	var m beatMessage
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range m.Droplets {
		got = append(got, row.Instance)
	}
	if diff := cmp.Diff([]string{"STARTING", "RUNNING", "CRASHED", "EVACUATING"}, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestAnEventThatWouldDoHarmIsNotSpoken(t *testing.T) {
	noPort, noHost := exampleRoute, exampleRoute
	noPort.Port = 0
	noHost.Host = messaging.Route{}.Host
	for want, event := range map[string]messaging.Event{
		"dea: encode messaging.Beat: no node id":                            messaging.Beat{},
		"dea: encode messaging.Advertised: no node id":                      messaging.Advertised{},
		"dea: encode messaging.NodeStarted: no node id":                     messaging.NodeStarted{},
		"dea: encode messaging.NodeStopped: no node id":                     messaging.NodeStopped{},
		"dea: encode messaging.NodeDiscovered: no node id":                  messaging.NodeDiscovered{},
		"dea: encode messaging.NodeDescribed: an answer may not go to \"\"": messaging.NodeDescribed{Node: exampleNode},
		"dea: encode messaging.ComponentAnnounced: no address":              messaging.ComponentAnnounced{},
		"dea: encode messaging.ComponentDiscovered: an answer may not go to \"\"": messaging.ComponentDiscovered{
			Component: exampleComponent},
		"dea: encode messaging.ActorsListed: no node id":                         messaging.ActorsListed{},
		"dea: encode messaging.RouteRegistered: no port":                         messaging.RouteRegistered{Route: noPort},
		"dea: encode messaging.RouteUnregistered: no host":                       messaging.RouteUnregistered{Route: noHost},
		"dea: encode messaging.InstanceExited: no instance":                      messaging.InstanceExited{},
		"dea: encode messaging.LogLine: no application":                          messaging.LogLine{},
		"dea: encode messaging.InstanceFound: an answer may not go to \"\"":      messaging.InstanceFound{},
		"dea: encode messaging.LogsTailed: an answer may not go to \"dea.stop\"": messaging.LogsTailed{ReplyTo: "dea.stop"},
		"dea: encode messaging.InstancesListed: an answer may not go to \"a.>\"": messaging.InstancesListed{ReplyTo: "a.>"},
		"dea: encode messaging.InstanceChanged: no instance":                     messaging.InstanceChanged{},
		"dea: encode messaging.ActorGaveUp: no actor":                            messaging.ActorGaveUp{},
		"dea: encode <nil>: no such event":                                       nil,
	} {
		if subject, body, err := Encode(event); err == nil || err.Error() != want {
			t.Errorf("%+v: %s %s, error %q, want %q", event, subject, body, err, want)
		}
	}
}

func TestACommandForNobodyIsNotSent(t *testing.T) {
	for id, want := range map[string]string{
		"":    "dea: encode messaging.StartInstance: a node id must not be empty",
		"a.b": `dea: encode messaging.StartInstance: a node id is made of letters, digits, - and _, not of "."`,
		"*":   `dea: encode messaging.StartInstance: a node id is made of letters, digits, - and _, not of "*"`,
		"a b": `dea: encode messaging.StartInstance: a node id is made of letters, digits, - and _, not of " "`,
	} {
		if _, _, err := EncodeCommand(exampleStart, id); err == nil || err.Error() != want {
			t.Errorf("node %q: error %q, want %q", id, err, want)
		}
	}
	if _, _, err := EncodeCommand(messaging.StopInstances{}, ""); err == nil {
		t.Error("a stop of no application was encoded")
	}
}
