package drill

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos"
)

// Act is one fault of a schedule.
type Act struct {
	At    time.Duration
	Node  int // of those that the drill is run on
	Order chaos.Order
}

// Schedule draws what is done and when. The same seed gives the same acts; who
// is the victim, a node draws by the order's own seed from those that live.
func (s Scenario) Schedule(seed uint64, nodes int) []Act {
	rng := rand.New(rand.NewPCG(seed, 1))
	var acts []Act
	for i, f := range s.Fixed {
		acts = append(acts, Act{At: f.At, Node: i % nodes, Order: f.Order})
	}
	if len(s.Random.Faults) > 0 {
		acts = append(acts, s.drawn(rng, nodes)...)
	}
	slices.SortStableFunc(acts, func(a, b Act) int { return cmp.Compare(a.At, b.At) })
	for i := range acts {
		acts[i].Order.Seed = rng.Uint64()
		acts[i].Order.ID = fmt.Sprintf("%d-%d", seed, i)
	}
	return acts
}

func (s Scenario) drawn(rng *rand.Rand, nodes int) (acts []Act) {
	last := s.Duration * 9 / 10 // what is over before the end shows that it is over
	ends := make([]time.Duration, s.Random.Overlap)
	for at := s.pause(rng); at < last; at += s.pause(rng) {
		free := slices.Index(ends, slices.Min(ends))
		if at = max(at, ends[free]); at >= last {
			break
		}
		order := s.draw(rng)
		lasts := order.For.Duration()
		if fault, ok := chaos.Find(order.Fault); ok && lasts == 0 {
			lasts = fault.For
		}
		ends[free] = at + lasts
		acts = append(acts, Act{At: at, Node: rng.IntN(nodes), Order: order})
	}
	return acts
}

// pause is drawn so that short ones are as usual as in life: exponentially,
// within bounds.
func (s Scenario) pause(rng *rand.Rand) time.Duration {
	const least, most = 0.1, 4
	return time.Duration(min(max(rng.ExpFloat64(), least), most) * float64(s.Random.Every))
}

func (s Scenario) draw(rng *rand.Rand) chaos.Order {
	sum := 0.0
	for _, f := range s.Random.Faults {
		sum += f.Weight
	}
	at := rng.Float64() * sum
	for _, f := range s.Random.Faults {
		if at -= f.Weight; at < 0 {
			return f.Order
		}
	}
	return s.Random.Faults[0].Order
}
