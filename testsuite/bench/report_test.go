package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// of is a sample of n values: 1 ms, 2 ms, ...
func of(n int, unit time.Duration) sample {
	var s sample
	for i := range n {
		s = append(s, time.Duration(n-i)*unit)
	}
	return s
}

func TestAPercentileIsTheNearestRank(t *testing.T) {
	for _, c := range []struct{ n, p, want int }{
		{1, 50, 1}, {1, 99, 1}, {4, 50, 2}, {5, 50, 3}, {100, 99, 99}, {101, 99, 100},
	} {
		if got := of(c.n, time.Millisecond).percentile(c.p); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%d%% of 1..%d is %s, want %d ms", c.p, c.n, got, c.want)
		}
	}
}

// measured is a run in which every limit holds, with this floor.
func measured(floor time.Duration) *report {
	row := func(name string, first, gone time.Duration) *series {
		return &series{Name: name, FirstByte: sample{first}, Gone: sample{gone}}
	}
	return &report{
		Starts: []*series{
			row(floorName, floor, 0), row(diskless, floor, 0), row(boxName, 2*floor, time.Millisecond),
			row(nodeName, 2*floor, 2*time.Millisecond),
			row("crun"+cniSuffix, 20*floor, 0), row("runc"+cniSuffix, 20*floor, 0),
		},
		Rates:  []*rate{{boxName, []float64{300}}, {nodeName, []float64{300}}, {runcName, []float64{90, 100, 20}}},
		Memory: memory{Init: footprint{Private: 700}},
		Door: &door{
			BoxCreate: sample{floor}, Create: sample{floor}, Run: sample{time.Millisecond},
			Pings: 30_000, StreamMBps: 500,
		},
	}
}

func verdicts(r *report) string {
	var words []string
	for _, c := range r.Checks {
		words = append(words, string(c.Verdict))
	}
	return strings.Join(words, " ")
}

func TestARunHoldsWhenEveryLimitDoes(t *testing.T) {
	r := measured(3700 * time.Microsecond)
	r.check()
	if !r.holds() || verdicts(r) != strings.TrimSpace(strings.Repeat("PASS ", 15)) {
		t.Errorf("it holds: %v; %s", r.holds(), verdicts(r))
	}
}

// Each case breaks one limit of the agent's row, or the init's, and no other.
func TestOneLimitThatDoesNotHoldFailsTheRun(t *testing.T) {
	for name, breaks := range map[string]func(*report){
		"x floor":             func(r *report) { r.series(nodeName).FirstByte = sample{8200 * time.Microsecond} },
		"against crun + CNI":  func(r *report) { r.series("crun" + cniSuffix).FirstByte = sample{43 * time.Millisecond} },
		"destroy":             func(r *report) { r.series(nodeName).Gone = sample{3100 * time.Microsecond} },
		"containers a second": func(r *report) { r.rate(nodeName).PerSecond = []float64{250, 260, 900} },
		"create":              func(r *report) { r.Door.Create = sample{5 * time.Millisecond} },
		"run":                 func(r *report) { r.Door.Run = sample{5 * time.Millisecond} },
		"pings":               func(r *report) { r.Door.Pings = 19_000 },
		"stream":              func(r *report) { r.Door.StreamMBps = 299 },
		"private memory":      func(r *report) { r.Memory.Init.Private = 721 },
	} {
		r := measured(3700 * time.Microsecond)
		breaks(r)
		r.check()
		if r.holds() || !strings.Contains(verdicts(r), "FAIL") {
			t.Errorf("%s: it holds; %s", name, verdicts(r))
		}
	}
}

func TestAFastRatioToASlowFloorProvesNothing(t *testing.T) {
	r := measured(9 * time.Millisecond)
	r.check()
	if r.holds() || strings.Count(verdicts(r), "NOISY") != 2 {
		t.Errorf("it holds: %v; %s", r.holds(), verdicts(r))
	}
	r.series(nodeName).FirstByte = sample{30 * time.Millisecond}
	r.Checks = nil
	r.check()
	if r.Checks[0].Verdict != fail {
		t.Errorf("too slow even for a slow floor is %s", r.Checks[0].Verdict)
	}
}

func TestTheTableShowsEachLimitBesideItsFigure(t *testing.T) {
	r := measured(3700 * time.Microsecond)
	r.check()
	var out bytes.Buffer
	r.print(&out)
	for _, want := range []string{"2.00 x floor", "(at most 2.2)", "(at least 6)", "3.33 x runc", "(at most 720)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestWhatTheFloorSaysIsReadWholeOrRefused(t *testing.T) {
	got, err := parseFloor("3600000 250000 cgroup=240000 wake=-90000\n")
	if err != nil || got.firstByte != 3600*time.Microsecond || got.gone != 250*time.Microsecond || len(got.steps) != 2 ||
		got.steps[1].Step != "wake" || got.steps[1].Took != -90*time.Microsecond {
		t.Errorf("read %+v, %v", got, err)
	}
	for _, line := range []string{"", "3600000\n", "3600000 x\n", "3600000 250000 cgroup=\n"} {
		if got, err := parseFloor(line); err == nil {
			t.Errorf("%q is read as %+v", line, got)
		}
	}
}
