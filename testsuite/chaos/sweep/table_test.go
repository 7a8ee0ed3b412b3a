package sweep

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// row is what the table says of an operation and a role.
type row struct {
	op, role      string
	steps         int // the most that there were
	second        int // of a pair: the most that the other one had
	kills         int
	both          int // of them, how many killed two
	residue, lost int
}

// learn takes what became of the targets, and says whether any was killed.
func (r *row) learn(traced []Traced) (killed bool) {
	dead := map[string]bool{}
	for _, t := range traced {
		if t.Role == firstOf(r.role) {
			r.steps = max(r.steps, t.Steps)
		} else {
			r.second = max(r.second, t.Steps)
		}
		if t.Killed != "" {
			dead[t.Role] = true
		}
	}
	if len(dead) > 0 {
		r.kills++
	}
	if len(dead) > 1 {
		r.both++
	}
	return len(dead) > 0
}

func (r *row) String() string {
	return fmt.Sprintf("%-16s %-14s %6d %6d %6d %8d %5d", r.op, r.role, r.steps, r.kills, r.both, r.residue, r.lost)
}

// table is what a sweep has to say in the end; sum is a row of its own.
func table(rows []*row) (text string, sum row) {
	var lines strings.Builder
	sum.op = "all"
	fmt.Fprintf(&lines, "%-16s %-14s %6s %6s %6s %8s %5s\n",
		"operation", "killed", "steps", "kills", "both", "residue", "lost")
	for _, r := range rows {
		fmt.Fprintln(&lines, r)
		sum.kills, sum.both = sum.kills+r.kills, sum.both+r.both
		sum.residue, sum.lost = sum.residue+r.residue, sum.lost+r.lost
	}
	fmt.Fprintln(&lines, &sum)
	return lines.String(), sum
}

func report(t *testing.T, seed uint64, sweeps []*sweep, took time.Duration) {
	restarts, rows := 0, []*row(nil)
	for _, s := range sweeps {
		rows = append(rows, s.rows...)
		if s.machine != nil {
			restarts += s.restarts
		}
	}
	text, sum := table(rows)
	t.Logf("seed %d, %s, %s a kill, %d recoveries begun again\n%s", seed, took.Round(time.Millisecond),
		(took / time.Duration(max(sum.kills, 1))).Round(time.Microsecond), restarts, text)
}
