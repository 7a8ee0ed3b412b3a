package sweep

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
)

// kill is one of a sweep's: who dies, and where.
type kill struct {
	op    operation
	role  string
	n     int
	m     int // of a pair: where the other one dies
	after bool
	dice  uint64 // decides what else there is to decide in the round
}

func (k kill) replay() string {
	return fmt.Sprintf("go test ./testsuite/chaos/sweep -run TestAKillAtAnyStepLosesAndLeavesNothing -sweep.op=%s "+
		"-sweep.role=%s -sweep.n=%d -sweep.m=%d -sweep.side=%s -sweep.dice=%d",
		k.op.name, k.role, k.n, k.m, sideOf(k.after), k.dice)
}

func sideOf(after bool) string {
	if after {
		return "after"
	}
	return "before"
}

// round is one kill being played.
type round struct {
	*sweep
	kill
	draw   *rand.Rand
	facts  []fact
	inits  []int
	traced []Traced
	died   map[string]bool // roles, in the mess to begin with too
	failed error           // of the operation, where the agent lived on
}

func (s *sweep) newRound(k kill) *round {
	return &round{sweep: s, kill: k, draw: rand.New(rand.NewPCG(k.dice, 0)), died: map[string]bool{}}
}

// killOnce is one round: an operation, a kill in it, a successor, two oracles.
// How many steps there are differs from run to run, so some kills come too late.
func (s *sweep) killOnce(k kill, into *row) {
	s.count++
	r := s.newRound(k)
	if err := r.play(); err != nil {
		r.wrong("the round broke off: %v", err)
	}
	into.learn(r.traced)
	r.judge(into)
}

func (r *round) wrong(format string, args ...any) {
	r.t.Helper()
	var at []string
	for _, t := range r.traced {
		at = append(at, fmt.Sprintf("%s %s (of %d steps)", t.Role, t.Killed, t.Steps))
	}
	r.t.Errorf("%s, %s killed: %s: %s\nreplay: %s", r.op.name, r.role, strings.Join(at, ", "),
		fmt.Sprintf(format, args...), r.replay())
}

// play does the operation under the tracer; afterwards the node lives, or is
// known to be dead.
func (r *round) play() error {
	do, err := "go", error(nil)
	if r.op.anew {
		do, err = "open", r.mess()
	} else {
		err = r.set()
	}
	if err != nil {
		return err
	}
	if err := r.tracer.trace(r.targets()); err != nil {
		return err
	}
	facts, _, err := r.do(request{Do: do, Op: r.op.name})
	r.facts = append(r.facts, facts...)
	traced, stopped := r.tracer.traced()
	r.traced = traced
	for _, t := range traced {
		r.died[t.Role] = r.died[t.Role] || t.Killed != ""
	}
	switch {
	case errors.Is(err, io.EOF), r.killedNow(agent): // killed, perhaps after its answer
		r.bury()
	case err != nil && isTimeout(err):
		r.bury()
		return fmt.Errorf("it hangs: %w", err)
	case err != nil && r.op.anew: // an agent that can't start ends, and the next one tries
		r.bury()
		fallthrough
	default:
		r.failed = err
	}
	return stopped
}

// set does what has to be there before.
func (r *round) set() error {
	facts, last, err := r.do(request{Do: "set", Op: r.op.name, Count: r.count})
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	r.facts, r.inits = facts, last.Inits
	return nil
}

// bury ends the node, if it didn't end by itself.
func (m *machine) bury() {
	if m.node != nil {
		m.node.end()
	}
	m.node = nil
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
	if victim, at, is := strings.Cut(r.role, "@"); is {
		target := r.target(at)
		target.Role, target.Instead = victim, r.target(victim).PID
		return []Target{target}
	}
	for i, role := range strings.Split(r.role, "+") {
		target := r.target(role)
		if i > 0 {
			target.N = r.m
		}
		all = append(all, target)
	}
	return all
}

func (r *round) target(role string) Target {
	target, head := Target{Role: role, N: r.n, After: r.after}, launcherOf(r.node.pid())
	switch {
	case role == agent:
		target.PID = r.node.pid()
	case role == launcher && r.op.anew:
		target.Parent = r.node.pid()
	case role == launcher:
		target.PID = head
	case r.op.bears:
		target.Parent = head
	case len(r.inits) > 0:
		target.PID = r.inits[0]
	default:
		if children := childrenOf(head); len(children) > 0 {
			target.PID = children[len(children)-1] // a spare
		}
	}
	return target
}

// mess leaves what a recovery is to find, and begins the agent that recovers: the
// last one was killed in the middle of something that was drawn, now and then with
// one of its helpers. Where PID 1 is to die, there is one that lives.
func (r *round) mess() error {
	var some []kill
	for _, op := range operations {
		for _, role := range op.roles {
			lives := op.keeps && role == agent
			if strings.HasPrefix(role, agent) && !op.anew && !op.ends && (lives || !strings.Contains(r.role, pid1)) {
				some = append(some, kill{op: op, role: role})
			}
		}
	}
	first := some[r.draw.IntN(len(some))]
	first.n, first.m, first.after = 1+r.draw.IntN(60), 1+r.draw.IntN(60), r.draw.IntN(2) == 0
	before := r.newRound(first)
	err := before.play()
	r.facts, r.inits = before.facts, before.inits
	r.died[pid1] = before.died[pid1]
	r.bury() // it may have had fewer steps
	r.begin()
	if err != nil {
		return fmt.Errorf("the mess to begin with: %w", err)
	}
	return nil
}

// judge has the successor, or the agent that lived on, say what holds, take
// everything down, and looks for what is left.
func (r *round) judge(into *row) {
	if r.op.ends || r.draw.IntN(3) == 0 {
		r.bury() // whoever lived on is followed by another now and then
	}
	if r.failed != nil && (r.op.sure || !r.killedNow("")) {
		r.wrong("it failed: %v", r.failed)
	}
	if r.node == nil {
		if err := r.recover(); err != nil {
			into.residue++
			r.wrong("no recovery succeeds: %v", err)
			return
		}
	}
	if r.died[launcher] { // whoever lived on has another one
		if _, _, err := r.do(request{Do: "again", Count: r.count}); err != nil {
			r.wrong("after the launcher's death no container can be made: %v", err)
		}
	}
	r.judgeTruth(into)
	r.judgeLeft(into)
}

// killedNow says whether a process of some role was killed in the operation; "": of any.
func (r *round) killedNow(role string) bool {
	return slices.ContainsFunc(r.traced, func(t Traced) bool {
		return t.Killed != "" && (role == "" || t.Role == role)
	})
}

func (r *round) judgeTruth(into *row) {
	_, last, err := r.do(request{Do: "check", Facts: r.facts, Dead: r.died[pid1], Count: r.count})
	if err != nil {
		last.Wrong = append(last.Wrong, "the check broke off: "+err.Error())
	}
	for _, wrong := range last.Wrong {
		into.lost++
		r.wrong("%s", wrong)
	}
}

func (r *round) judgeLeft(into *row) {
	if _, _, err := r.do(request{Do: "clear"}); err != nil {
		into.residue++
		r.wrong("taking everything down: %v", err)
	}
	if left := r.beyond(); len(left) > 0 {
		into.residue++
		r.wrong("left: %q", left)
		r.idle = r.inventory() // said once
	}
}
