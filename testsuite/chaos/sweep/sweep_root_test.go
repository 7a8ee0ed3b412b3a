package sweep

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

var (
	seedFlag  = flag.Uint64("sweep.seed", 0, "what is drawn; 0: the commit's hash")
	killsFlag = flag.Int("sweep.kills", 520, "how many kills in all; 0: every step of every operation, on both sides")
	opFlag    = flag.String("sweep.op", "", "only this operation")
	roleFlag  = flag.String("sweep.role", "", "kill only this: agent, launcher, init, agent+init")
	nFlag     = flag.Int("sweep.n", 0, "kill only at this step")
	sideFlag  = flag.String("sweep.side", "", "only before or after the call")
	forFlag   = flag.Duration("sweep.for", 0, "end after this time, whatever is left to be swept; 0: never")
	timesFlag = flag.Int("sweep.times", 1, "how often everything is swept")
)

// kill is one of a sweep's: who dies, and where.
type kill struct {
	op    operation
	role  string
	n     int
	m     int // of a pair: where PID 1 dies
	after bool
}

func (k kill) replay(seed uint64) string {
	side := "before"
	if k.after {
		side = "after"
	}
	return fmt.Sprintf("go test ./testsuite/chaos/sweep -run TestAKillAtAnyStepLosesAndLeavesNothing -sweep.seed=%d "+
		"-sweep.op=%s -sweep.role=%s -sweep.n=%d -sweep.side=%s", seed, k.op.name, k.role, k.n, side)
}

// row is what the table says of an operation and a role.
type row struct {
	op, role      string
	steps         int // the most that there were
	kills         int
	residue, lost int
}

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
		s.killOnce(kill{op: p.op, role: p.role}, r)
	}
	if r.steps == 0 {
		s.t.Errorf("%s: the %s has no step in it", p.op.name, p.role)
		return
	}
	for _, k := range s.chosen(p, r.steps, most) {
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
func (s *sweep) chosen(p pairing, steps, most int) (all []kill) {
	sides := []bool{false, true}
	if *sideFlag != "" {
		sides = []bool{*sideFlag == "after"}
	}
	for n := 1; n <= steps; n++ {
		for _, after := range sides {
			all = append(all, kill{op: p.op, role: p.role, n: n, m: 1 + s.draw.IntN(steps), after: after})
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

// killOnce is one round: an operation, a kill in it, a successor, two oracles.
// How many steps there are differs from run to run, so some kills come too late.
func (s *sweep) killOnce(k kill, r *row) {
	s.count++
	round, killed := &round{sweep: s, kill: k}, false
	if err := round.play(); err != nil {
		round.wrong("the round broke off: %v", err)
	}
	for _, traced := range round.traced {
		if traced.Role == firstRole(k.role) {
			r.steps = max(r.steps, traced.Steps)
		}
		killed = killed || traced.Killed != ""
	}
	if killed {
		r.kills++
	}
	round.judge(r)
}

func firstRole(role string) string { return strings.SplitN(role, "+", 2)[0] }

// round is one kill being played.
type round struct {
	*sweep
	kill
	facts   []fact
	inits   []int
	traced  []Traced
	failed  error // of the operation, where the agent lived on
	reports int
}

func (r *round) wrong(format string, args ...any) {
	r.t.Helper()
	r.reports++
	var at []string
	for _, t := range r.traced {
		at = append(at, fmt.Sprintf("%s %s (of %d steps)", t.Role, t.Killed, t.Steps))
	}
	r.t.Errorf("%s, %s killed: %s: %s\nreplay: %s", r.op.name, r.role, strings.Join(at, ", "),
		fmt.Sprintf(format, args...), r.replay(r.seed))
}

// play does the operation under the tracer; afterwards the node lives, or is
// known to be dead.
func (r *round) play() error {
	do := "go"
	if r.op.anew {
		if err := r.mess(); err != nil {
			return fmt.Errorf("the mess to begin with: %w", err)
		}
		r.begin()
		do = "open"
	} else {
		facts, last, err := r.do(request{Do: "set", Op: r.op.name, Count: r.count})
		if err != nil {
			return fmt.Errorf("set: %w", err)
		}
		r.facts, r.inits = facts, last.Inits
	}
	if err := r.trace(r.targets()); err != nil {
		return err
	}
	facts, _, err := r.do(request{Do: do, Op: r.op.name})
	r.facts = append(r.facts, facts...)
	traced, stopped := r.machine.traced()
	r.traced = traced
	switch {
	case errors.Is(err, io.EOF): // killed
		r.node.end()
		r.node = nil
	case err != nil && r.node.process.ProcessState == nil && isTimeout(err):
		r.node.end()
		r.node = nil
		return fmt.Errorf("it hangs: %w", err)
	default:
		r.failed = err
	}
	return stopped
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}

// targets are the processes to be killed.
func (r *round) targets() (all []Target) {
	head := launcherOf(r.node.pid())
	for _, role := range strings.Split(r.role, "+") {
		target := Target{Role: role, N: r.n, After: r.after}
		switch {
		case role == agent:
			target.PID = r.node.pid()
		case role == launcher:
			target.PID = head
		case r.op.bears:
			target.Parent = head
		case len(r.inits) > 0:
			target.PID = r.inits[0]
		default:
			children := childrenOf(head)
			target.PID = children[len(children)-1] // a spare
		}
		if role == pid1 && r.role == pair {
			target.N = r.m
		}
		all = append(all, target)
	}
	return all
}

// mess leaves what a recovery is to find: an agent killed in the middle of
// something that was drawn.
func (r *round) mess() error {
	var some []operation
	for _, op := range operations {
		if !op.anew && op.name != "shutdown" && op.name != "detach" {
			some = append(some, op)
		}
	}
	first := &round{sweep: r.sweep, kill: kill{op: some[r.draw.IntN(len(some))], role: agent, n: 1 + r.draw.IntN(60),
		after: r.draw.IntN(2) == 0}}
	err := first.play()
	r.facts, r.inits = first.facts, first.inits
	if r.node != nil { // it had fewer steps
		r.node.end()
		r.node = nil
	}
	return err
}

// died says whether a process of that role was killed.
func (r *round) died(role string) bool {
	return slices.ContainsFunc(r.traced, func(t Traced) bool { return t.Role == role && t.Killed != "" })
}

// judge has the successor, or the agent that lived on, say what holds, take
// everything down, and looks for what is left.
func (r *round) judge(into *row) {
	if r.node != nil && (r.op.name == "detach" || r.op.name == "shutdown" || r.draw.IntN(3) == 0) {
		r.node.end() // whoever lived on is followed by another now and then
		r.node = nil
	}
	if r.failed != nil && r.role == agent {
		r.wrong("nobody was killed, and it failed: %v", r.failed)
	}
	if r.node == nil {
		if err := r.recover(); err != nil {
			into.residue++
			r.wrong("no recovery succeeds: %v", err)
			return
		}
	}
	if r.died(launcher) { // whoever lived on has another one
		if _, _, err := r.do(request{Do: "again", Count: r.count}); err != nil {
			r.wrong("after the launcher's death no container can be made: %v", err)
		}
	}
	_, last, err := r.do(request{Do: "check", Facts: r.facts, Dead: r.died(pid1), Count: r.count})
	if err != nil {
		last.Wrong = append(last.Wrong, "the check broke off: "+err.Error())
	}
	for _, wrong := range last.Wrong {
		into.lost++
		r.wrong("%s", wrong)
	}
	if _, _, err := r.do(request{Do: "clear"}); err != nil {
		into.residue++
		r.wrong("taking everything down: %v", err)
	}
	if left := r.traces.Beyond(r.idle, r.config.Plan.Pool, r.node.pid()); len(left) > 0 {
		into.residue++
		r.wrong("left: %q", left)
		r.idle = r.traces.Inventory(r.config.Plan.Pool, r.node.pid()) // said once
	}
}

func report(t *testing.T, seed uint64, sweeps []*sweep, took time.Duration) {
	var text strings.Builder
	sum, restarts := row{op: "all"}, 0
	fmt.Fprintf(&text, "%-16s %-10s %6s %6s %8s %5s\n", "operation", "killed", "steps", "kills", "residue", "lost")
	for _, s := range sweeps {
		if s.machine == nil {
			continue
		}
		restarts += s.restarts
		for _, r := range s.rows {
			fmt.Fprintln(&text, r)
			sum.kills, sum.residue, sum.lost = sum.kills+r.kills, sum.residue+r.residue, sum.lost+r.lost
		}
	}
	fmt.Fprintln(&text, &sum)
	t.Logf("seed %d, %s, %s a kill, %d recoveries begun again\n%s", seed, took.Round(time.Millisecond),
		(took / time.Duration(max(sum.kills, 1))).Round(time.Microsecond), restarts, text.String())
}

func (r *row) String() string {
	return fmt.Sprintf("%-16s %-10s %6d %6d %8d %5d", r.op, r.role, r.steps, r.kills, r.residue, r.lost)
}
