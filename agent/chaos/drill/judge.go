package drill

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Finding is something that should not have been.
type Finding struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// judge looks at what happened, once it is over.
type judge struct {
	log      *Log
	scenario Scenario
	requests map[string][]Request // by target
	windows  map[string][]Window  // by target
	hindered map[string]spans     // by node: when coming back may take longer
	silent   map[string]spans     // by node: when it may be unheard
}

func newJudge(log *Log, s Scenario) *judge {
	j := &judge{log: log, scenario: s, requests: map[string][]Request{}}
	for _, r := range log.Requests {
		j.requests[r.Target] = append(j.requests[r.Target], r)
	}
	for _, all := range j.requests {
		slices.SortFunc(all, func(a, b Request) int { return a.From.Compare(b.From) })
	}
	j.hindered, j.silent = j.pauses()
	j.windows = j.open()
	return j
}

// findings are everything that should not have been, the earliest first.
func (j *judge) findings(r *run) []Finding {
	all := append([]Finding{}, // a list even where it is empty
		slices.Concat(j.unanswered(), j.notBack(), j.crashes(), j.silence(r), j.failed(), j.gaveUp(), j.proofless(r))...)
	slices.SortStableFunc(all, func(a, b Finding) int { return a.At.Compare(b.At) })
	if r.cutShort {
		all = append(all, Finding{r.ended, "the drill was ended early: nobody looked whether all was well at the end"})
	}
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

func were(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return count(n, noun) + " were"
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
		all = append(all, Finding{sum.from, fmt.Sprintf("%s: %s not answered outside of any fault's window, over %s, "+
			"the last with: %s", shortList(targets), were(sum.requests, "request"),
			sum.to.Sub(sum.from).Round(time.Millisecond), sum.last)})
		stretches = stretches[rest:]
	}
	return all
}

func (j *judge) stretches(target string, requests []Request) (all []stretch) {
	for _, r := range requests {
		if r.Error == "" || j.excused(r) {
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
		if !j.explains(c) && !slices.Contains(j.log.Ordered, c.Instance) {
			all = append(all, Finding{c.At, fmt.Sprintf("%s crashed, and no fault was done to it: %s", c.Target, c.Words)})
		}
		if j.log.Exits[c.Instance] == 0 {
			all = append(all, Finding{c.At, fmt.Sprintf("%s crashed, and no droplet.exited told of it", c.Target)})
		}
	}
	return all
}

// explains says whether a fault accounts for a crash: one that was done to this
// very instance or to all, or, where it never ran, to the one before it, whose
// place it did not get to take.
func (j *judge) explains(c Change) bool {
	return slices.ContainsFunc(j.windows[c.Target], func(w Window) bool {
		if c.At.Before(w.From) || !c.At.Before(w.Limit) {
			return false
		}
		return w.Instance == c.Instance || w.Instance == "" || !c.Ran && c.At.Before(w.To)
	})
}

// silence finds pauses between heartbeats that no fault excuses.
func (j *judge) silence(r *run) (all []Finding) {
	for _, node := range r.Nodes {
		last := r.began
		look := func(at time.Time) {
			if at.Sub(last)-j.silent[node].within(last, at) > j.scenario.HeartbeatMax {
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

// proofless finds that nothing was found out.
func (j *judge) proofless(r *run) (all []Finding) {
	if !slices.ContainsFunc(j.log.Done, Done.happened) {
		all = append(all, Finding{r.ended, "no fault was done, so nothing was found out"})
	}
	if len(j.log.Requests) == 0 {
		all = append(all, Finding{r.ended, "no request was made, so nobody knows what a client would have noticed"})
	}
	return all
}

func (j *judge) failed() (all []Finding) {
	for _, d := range j.log.Done {
		if d.Error != "" {
			all = append(all, Finding{d.From, fmt.Sprintf("%s on node %s could not be done: %s", d.Fault, d.Node, d.Error)})
		}
	}
	return all
}

func (j *judge) gaveUp() (all []Finding) {
	for _, c := range j.log.GaveUp {
		all = append(all, Finding{c.At, fmt.Sprintf("node %s gave up %s: %s", c.Node, c.Actor, c.Reason)})
	}
	return all
}
