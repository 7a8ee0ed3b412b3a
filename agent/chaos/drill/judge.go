package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// Window is a time in which a target may go unanswered, and why.
type Window struct {
	Fault    string
	Target   string
	From, To time.Time
	Open     bool // the target did not come back in time
}

// Finding is something that should not have been.
type Finding struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// judge looks at what happened, once it is over.
type judge struct {
	log      *Log
	scenario Scenario
	windows  map[string][]Window // by target
	requests map[string][]Request
}

func newJudge(log *Log, s Scenario) *judge {
	j := &judge{log: log, scenario: s, windows: map[string][]Window{}, requests: map[string][]Request{}}
	for _, r := range log.Requests {
		j.requests[r.Target] = append(j.requests[r.Target], r)
	}
	for _, all := range j.requests {
		slices.SortFunc(all, func(a, b Request) int { return a.From.Compare(b.From) })
	}
	for _, d := range log.Done {
		fault, _ := chaos.Find(d.Fault)
		if d.Skipped != "" || d.Error != "" {
			continue
		}
		switch fault.Harm {
		case chaos.One:
			j.open(d, fault, d.Target)
		case chaos.Every:
			for target := range j.requests {
				j.open(d, fault, target)
			}
		}
	}
	return j
}

// open makes the window of one fault for one target: from its beginning until
// the target answers again when all is over that could keep it from that.
func (j *judge) open(d Done, fault chaos.Fault, target string) {
	w := Window{Fault: d.Fault, Target: target, From: d.From}
	over := d.To
	if shows := d.From.Add(fault.Shows); shows.After(over) {
		over = shows
	}
	limit := over.Add(j.scenario.Recovery)
	for _, other := range j.log.Done { // while those last, coming back may take longer
		lasts := other.Node == d.Node && other.To.Sub(other.From) > time.Second
		if lasts && other.From.Before(limit) && other.To.After(d.From) && other.To.Add(j.scenario.Recovery).After(limit) {
			limit = other.To.Add(j.scenario.Recovery)
		}
	}
	w.To, w.Open = limit, true
	requests := j.requests[target]
	for _, r := range requests {
		if r.Error == "" && !r.From.Before(over) {
			if r.To.Before(limit) {
				w.To, w.Open = r.To, false
			}
			break
		}
	}
	if n := len(requests); n == 0 || requests[n-1].Error == "" && requests[n-1].From.Before(over) {
		w.Open = false // the drill ended before the fault was over, and all was well then
	}
	j.windows[target] = append(j.windows[target], w)
}

// excuse is the window that a request lies in, if any.
func (j *judge) excused(target string, from, to time.Time) bool {
	return slices.ContainsFunc(j.windows[target], func(w Window) bool {
		return from.Before(w.To) && to.After(w.From)
	})
}

// findings are everything that should not have been, the earliest first.
func (j *judge) findings(r *run) []Finding {
	all := append([]Finding{}, // a list even where it is empty
		slices.Concat(j.unanswered(), j.notBack(), j.crashes(), j.silence(r), j.failedFaults(), j.gaveUp())...)
	slices.SortStableFunc(all, func(a, b Finding) int { return a.At.Compare(b.At) })
	for _, text := range r.leftMsg {
		all = append(all, Finding{r.ended, "at the end, " + text})
	}
	return all
}

// stretch is a time in which a target's requests went unanswered, one after the
// other.
type stretch struct {
	target   string
	from, to time.Time
	requests int
	last     string // error
}

// stretchGap ends a stretch.
const stretchGap = 5 * time.Second

// unanswered sums up requests that should have been answered: a finding for each
// time in which there were some, whosever they were.
func (j *judge) unanswered() (all []Finding) {
	var stretches []stretch
	for target, requests := range j.requests {
		stretches = append(stretches, j.stretches(target, requests)...)
	}
	slices.SortFunc(stretches, func(a, b stretch) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.target, b.target))
	})
	for len(stretches) > 0 {
		first := stretches[0]
		sum, targets, rest := first, []string{first.target}, 1
		for ; rest < len(stretches) && stretches[rest].from.Before(sum.to); rest++ {
			next := stretches[rest]
			sum.requests += next.requests
			if next.to.After(sum.to) {
				sum.to, sum.last = next.to, next.last
			}
			if !slices.Contains(targets, next.target) {
				targets = append(targets, next.target)
			}
		}
		all = append(all, Finding{sum.from, fmt.Sprintf("%s: %d requests were not answered outside of any fault's "+
			"window, over %s, the last with: %s", shortList(targets), sum.requests,
			sum.to.Sub(sum.from).Round(time.Millisecond), sum.last)})
		stretches = stretches[rest:]
	}
	return all
}

func (j *judge) stretches(target string, requests []Request) (all []stretch) {
	for _, r := range requests {
		if r.Error == "" || j.excused(target, r.From, r.To) {
			continue
		}
		if n := len(all); n > 0 && r.From.Sub(all[n-1].to) <= stretchGap {
			all[n-1].to, all[n-1].last = r.To, r.Error
			all[n-1].requests++
			continue
		}
		all = append(all, stretch{target, r.From, r.To, 1, r.Error})
	}
	return all
}

func (j *judge) notBack() (all []Finding) {
	for _, windows := range j.windows {
		for _, w := range windows {
			if w.Open {
				all = append(all, Finding{w.To, fmt.Sprintf("%s did not answer again within %s after %s",
					w.Target, j.scenario.Recovery, w.Fault)})
			}
		}
	}
	return all
}

// crashes finds instances that nobody harmed, and ends that nobody was told of.
func (j *judge) crashes() (all []Finding) {
	seen := map[string]bool{}
	for _, c := range j.log.Changes {
		if c.To != "CRASHED" || seen[c.Instance] {
			continue
		}
		seen[c.Instance] = true
		if !j.excused(c.Target, c.At, c.At) && !slices.Contains(j.log.Ordered, c.Instance) {
			all = append(all, Finding{c.At, fmt.Sprintf("%s crashed, and no fault was done to it: %s", c.Target, c.Words)})
		}
		if j.log.Exits[c.Instance] == 0 {
			all = append(all, Finding{c.At, fmt.Sprintf("%s crashed, and no droplet.exited told of it", c.Target)})
		}
	}
	return all
}

// silenceSlack is how long a connection may take to come back.
const silenceSlack = 5 * time.Second

// silence finds pauses between heartbeats that no fault excuses.
func (j *judge) silence(r *run) (all []Finding) {
	for _, node := range r.Nodes {
		last := r.began
		look := func(at time.Time) {
			if at.Sub(last) > j.scenario.HeartbeatMax && !j.silenced(node, last, at) {
				all = append(all, Finding{at, fmt.Sprintf("node %s: no heartbeat for %s",
					node, at.Sub(last).Round(100*time.Millisecond))})
			}
			last = at
		}
		for _, beat := range j.log.Beats {
			if beat.Node == node && beat.At.After(r.began) {
				look(beat.At)
			}
		}
		look(r.ended)
	}
	return all
}

// silenced says whether faults account for more of a pause than is too much.
func (j *judge) silenced(node string, from, to time.Time) bool {
	excused := time.Duration(0)
	for _, d := range j.log.Done {
		if fault, _ := chaos.Find(d.Fault); !fault.Silences || d.Node != node {
			continue
		}
		begin, end := d.From, d.To.Add(silenceSlack)
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		excused += max(0, end.Sub(begin))
	}
	return to.Sub(from)-excused <= j.scenario.HeartbeatMax
}

func (j *judge) failedFaults() (all []Finding) {
	for _, d := range j.log.Done {
		if d.Error != "" {
			all = append(all, Finding{d.From, fmt.Sprintf("%s on node %s could not be done: %s", d.Fault, d.Node, d.Error)})
		}
	}
	return all
}

func (j *judge) gaveUp() (all []Finding) {
	for _, c := range j.log.GaveUp {
		all = append(all, Finding{c.At, fmt.Sprintf("node %s gave up %s: %s", c.To, c.Target, c.Words)})
	}
	return all
}
