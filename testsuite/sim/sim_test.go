package sim

import (
	"flag"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "play only this seed")
	rateFlag  = flag.Float64("sim.rate", 0.5, "with this rate of faults")
	traceFlag = flag.Bool("sim.trace", false, "print every message that is handled")
)

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// TestOneSeed plays the seed of -sim.seed.
func TestOneSeed(t *testing.T) {
	if *seedFlag == 0 {
		return
	}
	d := eventTrace
	if *traceFlag {
		d = turnTrace
	}
	p := newPlan(*seedFlag, *rateFlag)
	r := play(p, d)
	fmt.Println(p)
	fmt.Println(strings.Join(r.trace, "\n"))
	fmt.Printf("%d turns, %d containers, %s\n", r.turns, r.created, r.virtual)
	if r.wrong != "" {
		t.Error(r.wrong)
	}
}

// TestMany is for the workbench: -sim.count seeds from -sim.from.
func TestMany(t *testing.T) {
	begun := time.Now()
	bad, turns, made := map[string]int{}, 0, 0
	for seed := *fromFlag; seed < *fromFlag+*countFlag; seed++ {
		r := play(newPlan(seed, *rateFlag), noTrace)
		turns += r.turns
		made += r.created
		if r.wrong != "" {
			fmt.Println(seed, r.wrong)
			bad["x"]++
		}
	}
	n := float64(*countFlag)
	fmt.Printf("%d bad of %d, %.0f a second; %.0f turns, %.0f containers each\n", bad["x"], *countFlag, n/time.Since(begun).Seconds(), float64(turns)/n, float64(made)/n)
}

var (
	fromFlag  = flag.Uint64("sim.from", 1, "")
	countFlag = flag.Uint64("sim.count", 0, "")
)
