package drill

import (
	"slices"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// Window is a time in which a target may go unanswered, and why.
type Window struct {
	Fault    string
	Target   string
	Instance string // that it was done to; empty: to every one
	From, To time.Time
	Limit    time.Time // when the target had to be back
	Open     bool      // it did not come back in time
}

// span is a time, and spans are several that don't touch, the earliest first.
type (
	span  struct{ from, to time.Time }
	spans []span
)

// spansOf brings spans in order and joins those that touch: what two faults
// excuse is not excused twice.
func spansOf(all []span) (joined spans) {
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	for _, s := range all {
		if n := len(joined); n > 0 && !s.from.After(joined[n-1].to) {
			joined[n-1].to = later(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// within is how much of a time they cover.
func (all spans) within(from, to time.Time) (covered time.Duration) {
	for _, s := range all {
		s = span{later(s.from, from), earlier(s.to, to)}
		covered += max(0, s.to.Sub(s.from))
	}
	return covered
}

// after is the moment at which so much time has passed that they don't cover.
func (all spans) after(from time.Time, lasts time.Duration) time.Time {
	at := from.Add(lasts)
	for _, s := range all {
		if s.to.After(from) && s.from.Before(at) {
			at = at.Add(s.to.Sub(later(s.from, from)))
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// silenceSlack is how long a connection may take to come back.
const silenceSlack = 5 * time.Second

// pauses are the times in which a node is kept from bringing somebody back, and
// those in which it may be unheard.
func (j *judge) pauses() (hindered, silent map[string]spans) {
	hinders, silences := map[string][]span{}, map[string][]span{}
	for _, d := range j.log.Done {
		fault, _ := chaos.Find(d.Fault)
		if !d.happened() || fault.Harm != chaos.Nobody && !fault.Silences {
			continue
		}
		s := span{d.From, d.To}
		if fault.Silences {
			s.to = s.to.Add(silenceSlack)
			silences[d.Node] = append(silences[d.Node], s)
		}
		hinders[d.Node] = append(hinders[d.Node], s)
	}
	hindered, silent = map[string]spans{}, map[string]spans{}
	for node, all := range hinders {
		hindered[node] = spansOf(all)
	}
	for node, all := range silences {
		silent[node] = spansOf(all)
	}
	return hindered, silent
}

// harm is a fault that was done to a target, and its window as large as it can be.
type harm struct {
	Window
	done, over time.Time // when it was done, and when all of it is to be seen
}

// open makes the windows of all faults that harm somebody. They are as small as
// they can be: a window ends when its target answers again.
func (j *judge) open() map[string][]Window {
	harms := map[string][]harm{}
	for _, d := range j.log.Done {
		fault, _ := chaos.Find(d.Fault)
		switch {
		case !d.happened():
		case fault.Harm == chaos.One:
			harms[d.Target] = append(harms[d.Target], j.harm(d, fault, d.Target))
		case fault.Harm == chaos.Every:
			for target := range j.requests {
				harms[target] = append(harms[target], j.harm(d, fault, target))
			}
		}
	}
	windows := map[string][]Window{}
	for target, all := range harms {
		for i := range all {
			windows[target] = append(windows[target], j.closed(all, i))
		}
	}
	return windows
}

func (j *judge) harm(d Done, fault chaos.Fault, target string) harm {
	hindered := j.hindered[d.Node]
	over := later(d.To, hindered.after(d.From, fault.Shows))
	limit := hindered.after(over, j.scenario.Recovery)
	return harm{done: d.To, over: over, Window: Window{
		Fault: d.Fault, Target: target, Instance: d.Instance, From: d.From, To: limit, Limit: limit, Open: true,
	}}
}

// closed ends one of a target's windows with the first request that was answered
// after all of the fault is to be seen; or sooner, after a first one was lost by
// it and by nothing else.
func (j *judge) closed(harms []harm, this int) Window {
	h := harms[this]
	requests, seen := j.requests[h.Target], false
	for _, r := range requests {
		switch {
		case !r.To.After(h.From):
		case r.Error != "":
			seen = seen || !othersHarm(harms, this, r)
		case !r.From.Before(h.over) || seen && !r.From.Before(h.done):
			if r.To.Before(h.Limit) {
				h.To, h.Open = r.To, false
			}
			return h.Window
		}
	}
	if n := len(requests); n == 0 || requests[n-1].Error == "" {
		h.Open = false // the drill ended before all of it could be seen, and all was well then
	}
	return h.Window
}

// othersHarm says whether a request may have been lost by another fault.
func othersHarm(harms []harm, this int, r Request) bool {
	for i, h := range harms {
		if i != this && r.From.Before(h.Limit) && r.To.After(h.From) {
			return true
		}
	}
	return false
}

// excused says whether a request lies in a window of its target.
func (j *judge) excused(r Request) bool {
	return slices.ContainsFunc(j.windows[r.Target], func(w Window) bool {
		return r.From.Before(w.To) && r.To.After(w.From)
	})
}
