package drill

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// Report is what came of a drill. Its JSON is a contract with programs.
type Report struct {
	Scenario string        `json:"scenario"`
	Seed     uint64        `json:"seed"`
	Replay   string        `json:"replay"`
	Nodes    []string      `json:"nodes"`
	Began    time.Time     `json:"began"`
	Lasted   chaos.Span    `json:"lasted"`
	Passed   bool          `json:"passed"`
	Findings []Finding     `json:"findings"`
	Requests Requests      `json:"requests"`
	Targets  int           `json:"targets"`
	Faults   []FaultRow    `json:"faults"`
	Crashes  int           `json:"crashes"` // each explained by a fault, or a finding
	Starts   int           `json:"starts"`  // of instances, after the beginning
	Beats    int           `json:"heartbeats"`
	Agents   int           `json:"agents"` // that began meanwhile
	Seconds  []Second      `json:"seconds"`
	Slowest  chaos.Span    `json:"slowest"` // of the answered requests, 99 of 100
	Audits   []chaos.Audit `json:"audits"`  // at the end
}

// Requests are counted by whether a window excused them.
type Requests struct {
	Answered       int `json:"answered"`
	Unanswered     int `json:"unanswered"`      // and nothing excuses it
	WindowAnswered int `json:"window_answered"` // in a fault's window
	WindowFailed   int `json:"window_unanswered"`
}

// FaultRow is one fault of the drill.
type FaultRow struct {
	At       chaos.Span `json:"at"`
	For      chaos.Span `json:"for"`
	Back     chaos.Span `json:"back,omitzero"` // from its beginning until its victim answered again
	Fault    string     `json:"fault"`
	Node     string     `json:"node"`
	Target   string     `json:"target,omitempty"`
	Note     string     `json:"note,omitempty"`
	Error    string     `json:"error,omitempty"`
	Skipped  string     `json:"skipped,omitempty"`
	Noticed  string     `json:"noticed"` // what was seen of it
	Requests int        `json:"unanswered_in_window"`
}

// Second is one second of the drill.
type Second struct {
	Answered int `json:"answered"`
	Excused  int `json:"excused"`
	Failed   int `json:"failed"`
	Running  int `json:"running"`
	Starts   int `json:"starts"`
}

func (r *run) report() Report {
	if r.began.IsZero() {
		return Report{Scenario: r.Scenario.Name, Seed: r.Seed, Nodes: r.Nodes}
	}
	if r.ended.IsZero() {
		r.ended = time.Now()
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	j := newJudge(r.log, r.Scenario)
	report := Report{
		Scenario: r.Scenario.Name, Seed: r.Seed, Replay: r.Replay, Nodes: r.Nodes, Began: r.began,
		Lasted: chaos.Span(r.ended.Sub(r.began).Round(time.Millisecond)), Findings: j.findings(r),
		Targets: len(j.requests), Beats: len(r.log.Beats), Agents: len(r.log.Begun),
		Faults: []FaultRow{}, Audits: []chaos.Audit{}, // lists even where they are empty
		Seconds: make([]Second, int(r.ended.Sub(r.began)/time.Second)+1),
	}
	report.Passed = len(report.Findings) == 0
	for _, node := range r.Nodes {
		if audit, ok := r.after[node]; ok {
			report.Audits = append(report.Audits, audit)
		}
	}
	report.count(r, j)
	report.faults(r, j)
	return report
}

// count fills in the requests and what is drawn over time.
func (p *Report) count(r *run, j *judge) {
	var took []time.Duration
	for _, q := range r.log.Requests {
		second := &p.Seconds[p.second(q.From)]
		excused := j.excused(q)
		switch {
		case q.Error == "":
			second.Answered++
			took = append(took, q.To.Sub(q.From))
			if excused {
				p.Requests.WindowAnswered++
			} else {
				p.Requests.Answered++
			}
		case excused:
			second.Excused++
			p.Requests.WindowFailed++
		default:
			second.Failed++
			p.Requests.Unanswered++
		}
	}
	if len(took) > 0 {
		slices.Sort(took)
		p.Slowest = chaos.Span(took[len(took)*99/100].Round(100 * time.Microsecond))
	}
	p.drawRunning(r.log.Health)
	seen := map[string]bool{} // some events come twice
	for _, c := range r.log.Changes {
		again := seen[c.Instance+c.To]
		seen[c.Instance+c.To] = true
		switch {
		case again:
		case c.To == "CRASHED":
			p.Crashes++
		case c.To == "RUNNING":
			p.Starts++
			p.Seconds[p.second(c.At)].Starts++
		}
	}
}

// drawRunning fills in how many instances ran. Where nobody looked, or nobody
// answered, it is as many as before.
func (p *Report) drawRunning(all []Health) {
	for _, h := range all {
		for i := p.second(h.At); i < len(p.Seconds); i++ {
			p.Seconds[i].Running = h.Running
		}
	}
	if len(all) > 0 { // the first look comes a moment after the beginning
		for i := range p.second(all[0].At) {
			p.Seconds[i].Running = all[0].Running
		}
	}
}

// second is the one that a moment lies in.
func (p *Report) second(at time.Time) int {
	return min(max(int(at.Sub(p.Began)/time.Second), 0), len(p.Seconds)-1)
}

func (p *Report) faults(r *run, j *judge) {
	for _, d := range r.log.Done {
		row := FaultRow{
			At:    chaos.Span(d.From.Sub(r.began).Round(10 * time.Millisecond)),
			For:   chaos.Span(d.To.Sub(d.From).Round(10 * time.Millisecond)),
			Fault: d.Fault, Node: d.Node, Target: d.Target, Note: d.Note, Error: d.Error, Skipped: d.Skipped,
		}
		if d.happened() {
			row.notice(d, j)
		}
		p.Faults = append(p.Faults, row)
	}
}

// notice says what was seen of a fault, in words.
func (row *FaultRow) notice(d Done, j *judge) {
	back, targets := time.Time{}, 0
	for _, windows := range j.windows {
		for _, w := range windows {
			if w.Fault != d.Fault || !w.From.Equal(d.From) {
				continue
			}
			lost, last := 0, time.Time{}
			for _, q := range j.requests[w.Target] {
				if q.Error != "" && q.From.Before(w.To) && q.To.After(w.From) {
					lost++
					last = q.To
				}
			}
			row.Requests += lost
			if lost > 0 {
				targets++
			}
			if last.After(back) {
				back = last
			}
		}
	}
	for _, c := range j.log.Changes {
		if c.Instance == d.Instance && d.Instance != "" && c.To == "CRASHED" {
			row.Noticed = "told as crashed: " + c.Words + "; "
			break
		}
	}
	fault, _ := chaos.Find(d.Fault)
	switch {
	case targets > 0:
		row.Back = chaos.Span(back.Sub(d.From).Round(10 * time.Millisecond))
		row.Noticed += fmt.Sprintf("%s of %s unanswered, until %s after",
			count(row.Requests, "request"), count(targets, "instance"), row.Back)
	case fault.Harm == chaos.Nobody:
		row.Noticed += "by no client, as it should be"
	default:
		row.Noticed += "by no client"
	}
}

// count is a number of things, as it is read.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Names of the files of a report.
const (
	PageName = "report.html"
	DataName = "report.json"
)

// Save writes the page and the data into a folder.
func (p Report) Save(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("drill: save the report: %w", err)
	}
	page, err := p.Page()
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, PageName), page, 0o644)
	}
	if err != nil {
		return fmt.Errorf("drill: save the report: %w", err)
	}
	return p.SaveData(filepath.Join(folder, DataName))
}

// SaveData writes the data alone.
func (p Report) SaveData(name string) error {
	body, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(body, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("drill: save the report: %w", err)
	}
	return nil
}
