package sweep

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var agentKillsFlag = flag.Int("sweep.agentkills", 40,
	"how many kills of a whole agent or its helpers; 0: every step, on both sides")

// agentKill is one kill of a whole agent or of its helpers.
type agentKill struct {
	act   act
	role  string
	n, m  int
	after bool
}

func (k agentKill) replay() string {
	return fmt.Sprintf("go test ./testsuite/chaos/sweep -run TestAWholeAgent -sweep.op=%s -sweep.role=%s "+
		"-sweep.n=%d -sweep.m=%d -sweep.side=%s", k.act.what, k.role, k.n, k.m, sideOf(k.after))
}

func TestAWholeAgentKilledAtAnyStepLosesAndLeavesNothing(t *testing.T) {
	seed, begun := seedOf(t), time.Now()
	draw := rand.New(rand.NewPCG(seed, 5))
	l := newLiving(t)
	// A first life of everything, for what a node makes once and keeps.
	for i, a := range acts {
		l.kill(agentKill{act: a, role: agent}, fmt.Sprintf("warm%d", i), &row{role: agent})
	}
	time.Sleep(5 * time.Second) // what is going has its time to go
	l.settle()
	rows, wanted := agentRows(), *agentKillsFlag
	// Where few kills are wanted, who has no turn in this commit has one in another.
	turns := draw.Perm(len(rows))
	for i, r := range rows {
		most := wanted*(turns[i]+1)/len(rows) - wanted*turns[i]/len(rows)
		if wanted > 0 && most == 0 {
			continue
		}
		k := agentKill{act: actNamed(r.op), role: r.role}
		l.kill(k, fmt.Sprintf("count%d", i), r)
		for j, k := range chosenKills(draw, k, r, most) {
			l.kill(k, fmt.Sprintf("app%d-%d", i, j), r)
		}
	}
	rows = slices.DeleteFunc(rows, func(r *row) bool { return r.steps == 0 })
	text, _ := table(rows)
	t.Logf("seed %d, %s\n%s", seed, time.Since(begun).Round(time.Millisecond), text)
}

// agentRows are all acts and who is killed in them, as far as they are wanted.
func agentRows() (all []*row) {
	for _, a := range acts {
		for _, role := range a.roles {
			if (*opFlag == "" || a.what == *opFlag) && (*roleFlag == "" || role == *roleFlag) {
				all = append(all, &row{op: a.what, role: role})
			}
		}
	}
	return all
}

// chosenKills are as many steps as wanted, drawn, or all of them.
func chosenKills(draw *rand.Rand, k agentKill, r *row, most int) (all []agentKill) {
	for k.n = 1; k.n <= r.steps; k.n++ {
		for _, k.after = range []bool{false, true} {
			if (*sideFlag == "" || sideOf(k.after) == *sideFlag) && (*nFlag == 0 || k.n == *nFlag) {
				if k.m = *mFlag; k.m == 0 {
					k.m = 1 + draw.IntN(max(r.second, 1))
				}
				all = append(all, k)
			}
		}
	}
	if most == 0 || *nFlag > 0 {
		return all
	}
	draw.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(most, len(all))]
}

// kill is one round with a whole agent.
func (l *living) kill(k agentKill, name string, r *row) {
	l.t.Helper()
	p := &promises{}
	l.died = map[string]bool{}
	if k.act.set != nil {
		k.act.set(l, p, name)
	}
	if k.act.anew {
		l.node.Kill()
		l.ctl.Forget()
		l.node.Launch()
	}
	l.trace(k)
	k.act.run(l, p, name)
	traced := l.untrace()
	for _, t := range traced {
		l.died[t.Role] = l.died[t.Role] || t.Killed != ""
	}
	r.learn(traced)
	l.succeed(k)
	wrong := func(format string, args ...any) {
		l.t.Errorf("%s, %s killed: %v: %s\nreplay: %s", k.act.what, k.role, traced, fmt.Sprintf(format, args...), k.replay())
	}
	defer func(failed bool) {
		if l.t.Failed() && !failed { // said once: the first failure is what matters
			l.t.Logf("the agent's log:\n%s", l.node.Log())
		}
	}(l.t.Failed())
	for _, promise := range p.all {
		if err := promise.kept(); err != nil {
			r.lost++
			wrong("%s: %v", promise.what, err)
		}
	}
	left := l.clear(name)
	if l.idle != nil {
		left = append(left, l.kept().beyond(l.idle)...)
	}
	if len(left) > 0 {
		r.residue++
		wrong("left: %q", left)
		l.settle() // said once
	}
}

// succeed has an agent in charge again, whoever died.
func (l *living) succeed(k agentKill) {
	l.t.Helper()
	alive := !l.died[agent] && l.alive()
	if alive && k.act.anew {
		l.node.WaitLog("node ready", soon)
		l.ctl.Forget()
		l.reconnect()
	}
	l.successor(alive)
}
