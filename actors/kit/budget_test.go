package kit

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var errBoom = errors.New("boom")

func TestBudgets(t *testing.T) {
	budget := Budget{
		Restarts: 3, Window: 10 * time.Second, PauseMin: 100 * time.Millisecond, PauseMax: 300 * time.Millisecond,
	}
	permanent := fmt.Errorf("no: %w", ErrPermanent)
	type fault struct {
		at    time.Duration // since the first
		err   error
		pause time.Duration // -1: given up
	}
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		budget Budget
		faults []fault
	}{
		"doubles, is capped, ends": {budget, []fault{
			{0, errBoom, 100 * ms}, {1 * time.Second, errBoom, 200 * ms}, {2 * time.Second, errBoom, 300 * ms},
			{3 * time.Second, errBoom, -1},
		}},
		"forgives what left the window": {budget, []fault{
			{0, errBoom, 100 * ms}, {time.Second, errBoom, 200 * ms}, {2 * time.Second, errBoom, 300 * ms},
			{10 * time.Second, errBoom, 300 * ms}, {10 * time.Second, errBoom, -1},
		}},
		"forgives all": {budget, []fault{
			{0, errBoom, 100 * ms}, {time.Second, errBoom, 200 * ms}, {time.Minute, errBoom, 100 * ms},
		}},
		"permanent": {budget, []fault{{0, permanent, -1}}},
		"never":     {Never, []fault{{0, errBoom, -1}}},
		"default": {Budget{}, []fault{
			{0, errBoom, 20 * ms}, {0, errBoom, 40 * ms}, {0, errBoom, 80 * ms}, {0, errBoom, 160 * ms},
			{0, errBoom, 320 * ms}, {0, errBoom, -1},
		}},
		"a minimum above the maximum": {Budget{PauseMin: time.Minute}, []fault{{0, errBoom, time.Minute}}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
			r := newRestarts(test.budget)
			for i, f := range test.faults {
				pause, again := r.after(f.err, start.Add(f.at), 0.5)
				if again != (f.pause >= 0) || again && pause != f.pause {
					t.Errorf("fault %d: pause %v, again %v, want %v", i+1, pause, again, f.pause)
				}
			}
		})
	}
}

func TestChanceMovesAPauseByAQuarterAndNotAboveTheCap(t *testing.T) {
	b := Budget{Restarts: 10, Window: time.Hour, PauseMin: time.Second, PauseMax: 1100 * time.Millisecond}
	for chance, want := range map[float64]time.Duration{
		0: 750 * time.Millisecond, 0.5: time.Second, 0.6: 1050 * time.Millisecond, 0.999: 1100 * time.Millisecond,
	} {
		r := newRestarts(b)
		if got, _ := r.after(errBoom, time.Time{}, chance); (got - want).Abs() > time.Millisecond {
			t.Errorf("chance %v: %v, want %v", chance, got, want)
		}
	}
}
