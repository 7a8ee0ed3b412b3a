package kit

import (
	"cmp"
	"errors"
	"time"
)

// Budget is OTP's restart intensity with pauses: at most Restarts restarts in
// any Window, each after a pause that doubles from PauseMin to PauseMax with
// the failures of that window, give or take a quarter. A field that is zero
// has DefaultBudget's value; Restarts below zero means never.
type Budget struct {
	Restarts           int
	Window             time.Duration
	PauseMin, PauseMax time.Duration
}

// DefaultBudget is what a Kind without a budget has.
var DefaultBudget = Budget{Restarts: 5, Window: time.Minute, PauseMin: 20 * time.Millisecond, PauseMax: 5 * time.Second}

// Never is the budget of what is tried once.
var Never = Budget{Restarts: -1}

// jitter is the part of a pause that chance adds or takes at most.
const jitter = 0.25

// restarts counts one actor's failures against its budget. It decides and does
// nothing else.
type restarts struct {
	budget Budget
	faults []time.Time // within the window, oldest first
}

func newRestarts(b Budget) restarts {
	b.Restarts = cmp.Or(b.Restarts, DefaultBudget.Restarts)
	b.Window = cmp.Or(b.Window, DefaultBudget.Window)
	b.PauseMin = cmp.Or(b.PauseMin, DefaultBudget.PauseMin)
	b.PauseMax = max(cmp.Or(b.PauseMax, DefaultBudget.PauseMax), b.PauseMin)
	return restarts{budget: b}
}

// after counts a failure at now and says whether it earns a restart, and after
// which pause. chance is in [0, 1).
func (r *restarts) after(failure error, now time.Time, chance float64) (time.Duration, bool) {
	recent := r.faults[:0]
	for _, at := range r.faults {
		if now.Sub(at) < r.budget.Window {
			recent = append(recent, at)
		}
	}
	r.faults = append(recent, now)
	if errors.Is(failure, ErrPermanent) || len(r.faults) > r.budget.Restarts {
		return 0, false
	}
	pause := r.budget.PauseMin
	for range len(r.faults) - 1 {
		pause = min(2*pause, r.budget.PauseMax)
	}
	pause += time.Duration((2*chance - 1) * jitter * float64(pause))
	return min(pause, r.budget.PauseMax), true
}
