package sweep

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

var (
	seedFlag  = flag.Uint64("sweep.seed", 0, "what is drawn; 0: the commit's hash")
	killsFlag = flag.Int("sweep.kills", 520, "how many kills in all; 0: every step of every operation, on both sides")
	opFlag    = flag.String("sweep.op", "", "only this operation")
	roleFlag  = flag.String("sweep.role", "", "kill only this: agent, launcher, init, agent+init, init@agent ...")
	nFlag     = flag.Int("sweep.n", 0, "kill only at this step")
	mFlag     = flag.Int("sweep.m", 0, "of a pair, kill the other one only at this step of its own")
	diceFlag  = flag.Uint64("sweep.dice", 0, "what else a round decides; 0: drawn")
	sideFlag  = flag.String("sweep.side", "", "only before or after the call")
	forFlag   = flag.Duration("sweep.for", 0, "end after this time, whatever is left to be swept; 0: never")
	timesFlag = flag.Int("sweep.times", 1, "how often everything is swept")
)

// seedOf is the commit's: new ground each time, and the same for whoever has the
// same tree.
func seedOf(t testing.TB) uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	head := exec.Command("git", "rev-parse", "HEAD")
	head.Dir = rig.Root()
	hash, err := head.Output()
	if err != nil {
		t.Log("sweep: no commit to draw from, so the seed is 1:", err)
		return 1
	}
	h := fnv.New64a()
	h.Write(hash)
	return h.Sum64() >> 16 // short enough to be typed
}

// abreast is how many sweeps go on side by side: most of one is waiting for the
// kernel.
const abreast = 2

// sweep is one of them.
type sweep struct {
	*machine
	draw  *rand.Rand
	seed  uint64
	begun time.Time
	count uint32
	rows  []*row
}

// pairing is an operation and who dies in it.
type pairing struct {
	op   operation
	role string
}

func pairings() (all []pairing) {
	for _, op := range operations {
		for _, role := range op.roles {
			if (*opFlag == "" || op.name == *opFlag) && (*roleFlag == "" || role == *roleFlag) {
				all = append(all, pairing{op, role})
			}
		}
	}
	return all
}

func TestAKillAtAnyStepLosesAndLeavesNothing(t *testing.T) {
	seed, begun, all := seedOf(t), time.Now(), pairings()
	sweeps := make([]*sweep, abreast)
	t.Run("abreast", func(t *testing.T) {
		for i := range sweeps {
			var mine []pairing
			for j := i; j < len(all); j += abreast {
				mine = append(mine, all[j])
			}
			sweeps[i] = &sweep{seed: seed, begun: begun, draw: rand.New(rand.NewPCG(seed, uint64(i)))}
			if len(mine) == 0 {
				continue
			}
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				sweeps[i].machine = newMachine(t, uint32(i))
				sweeps[i].all(mine, *killsFlag*len(mine)/len(all))
			})
		}
	})
	report(t, seed, sweeps, time.Since(begun))
}

// all sweeps until there were as many kills as wanted, or, where that is 0,
// everything.
func (s *sweep) all(pairings []pairing, wanted int) {
	if wanted == 0 {
		for range *timesFlag {
			for _, p := range pairings {
				s.one(p, 0)
			}
		}
		return
	}
	// A pairing may have few steps, and a kill come too late: the rest is made up for.
	const passes = 4
	for range passes {
		for i, p := range pairings {
			if missing := wanted - s.kills(); missing > 0 {
				s.one(p, 1+missing/(len(pairings)-i))
			}
		}
	}
}

func (s *sweep) kills() (sum int) {
	for _, r := range s.rows {
		sum += r.kills
	}
	return sum
}

// one measures how many steps there are and kills at each, or at a slice.
func (s *sweep) one(p pairing, most int) {
	r := s.row(p.op, p.role)
	if *forFlag > 0 && time.Since(s.begun) > *forFlag {
		return
	}
	if r.steps == 0 {
		s.killOnce(kill{op: p.op, role: p.role, dice: s.draw.Uint64() >> 16}, r)
	}
	if r.steps == 0 {
		s.t.Errorf("%s: the %s has no step in it", p.op.name, p.role)
		return
	}
	for _, k := range s.chosen(p, r, most) {
		if *forFlag > 0 && time.Since(s.begun) > *forFlag {
			return
		}
		s.killOnce(k, r)
		if s.node == nil {
			s.t.Fatal("sweep: no node is left to go on with")
		}
	}
}

func (s *sweep) row(op operation, role string) *row {
	for _, r := range s.rows {
		if r.op == op.name && r.role == role {
			return r
		}
	}
	r := &row{op: op.name, role: role}
	s.rows = append(s.rows, r)
	return r
}

// chosen are the kills of one operation: every step on both sides, or as many as
// asked for, spread evenly over the steps from a drawn beginning.
func (s *sweep) chosen(p pairing, r *row, most int) (all []kill) {
	sides := []bool{false, true}
	if *sideFlag != "" {
		sides = []bool{*sideFlag == "after"}
	}
	for n := 1; n <= r.steps; n++ {
		for _, after := range sides {
			all = append(all, kill{op: p.op, role: p.role, n: n, m: *mFlag, after: after, dice: *diceFlag})
			if k := &all[len(all)-1]; *mFlag == 0 {
				k.m = 1 + s.draw.IntN(max(r.second, 1))
			}
			if k := &all[len(all)-1]; *diceFlag == 0 {
				k.dice = s.draw.Uint64() >> 16
			}
		}
	}
	if *nFlag > 0 {
		return slices.DeleteFunc(all, func(k kill) bool { return k.n != *nFlag })
	}
	if most == 0 || len(all) <= most {
		return all
	}
	stride, first := float64(len(all))/float64(most), s.draw.Float64()
	var some []kill
	for i := range most {
		some = append(some, all[int((float64(i)+first)*stride)%len(all)])
	}
	return some
}
