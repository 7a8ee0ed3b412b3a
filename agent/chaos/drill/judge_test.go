package drill

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/messaging"
)

// history is a drill that ran for a minute in the past; every moment is given
// in seconds after its beginning.
type history struct {
	*run
	t *testing.T
}

func newHistory(t *testing.T) history {
	began := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	return history{t: t, run: &run{
		Drill: &Drill{Nodes: []string{"n"}, Scenario: Scenario{Recovery: 10 * time.Second, HeartbeatMax: time.Hour}},
		log:   &Log{Exits: map[string]int{}}, began: began, ended: began.Add(time.Minute), after: map[string]chaos.Audit{},
	}}
}

func (h history) at(second float64) time.Time {
	return h.began.Add(time.Duration(second * float64(time.Second)))
}

// answers has a target asked every second; from lost[0] on until lost[1] nobody answers.
func (h history) answers(target string, lost ...float64) {
	for s := range 60 {
		r := Request{Target: target, From: h.at(float64(s)), To: h.at(float64(s) + 0.1)}
		if len(lost) == 2 && float64(s) >= lost[0] && float64(s) < lost[1] {
			r.Error = "connection refused"
		}
		h.log.Requests = append(h.log.Requests, r)
	}
}

func (h history) fault(name, target string, from, to float64) {
	h.log.Done = append(h.log.Done, Done{Fault: name, Node: "n", Target: target, Instance: "i", From: h.at(from), To: h.at(to)})
}

// finds wants exactly the findings that have these texts.
func (h history) finds(texts ...string) Report {
	h.t.Helper()
	report := h.report()
	if report.Findings == nil || len(report.Findings) != len(texts) || report.Passed != (len(texts) == 0) {
		h.t.Fatalf("findings %v, want %d", report.Findings, len(texts))
	}
	for i, text := range texts {
		if !strings.Contains(report.Findings[i].Text, text) {
			h.t.Errorf("finding %q, want %q", report.Findings[i].Text, text)
		}
	}
	return report
}

func TestWhereNobodyIsHarmedEveryRequestMustBeAnswered(t *testing.T) {
	h := newHistory(t)
	h.fault("clock-jumped", "", 1, 2)
	h.answers("a/0")
	h.finds()
	h.answers("b/0", 20, 23)
	report := h.finds("b/0: 3 requests were not answered")
	if q := report.Requests; q.Answered != 117 || q.Unanswered != 3 || q.WindowAnswered+q.WindowFailed != 0 {
		t.Errorf("%+v", q)
	}
}

func TestAFaultExcusesItsVictimAndNobodyElse(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 23)
	h.answers("b/0", 20, 22)
	h.fault("init-killed", "a/0", 19.5, 19.5)
	report := h.finds("b/0: 2 requests")
	if q := report.Requests; q.Unanswered != 2 || q.WindowFailed != 3 {
		t.Errorf("%+v", q)
	}
	if row := report.Faults[0]; row.Requests != 3 || row.Back.Duration() != 2600*time.Millisecond {
		t.Errorf("%+v", row)
	}
}

// A process that is killed may have one more answer on its way.
func TestADyingVictimMayAnswerOnceMore(t *testing.T) {
	for _, fault := range []string{"init-killed", "job-killed"} {
		h := newHistory(t)
		h.answers("a/0", 21, 24)
		h.fault(fault, "a/0", 19.9, 19.99)
		h.finds()
	}
}

func TestAFaultThatHarmsNobodyExcusesNothing(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 21)
	h.fault("nats-partitioned", "", 15, 25)
	h.finds("a/0: 1 request was not answered")
}

func TestAWindowEndsWithTheFirstAnswerAfterIt(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 22)
	h.answers("b/0", 27, 28) // answered in between
	h.fault("table-flushed", "", 19.5, 19.5)
	h.finds("b/0: 1 request was not answered")
}

func TestWhoDoesNotComeBackIsAFinding(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 45)
	h.fault("init-killed", "a/0", 20, 20)
	h.finds("a/0: 14 requests were not answered", "a/0 did not answer again within 10s after init-killed")
}

// Coming back may take as long as what keeps from it.
func TestAFaultOnTopOfAnotherExtendsItsWindow(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 38)
	h.fault("init-killed", "a/0", 20, 20)
	h.fault("nats-partitioned", "", 22, 35)
	h.finds()
}

// crash has an instance told as crashed that ran until then.
func (h history) crash(target, instance string, at float64) *Change {
	h.log.Changes = append(h.log.Changes, Change{
		At: h.at(at), Target: target, Instance: instance, To: "CRASHED", Ran: true, Words: "why",
	})
	h.log.Exits[instance] = 2 // twice is not wrong
	return &h.log.Changes[len(h.log.Changes)-1]
}

func TestACrashNeedsAFaultAndAnExit(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0")
	h.answers("b/0")
	h.fault("init-killed", "a/0", 20, 20)
	h.crash("a/0", "i", 20.05)
	h.finds()
	h.crash("b/0", "two", 30)
	h.log.Exits["two"] = 0
	h.finds("b/0 crashed, and no fault was done to it: why", "b/0 crashed, and no droplet.exited told of it")
	h.log.Ordered = []string{"two"}
	h.log.Exits["two"] = 1
	h.finds()
}

// Whoever takes a victim's place was not harmed himself.
func TestAFaultExplainsTheCrashOfItsVictimOnly(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 25)
	h.fault("job-killed", "a/0", 20, 20)
	h.crash("a/0", "i", 20.1)
	next := h.crash("a/0", "next", 23)
	h.finds("a/0 crashed, and no fault was done to it")
	next.Ran = false // it could not be started
	h.finds()
	h.crash("a/0", "i-again", 50).Instance = "i"
	h.log.Changes = h.log.Changes[2:] // the victim itself, long after
	h.finds("a/0 crashed, and no fault was done to it")
}

func TestSilenceNeedsAFault(t *testing.T) {
	h := newHistory(t)
	h.fault("clock-jumped", "", 1, 2)
	h.answers("a/0")
	h.Scenario.HeartbeatMax = 10 * time.Second
	beat := func(at float64) { h.log.Beats = append(h.log.Beats, Beat{At: h.at(at), Node: "n"}) }
	for _, at := range []float64{5, 14, 23, 47, 55} {
		beat(at)
	}
	h.finds("node n: no heartbeat for 24s")
	h.fault("nats-partitioned", "", 24, 36)
	h.finds()
}

func TestWhatIsLeftAndGivenUpAreFindings(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0")
	h.log.GaveUp = []GivenUp{{At: h.at(3), Node: "n", Actor: "janitor", Reason: "boom"}}
	h.log.Done = []Done{
		{Fault: "clock-jumped", Node: "n", From: h.at(4), To: h.at(5)},
		{Fault: "disk-full", Node: "n", From: h.at(5), Error: "no"},
		{Fault: "no-inodes", Node: "n", From: h.at(6), Skipped: "no"},
	}
	h.leftMsg = compare(chaos.Audit{Node: "n", Containers: []string{"a"}, Descriptors: 5},
		chaos.Audit{Node: "n", Containers: []string{"a", "b"}, Descriptors: 500, Goroutines: 500,
			Odd: []string{"link x"}, Faults: []string{"f"}})
	h.finds("node n gave up janitor: boom", "disk-full on node n could not be done: no", "link x", "f is not healed",
		"2 containers, and there were 1", "500 descriptors", "500 goroutines")
}

func TestThePageStandsAlone(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 23)
	h.fault("init-killed", "a/0", 19.5, 19.5)
	const hostile = `"'><script>alert(1)</script>`
	h.log.Done = append(h.log.Done,
		Done{Fault: "agent-killed", Node: hostile, From: h.at(30), To: h.at(31), Skipped: hostile},
		Done{Fault: "init-killed", Node: hostile, From: h.at(30), To: h.at(31), Error: hostile},
		Done{Fault: "clock-jumped", Node: hostile, Target: hostile, From: h.at(30), To: h.at(31), Note: hostile})
	report := h.report()
	report.Findings = []Finding{{h.at(1), hostile}}
	report.Nodes, report.Scenario = append(report.Nodes, hostile), "first "+hostile
	report.Audits = []chaos.Audit{{Node: hostile, Odd: []string{hostile}}}
	report.Seed, report.Replay = 42, "deacon chaos run first.hcl --seed 42"
	page, err := report.Page()
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, want := range []string{
		"finding", "init-killed", "deacon chaos run first.hcl --seed 42", "<polyline", "3 requests of 1 instance unanswered",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"http://", "https://", "<script", "src=", "@import", "ZgotmplZ"} {
		if strings.Contains(text, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if err := report.Save(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// A drill may end while the last fault could still show.
func TestAWindowThatTheEndCutsShortIsNoFinding(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0")
	h.fault("state-flipped", "a/0", 55, 55)
	h.finds()
	h = newHistory(t)
	h.answers("a/0", 50, 60)
	h.fault("link-deleted", "a/0", 50, 50)
	h.finds("a/0 did not answer again")
}

func TestTheNewestHeartbeatMustNameWhatRuns(t *testing.T) {
	h := newHistory(t)
	runs := map[string]string{"one": "n", "two": "n", "other": "m"}
	if _, heard := h.log.disagrees("n", h.at(10), runs); heard {
		t.Error("a node that never spoke was heard")
	}
	h.log.beat(h.at(5), messaging.Beat{NodeID: "n", Instances: []messaging.BeatInstance{{Instance: "one"}, {Instance: "two"}}})
	if lacks, heard := h.log.disagrees("n", h.at(10), runs); heard || len(lacks) != 0 {
		t.Errorf("an old heartbeat counts: %v", lacks)
	}
	h.log.beat(h.at(12), messaging.Beat{NodeID: "n", Instances: []messaging.BeatInstance{
		{Instance: "one"}, {Instance: "two", State: messaging.Crashed}}})
	h.log.beat(h.at(13), messaging.Beat{NodeID: "m"})
	if lacks, heard := h.log.disagrees("n", h.at(10), runs); !heard || len(lacks) != 1 || lacks[0] != "two" {
		t.Errorf("lacks %v, heard %v", lacks, heard)
	}
}

// Once a target was back, the same fault excuses nothing any more.
func TestAWindowIsNoLargerThanTheHarm(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 10, 12)
	h.answers("b/0")
	h.fault("state-flipped", "a/0", 10, 10)
	h.finds()
	for i := range h.log.Requests {
		if r := &h.log.Requests[i]; r.Target == "a/0" && r.From.Equal(h.at(18)) {
			r.Error = "connection refused"
		}
	}
	h.finds("a/0: 1 request was not answered")
}

// What a fault harms may show late, and another fault's harm before it.
func TestAnotherFaultsHarmEndsNoWindow(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 11, 13)
	h.fault("group-removed", "a/0", 10, 10)
	h.fault("job-killed", "a/0", 11, 11)
	for i := range h.log.Requests {
		if r := &h.log.Requests[i]; r.From.Equal(h.at(15)) {
			r.Error = "connection refused"
		}
	}
	h.finds()
}

// Time in which a node is kept from it doesn't count for coming back, and time
// between does.
func TestFaultsThatNeverEndDoNotKeepAWindowOpenForEver(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 5, 60)
	h.fault("init-killed", "a/0", 5, 5)
	for at := 6.0; at < 60; at += 6 {
		h.fault("nats-slow", "", at, at+4)
	}
	h.finds("a/0: 24 requests were not answered", "a/0 did not answer again within 10s after init-killed")
}

func TestAFaultThatFailedExcusesNothing(t *testing.T) {
	h := newHistory(t)
	h.Scenario.HeartbeatMax = 20 * time.Second
	h.answers("a/0", 20, 40)
	h.fault("init-killed", "a/0", 20, 20)
	h.fault("nats-killed", "", 20, 50)
	h.log.Done[1].Error = "no answer"
	h.finds("nats-killed on node n could not be done", "a/0: 9 requests", "a/0 did not answer again", "no heartbeat for 1m0s")
}

// Two faults at once excuse a pause once.
func TestSilenceIsExcusedOnce(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0")
	h.Scenario.HeartbeatMax = 10 * time.Second
	h.log.Beats = []Beat{{At: h.at(9), Node: "n"}, {At: h.at(50.5), Node: "n"}}
	h.fault("nats-killed", "", 10, 25)
	h.finds("node n: no heartbeat for 41.5s")
	h.fault("nats-partitioned", "", 11, 25)
	h.finds("node n: no heartbeat for 41.5s")
	h.fault("agent-killed", "", 30, 37)
	h.finds()
}

func TestADrillThatProvesNothingDidNotPass(t *testing.T) {
	h := newHistory(t)
	h.log.Done = []Done{{Fault: "no-inodes", Node: "n", From: h.at(6), Skipped: "no"}}
	h.finds("no fault was done", "no request was made")
	h.answers("a/0")
	h.fault("clock-jumped", "", 1, 2)
	h.finds()
	h.cutShort = true
	h.finds("the drill was ended early")
}

// That nothing runs is drawn as it was seen, and not as nobody having looked.
func TestThePictureShowsThatNothingRan(t *testing.T) {
	h := newHistory(t)
	h.log.Health = []Health{{h.at(1), 4, 4}, {h.at(10), 0, 4}, {h.at(12), 3, 4}}
	seconds := h.report().Seconds
	for s, want := range map[int]int{0: 4, 9: 4, 10: 0, 11: 0, 12: 3, 59: 3} {
		if got := seconds[s].Running; got != want {
			t.Errorf("second %d: %d run, want %d", s, got, want)
		}
	}
}

func TestWhatIsEmptyIsAListInJSON(t *testing.T) {
	h := newHistory(t)
	body, err := json.Marshal(h.report())
	if err != nil || strings.Contains(string(body), "null") {
		t.Errorf("%v: %s", err, body)
	}
}

// A link that is gone is missed at once: who is answered has it again.
func TestAnAnswerProvesThatALinkIsBack(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 15, 16)
	h.fault("link-deleted", "a/0", 9.5, 9.5)
	h.finds("a/0: 1 request was not answered")
}

// While a node is kept from noticing a fault, it can't show.
func TestAFaultMayShowLaterWhereTheNodeIsHindered(t *testing.T) {
	h := newHistory(t)
	h.answers("a/0", 20, 22)
	h.fault("group-removed", "a/0", 10, 10)
	h.finds("a/0: 2 requests were not answered")
	h.fault("agent-stopped", "", 11, 19)
	h.finds()
}
