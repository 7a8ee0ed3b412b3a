package kit

import (
	"math/rand/v2"
	"testing"
)

func TestAQueueGivesBackWhatItTook(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var q queue
		in, out, longest := 0, 0, 0
		for range 5000 {
			if q.len() != in-out {
				t.Fatalf("seed %d: holds %d, want %d", seed, q.len(), in-out)
			}
			if q.len() > 0 && rng.IntN(2) == 0 {
				if got := q.pop(); got != out {
					t.Fatalf("seed %d: got %v, want %d", seed, got, out)
				}
				out++
				continue
			}
			q.push(in)
			in++
			longest = max(longest, q.len())
		}
		if cap(q.items) > 4*longest+queueKeep {
			t.Errorf("seed %d: keeps %d places for at most %d messages", seed, cap(q.items), longest)
		}
	}
}

func TestAQueueThatWasLongKeepsNothing(t *testing.T) {
	var q queue
	for i := range 10_000 {
		q.push(i)
	}
	for q.len() > 0 {
		q.pop()
	}
	if cap(q.items) > queueKeep {
		t.Errorf("keeps %d places", cap(q.items))
	}
}
