package dea

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/messaging"
)

func decodedStart(t *testing.T, changes map[string]string) messaging.StartInstance {
	t.Helper()
	cmd, err := Decode("dea.node.start", []byte(edit(t, changes)))
	if err != nil {
		t.Fatal(err)
	}
	return cmd.(messaging.StartInstance)
}

func decodedFilter(t *testing.T, body string) messaging.Filter {
	t.Helper()
	cmd, err := Decode("dea.stop", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return cmd.(messaging.StopInstances).Filter
}

func TestTheEarliestErasNumberedApplicationsAreUnderstood(t *testing.T) {
	if got := decodedStart(t, map[string]string{"droplet": "42"}).Application; got != "42" {
		t.Errorf("application %q, want 42", got)
	}
	if got := decodedFilter(t, `{"droplet":7}`).Application; got != "7" {
		t.Errorf("application %q, want 7", got)
	}
}

// The first era left out what it had defaults for, and knew no partitions.
func TestTheFirstErasStartsSayLess(t *testing.T) {
	least := map[string]string{
		"runtime": `"ruby19"`, "cc_partition": "", "limits": "", "debug": "true", "console": "false", "runtime_info": `{"version":"1.9"}`,
	}
	got := decodedStart(t, least)
	want := messaging.FirstEra{Runtime: "ruby19", Debug: "run"}
	if got.First == nil || !cmp.Equal(*got.First, want) || got.Partition != "" ||
		got.Limits != (messaging.ApplicationLimits{MemoryMiB: 512, DiskMiB: 256, Files: 1024}) {
		t.Errorf("understood as %+v, %+v", got.First, got)
	}
	for _, value := range []string{"null", "false"} { // as later eras may still have them
		if first := decodedStart(t, map[string]string{"debug": value, "console": value, "users": "null", "runtime": "null"}).First; first != nil {
			t.Errorf("%s is understood as %+v", value, first)
		}
	}
}

func TestWhatIsNullOrLeftOutWasNotGiven(t *testing.T) {
	optional := []string{
		"uris", "sha1", "sha256", "executableUri", "services", "env", "stack", "start_command",
		"health_check_timeout", "vcap_application", "egress_network_rules",
	}
	want := messaging.StartInstance{
		Partition: "default", Application: application, Name: "guestbook", Version: appVersion, Index: 2,
		Limits: exampleStart.Limits,
	}
	for _, value := range []string{"", "null"} {
		changes := map[string]string{}
		for _, field := range optional {
			changes[field] = value
		}
		if diff := cmp.Diff(want, decodedStart(t, changes)); diff != "" {
			t.Errorf("optional fields are %q (-want +got):\n%s", value, diff)
		}
	}
}

func TestASecondDigestIsTakenInAnyCase(t *testing.T) {
	got := decodedStart(t, map[string]string{"sha256": `"` + strings.Repeat("Ab", 32) + `"`}).Droplet.SHA256
	if want := strings.Repeat("ab", 32); got != want {
		t.Errorf("sha256 %q, want %q", got, want)
	}
}

func TestAVariableEndsAtItsFirstEqualsSign(t *testing.T) {
	got := decodedStart(t, map[string]string{"env": `["A=b=c","B","C=","D= \" é \n"]`}).Environment
	want := []messaging.Variable{{Name: "A", Value: "b=c"}, {Name: "B"}, {Name: "C"}, {Name: "D", Value: " \" é \n"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestARuleWithoutATypeIsForAnyType(t *testing.T) {
	got := decodedStart(t, map[string]string{"egress_network_rules": `[{"protocol":"icmp","destination":"a"}]`}).Egress
	want := []messaging.EgressRule{{Protocol: "icmp", Destination: "a", Type: -1, Code: -1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestAFilterJoinsBothListsOfInstancesAndRaisesStates(t *testing.T) {
	got := decodedFilter(t, `{"droplet":"a","instances":["x","y"],"instance_ids":["y","z"],
		"indices":[],"states":["running","Crashed"],"unknown":{"a":[1]}}`)
	want := messaging.Filter{
		Application: "a", Instances: []string{"x", "y", "z"}, States: []string{"RUNNING", "CRASHED"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestAPathIsAskedForByItsKeyAlone(t *testing.T) {
	for body, want := range map[string]messaging.FindInstances{
		`{"droplet":"a"}`:               {},
		`{"droplet":"a","path":null}`:   {IncludePath: true},
		`{"droplet":"a","path":""}`:     {IncludePath: true},
		`{"droplet":"a","path":"/app"}`: {IncludePath: true, Path: "/app"},
	} {
		cmd, err := Decode("dea.find.droplet", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got := cmd.(messaging.FindInstances)
		if got.IncludePath != want.IncludePath || got.Path != want.Path {
			t.Errorf("%s: asks for a path: %+v, want %+v", body, got, want)
		}
	}
}

// The bus hands over a buffer that it may use again.
func TestACommandKeepsNothingOfItsMessage(t *testing.T) {
	body := golden(t, "start.json")
	got, err := Decode("dea.node.start", body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		body[i] = 'x'
	}
	if diff := cmp.Diff(messaging.Command(exampleStart), got); diff != "" {
		t.Error("changed with its message (-want +got):\n", diff)
	}
}

func TestAMessageOfTheGreatestLengthIsTaken(t *testing.T) {
	frame := len(`{"droplet":"a","x":""}`)
	body := `{"droplet":"a","x":"` + strings.Repeat("x", MessageMax-frame) + `"}`
	if _, err := Decode("dea.stop", []byte(body)); err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
	nested := `{"droplet":"a","x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "}"
	if _, err := Decode("dea.stop", []byte(nested)); err != nil {
		t.Errorf("64 levels: %v", err)
	}
}
