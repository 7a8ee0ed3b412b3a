package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// fault is one kind of thing that goes wrong by chance. What is ordered to go
// wrong at one moment is an operation (operations.go).
type fault int

const (
	actorPanics  fault = iota // a message is handled
	callRefused               // the kernel is asked for something
	callHangs                 // longer than anybody waits
	callSlow                  // some seconds
	callDenied                // done, and told as failed
	fetchFails                // a droplet is fetched
	writeRefused              // a record is written
	lineRefused               // a line of an application's is published
	wordLost                  // a message is on its way
	wordTwice
	wordSlow
	agentSlow // time goes on while there is something to do
	faults
)

var faultNames = [faults]string{
	"actor panics", "call refused", "call hangs", "call slow", "call denied", "fetch fails", "write refused",
	"line refused", "word lost", "word twice", "word slow", "agent slow",
}

// weights of a fault that exists in a run: one in three is as frequent as the
// rate says, the others are rare to different degrees. Uniform chance explores
// the middle only.
var weights = []float64{1, 0.2, 0.04}

// tempered are faults that end everything at once where they are frequent.
var tempered = map[fault]float64{actorPanics: 0.1, callHangs: 0.2, lineRefused: 0.3, agentSlow: 0.5}

// plan is everything that the seed decides beforehand.
type plan struct {
	seed   uint64
	rate   float64
	chance [faults]float64
	kinds  []string // of actors that fail, with chances higher by their fewness; none: all do
	calls  []string // of the kernel's that go wrong; none: all do
	ops    []operation
	report bool         // what ran when the machine was restarted is reported, and not started again
	keep   map[int]bool // which of ops are done; nil: all
}

func newPlan(seed uint64, rate float64) plan {
	rng := rand.New(rand.NewPCG(seed, 1))
	p := plan{seed: seed, rate: rate, report: rng.IntN(2) == 0}
	for f := range faults {
		exists, weight := rng.IntN(2) == 0, weights[rng.IntN(len(weights))]
		if !exists {
			continue
		}
		p.chance[f] = rate * weight
		if t, ok := tempered[f]; ok {
			p.chance[f] *= t
		}
	}
	p.kinds, p.calls = some(rng, actorKinds), some(rng, kernelCalls)
	if len(p.kinds) > 0 {
		p.chance[actorPanics] = min(rate/2, 6*p.chance[actorPanics])
	}
	sorts := make([]int, 0, len(operations)) // each as often as its weight in this run
	for sort, o := range operations {
		weight := o.weight
		if o.fault {
			weight = 0
			if rng.IntN(2) == 0 {
				weight = max(1, int(rate*float64(o.weight)*weights[rng.IntN(2)]))
			}
		} else if rng.IntN(4) == 0 {
			weight = 0
		}
		for range weight {
			sorts = append(sorts, sort)
		}
	}
	for range 20 + rng.IntN(40) {
		if len(sorts) == 0 {
			break
		}
		p.ops = append(p.ops, operation{
			sort: sorts[rng.IntN(len(sorts))], seed: rng.Uint64(), pause: pauses[rng.IntN(len(pauses))],
		})
	}
	return p
}

// What may be singled out in a run: what is rare among everything that happens
// fails often then, and what it works with does not.
var (
	actorKinds = strings.Fields("node ledger networks allocation containers container job output health memory " +
		"droplets droplet instances instance janitor handles handle")
	kernelCalls = strings.Fields("create adopt wait stop destroy release prepare probe containers spawn forget note " +
		"limit map stats audit copy usage follow")
)

// some is one to three of a list in one run of two, and none in the other.
func some(rng *rand.Rand, list []string) (chosen []string) {
	if rng.IntN(2) == 0 {
		return nil
	}
	for range 1 + rng.IntN(3) {
		chosen = append(chosen, list[rng.IntN(len(list))])
	}
	return chosen
}

// strikes says whether one of those that were chosen is meant.
func strikes(chosen []string, name string) bool {
	return len(chosen) == 0 || slices.Contains(chosen, name)
}

func (p plan) String() string {
	var words []string
	for f, chance := range p.chance {
		if chance > 0 {
			words = append(words, fmt.Sprintf("%s %.3f", faultNames[f], chance))
		}
	}
	return fmt.Sprintf("seed %d rate %g: %d operations; %s; of actors %v, of calls %v (none: all)",
		p.seed, p.rate, len(p.ops), strings.Join(words, ", "), p.kinds, p.calls)
}
