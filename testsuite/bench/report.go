package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The limits, and what they are measured by.
const (
	overFloorMax   = 2.2 // first byte, p50, in floors
	underPeersMin  = 6.0 // first byte, p50: so many times faster than a peer
	overRuncMin    = 3.0 // containers a second, in runcs of this run
	perSecondMin   = 162 // the same in figures: three times runc's 54 on the machine that the limit was set on
	goneMax        = 3.0 // ms, p50
	floorQuietMax  = 4.5 // ms: 3.6 to 3.9 on a quiet machine of the project's kind, and some room
	initPrivateMax = 720 // KiB; doc.go says why
)

// report is everything that was measured.
type report struct {
	At         time.Time
	Kernel     string
	CPUs       int
	LoadBefore string
	LoadAfter  string
	Rounds     int
	Starts     []*series
	Rates      []*rate
	Door       *door
	Memory     memory
	Checks     []check
}

// check is a limit and how it was met.
type check struct {
	What    string  `json:"what"`
	Got     float64 `json:"got"`
	Unit    string  `json:"unit"`
	Most    bool    `json:"at_most"` // else at least
	Limit   float64 `json:"limit"`
	Verdict verdict `json:"verdict"`
}

// verdict is what is said of a limit.
type verdict string

// A limit holds, or not; or it seems to and the run can't prove it.
const (
	pass  verdict = "PASS"
	fail  verdict = "FAIL"
	noisy verdict = "NOISY"
)

func verdictOf(holds bool) verdict {
	if holds {
		return pass
	}
	return fail
}

func newReport(o options) *report {
	var name unix.Utsname
	unix.Uname(&name)
	return &report{
		At: time.Now(), Kernel: unix.ByteSliceToString(name.Release[:]), CPUs: runtime.NumCPU(),
		LoadBefore: load(), Rounds: o.rounds,
	}
}

func load() string {
	content, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(content), " ")
	return first
}

func (r *report) series(name string) *series {
	for _, s := range r.Starts {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (r *report) rate(name string) *rate {
	for _, s := range r.Rates {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// overFloor is a row's first byte in floors.
func (r *report) overFloor(s *series) float64 {
	return float64(s.FirstByte.p50()) / float64(r.series(floorName).FirstByte.p50())
}

// floorIsNoisy says that the floor took so long that it is no measure: being
// few times slower than something slow proves nothing.
func (r *report) floorIsNoisy() bool {
	return millis(r.series(floorName).FirstByte.p50()) > floorQuietMax
}

// check compares everything with its limit.
func (r *report) check() {
	r.LoadAfter = load()
	for _, name := range []string{nodeName, boxName} {
		ours := r.series(name)
		r.atMost(name+": start to first byte, p50", r.overFloor(ours), overFloorMax, "x floor")
		if last := &r.Checks[len(r.Checks)-1]; last.Verdict == pass && r.floorIsNoisy() {
			last.Verdict = noisy
		}
		for _, peer := range []string{"crun", "runc"} {
			times := float64(r.series(peer+cniSuffix).FirstByte.p50()) / float64(ours.FirstByte.p50())
			r.atLeast(name+": start to first byte, p50, against "+peer+cniSuffix, times, underPeersMin, "x faster")
		}
		r.atMost(name+": destroy, p50", millis(ours.Gone.p50()), goneMax, "ms")
	}
	perSecond := r.rate(nodeName).median()
	r.atLeast(nodeName+": starts a second", perSecond, perSecondMin, "")
	r.atLeast(nodeName+": starts a second", perSecond/r.rate(runcName).median(), overRuncMin, "x runc")
	r.checkDoor()
	r.atMost("one deacon-init, private memory", float64(r.Memory.Init.Private), initPrivateMax, "KiB")
}

func (r *report) atMost(what string, got, limit float64, unit string) {
	r.Checks = append(r.Checks, check{what, got, unit, true, limit, verdictOf(got <= limit)})
}

func (r *report) atLeast(what string, got, limit float64, unit string) {
	r.Checks = append(r.Checks, check{what, got, unit, false, limit, verdictOf(got >= limit)})
}

func (r *report) holds() bool {
	return !slices.ContainsFunc(r.Checks, func(c check) bool { return c.Verdict != pass })
}

func (r *rate) median() float64 {
	sorted := slices.Sorted(slices.Values(r.PerSecond))
	return sorted[len(sorted)/2]
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// save writes the figures for programs: milliseconds, KiB, containers a second.
func (r *report) save(file string) error {
	type row struct {
		Name     string             `json:"name"`
		Starts   int                `json:"starts"`
		P50      float64            `json:"first_byte_p50_ms"`
		P99      float64            `json:"first_byte_p99_ms"`
		Floors   float64            `json:"first_byte_x_floor"`
		GoneP50  float64            `json:"destroy_p50_ms"`
		GoneP99  float64            `json:"destroy_p99_ms"`
		RouteP50 float64            `json:"register_p50_ms,omitempty"`
		RouteP99 float64            `json:"register_p99_ms,omitempty"`
		StepsP50 map[string]float64 `json:"steps_p50_ms,omitempty"`
	}
	type throughput struct {
		Name      string    `json:"name"`
		Median    float64   `json:"containers_per_second"`
		PerSecond []float64 `json:"turns"`
	}
	var rows []row
	for _, s := range r.Starts {
		steps := map[string]float64{}
		for _, step := range s.Steps {
			steps[step.Name] = millis(step.Took.p50())
		}
		rows = append(rows, row{s.Name, len(s.FirstByte), millis(s.FirstByte.p50()), millis(s.FirstByte.p99()),
			r.overFloor(s), millis(s.Gone.p50()), millis(s.Gone.p99()),
			millis(s.Registered.p50()), millis(s.Registered.p99()), steps})
	}
	var rates []throughput
	for _, s := range r.Rates {
		rates = append(rates, throughput{s.Name, s.median(), s.PerSecond})
	}
	content, err := json.MarshalIndent(map[string]any{
		"at": r.At.UTC(), "kernel": r.Kernel, "cpus": r.CPUs, "load_before": r.LoadBefore, "load_after": r.LoadAfter,
		"rounds": r.Rounds, "idle_ms": idle.Milliseconds(), "starts": rows, "throughput": rates,
		"memory": map[string]any{"containers": r.Memory.Containers, "init": r.Memory.Init,
			"agent": r.Memory.Agent, "agent_with_none": r.Memory.AgentFirst},
		"warden": r.Door.json(), "checks": r.Checks,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
}
