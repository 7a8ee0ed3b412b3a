package sim

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "play this seed only, and print what happens")
	rateFlag  = flag.Float64("sim.rate", 0, "with faults at this rate only")
	traceFlag = flag.Bool("sim.trace", false, "print every message that is handled, too")
	countFlag = flag.Uint64("sim.count", 1000, "how many seeds to play at each rate")
	fromFlag  = flag.Uint64("sim.from", 0, "the first of them; 0: by the commit's hash")
)

// rates are how often faults come that exist in a run.
func rates() []float64 {
	if *rateFlag > 0 {
		return []float64{*rateFlag}
	}
	return []float64{0.1, 0.5, 0.9}
}

// commit is what is tested, as far as git knows.
func commit() string {
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return strings.Repeat("0", 40)
	}
	return strings.TrimSpace(string(out))
}

// first is the first seed: another one for each commit, so that each explores
// new ground, and what it finds can be played again.
func first() uint64 {
	if *fromFlag > 0 {
		return *fromFlag
	}
	hash, err := hex.DecodeString(commit()[:12])
	if err != nil {
		return 1
	}
	return 1 + binary.BigEndian.Uint64(append([]byte{0, 0}, hash...))
}

// TestSeeds plays many histories. Whatever fails in them, nothing is promised
// twice, nobody is told what isn't so, and once it is healed everything that was
// asked comes true, and nothing is left.
func TestSeeds(t *testing.T) {
	if *seedFlag > 0 {
		for _, rate := range rates() {
			report(t, newPlan(*seedFlag, rate))
		}
		return
	}
	from := first()
	for _, rate := range rates() {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			begun := time.Now()
			r := seeds(rate, from)
			t.Logf("commit %s: %d seeds from %d at rate %g: %d failed; %.0f turns each, at most %d; "+
				"all came to rest by %s; %.0f seeds a second", commit()[:12], *countFlag, from, rate, len(r.failed),
				float64(r.turns)/float64(*countFlag), r.most, r.slowest, float64(*countFlag)/time.Since(begun).Seconds())
			for i, seed := range r.failed {
				if i == 3 {
					t.Errorf("and %d more: %d", len(r.failed)-i, r.failed[i:])
					break
				}
				complain(t, newPlan(seed, rate))
			}
		})
	}
}

// harvest is what came of many histories.
type harvest struct {
	turns   int
	most    int           // turns of one
	slowest time.Duration // stage of the second phase
	failed  []uint64
}

func (h *harvest) add(seed uint64, r result) {
	h.turns += r.turns
	h.most, h.slowest = max(h.most, r.turns), max(h.slowest, r.slowest)
	if r.wrong != "" {
		h.failed = append(h.failed, seed)
	}
}

// seeds plays them on all processors.
func seeds(rate float64, from uint64) (all harvest) {
	var next atomic.Uint64
	var mu sync.Mutex
	var workers sync.WaitGroup
	next.Store(from)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < from+*countFlag; seed = next.Add(1) - 1 {
				r := play(newPlan(seed, rate), noTrace)
				mu.Lock()
				all.add(seed, r)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(all.failed)
	return all
}

// traceMax is how many lines of a trace are shown unless all are asked for.
const traceMax = 60

// complain says what is wrong, how to play it again, and how it came to it with
// as few operations as that takes.
func complain(t *testing.T, p plan) {
	t.Helper()
	wrong := play(p, noTrace).wrong
	small := shrink(p)
	r := play(small, eventTrace)
	lines := r.trace[max(0, len(r.trace)-traceMax):]
	t.Errorf("%s\n%s\ncommit %s; replay: go test ./testsuite/sim -run TestSeeds -v -sim.seed=%d -sim.rate=%g -sim.trace\n"+
		"with %d operations (%s):\n%s", wrong, p, commit()[:12], p.seed, p.rate, len(small.keep), r.wrong, strings.Join(lines, "\n"))
}

// report plays one seed and prints all of it.
func report(t *testing.T, p plan) {
	t.Helper()
	d := eventTrace
	if *traceFlag {
		d = turnTrace
	}
	r := play(p, d)
	t.Logf("%s\n%s\n%d turns, %d containers, %s", p, strings.Join(r.trace, "\n"), r.turns, r.created, r.virtual)
	if r.wrong != "" {
		complain(t, p)
	}
}

func TestTheSameSeedPlaysTheSameHistory(t *testing.T) {
	different := map[string]bool{}
	for seed := first(); seed < first()+25; seed++ {
		for _, rate := range rates() {
			once, twice := play(newPlan(seed, rate), turnTrace).trace, play(newPlan(seed, rate), turnTrace).trace
			if !slices.Equal(once, twice) {
				at := 0
				for at < min(len(once), len(twice)) && once[at] == twice[at] {
					at++
				}
				t.Fatalf("seed %d at rate %g goes two ways from line %d of %d and %d:\n%s\n\n%s", seed, rate, at, len(once), len(twice),
					strings.Join(once[max(0, at-3):min(len(once), at+3)], "\n"), strings.Join(twice[max(0, at-3):min(len(twice), at+3)], "\n"))
			}
			different[strings.Join(once, "\n")] = true
		}
	}
	if len(different) < 70 {
		t.Errorf("75 seeds gave only %d histories", len(different))
	}
}

// reachMax is how many seeds have all of it.
const reachMax = 300

// A simulation in which nothing happens finds nothing: every fault strikes, and
// whatever a node does is done.
func TestSeedsReachEverything(t *testing.T) {
	told := strings.Builder{}
	for seed := range uint64(reachMax) {
		told.WriteString(strings.Join(play(newPlan(seed+1, 0.5), eventTrace).trace, "\n"))
	}
	story := told.String()
	for _, want := range []string{
		"fails at", "refused by chance", "takes 1h", "denied by chance", "fetch fails", "write fails", "lost: ",
		"the agent is killed", "the agent detaches", "everything is gone", "out of time", "the agent gives up", "gave up: ",
		"the machine is restarted", "is BORN after the restart", "is RUNNING after the restart",
		"publishing a line fails", "init of c", "the job of c", "is out of memory", "the wire is away", "the clock is",
		"BORN -> STARTING", "STARTING -> RUNNING", "RUNNING -> STOPPING", "STOPPING -> STOPPED", "BORN -> CRASHED",
		"STARTING -> CRASHED", "RUNNING -> CRASHED", "BORN -> STOPPED", "exited: 7 ", "exited: -1 ", "exited: 255 ", "out of memory\"",
		"route [", "no route [", " now, v1, [", "the agent has evacuated",
		"RUNNING -> EVACUATING", "STARTING -> EVACUATING", "EVACUATING -> STOPPING", "is about to exit", "AsksForgotten", "NodeStopped",
		"ContainerCreated", "JobSpawned", "exit 3, ", "exit 255, ", "PortMapped", "ContainersListed", "MemoryLimited",
		"Could not acquire network", "already exists", "no such job", "unknown handle", "ask again", "'stopped'",
	} {
		if !strings.Contains(story, want) {
			t.Errorf("%d seeds have never had %q", reachMax, want)
		}
	}
}
