package sweep

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// operation is one act of an agent that something is killed in.
type operation struct {
	name string
	set  func(context.Context, *node) error // what has to be there before; nil: nothing
	run  func(context.Context, *node) error
	// roles are who is killed; init only where PID 1 has part in it.
	roles []string
	// bears says that PID 1 begins in the operation, and not before it.
	bears bool
	// anew says that the operation is an agent's start, over the mess of another kill.
	anew bool
	ends bool // the node ends with it
	sure bool // it succeeds whoever else dies
	// keeps says that whose PID 1 was there before has one afterwards.
	keeps bool
}

// Who is killed: one of them; two, each at a step of its own; or, "init@agent", one
// at the moment when another, which lives on, is at a step.
const (
	agent, launcher, pid1 = "agent", "launcher", "init"
	bothEnds, bothAbove   = agent + "+" + pid1, agent + "+" + launcher
	bothBelow             = launcher + "+" + pid1
	pid1Meanwhile         = pid1 + "@" + agent
	launcherMeanwhile     = launcher + "@" + agent
)

// Who is killed where PID 1 begins, where it has a part, and where it is only there.
var (
	making = []string{agent, launcher, pid1, bothEnds, bothAbove, bothBelow, launcherMeanwhile}
	within = []string{agent, pid1, bothEnds, pid1Meanwhile}
	beside = []string{agent, pid1Meanwhile}
)

// firstOf is the role whose steps are gone through.
func firstOf(role string) string {
	return strings.FieldsFunc(role, func(c rune) bool { return c == '+' || c == '@' })[0]
}

// Container 0 of most operations.
func (n *node) first() string { return idOf(n.count, 0) }

// portsEach is how many ports a sweep goes through.
const portsEach = 500

func (n *node) port() uint16 { return n.Ports + uint16(n.count%portsEach) }

// operations are all that are swept, in the order of the report.
var operations = []operation{
	{name: "create", bears: true, roles: making, run: func(ctx context.Context, n *node) error {
		return n.create(ctx, n.spec(0, n.port()), sleeper(1))
	}},
	{name: "create-bare", bears: true, roles: making, run: func(ctx context.Context, n *node) error {
		return n.create(ctx, n.spec(0), nil)
	}},
	{name: "create-prepared", roles: within, set: func(ctx context.Context, n *node) error {
		return n.prepare(ctx, 0)
	}, run: func(ctx context.Context, n *node) error {
		return n.create(ctx, n.spec(0, n.port()), sleeper(1))
	}},
	{name: "prepare", bears: true, roles: making, run: func(ctx context.Context, n *node) error {
		return n.prepare(ctx, 0, 1)
	}},
	{name: "spawn", set: bare, roles: within, keeps: true, run: func(ctx context.Context, n *node) error {
		if err := n.spawn(ctx, n.first(), shell(1, "echo one; echo two; exit 7")); err != nil {
			return err
		}
		return n.wait(ctx, n.first(), 1)
	}},
	{name: "out-of-memory", set: small, roles: within, run: func(ctx context.Context, n *node) error {
		if err := n.spawn(ctx, n.first(), shell(1, `exec perl -e 'my $x = "x" x (200<<20)'`)); err != nil {
			return err
		}
		return n.wait(ctx, n.first(), 1)
	}},
	{name: "stop", set: sleeping, roles: within, keeps: true, run: func(ctx context.Context, n *node) error {
		n.try(fact{What: stopped, ID: n.first()})
		if err := n.box.Stop(ctx, n.first(), 2*time.Second); err != nil {
			return err
		}
		n.say(fact{What: stopped, ID: n.first()})
		return n.wait(ctx, n.first(), 1)
	}},
	{name: "limit", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return errors.Join(n.limit(ctx, 48<<20), n.limit(ctx, 96<<20))
	}},
	{name: "map", set: withServer, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return errors.Join(n.mapPort(ctx, n.port()), n.mapPort(ctx, n.port()+portsEach))
	}},
	{name: "egress", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return errors.Join(n.allow(ctx, "192.0.2.1"), n.allow(ctx, "192.0.2.2"))
	}},
	{name: "restrict", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return errors.Join(n.restrict(ctx, "192.0.2.1"), n.restrict(ctx, "192.0.2.2 192.0.2.3"), n.restrict(ctx, ""))
	}},
	{name: "shape", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return n.shape(ctx, 1<<20)
	}},
	{name: "copy-in", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return n.copyIn(ctx)
	}},
	{name: "copy-out", set: copied, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return n.copyOut(ctx)
	}},
	{name: "note", set: sleeping, roles: beside, keeps: true, run: func(ctx context.Context, n *node) error {
		return errors.Join(n.note(ctx, `"first"`), n.note(ctx, `"second"`))
	}},
	{name: "forget", set: twoEnded, roles: within, keeps: true, run: func(ctx context.Context, n *node) error {
		if err := n.forget(ctx, 1); err != nil {
			return err
		}
		if err := n.spawn(ctx, n.first(), shell(3, "echo three; exit 3")); err != nil {
			return err
		}
		return n.wait(ctx, n.first(), 3)
	}},
	{name: "destroy", set: visited, roles: beside, sure: true, run: func(ctx context.Context, n *node) error {
		return n.destroy(ctx)
	}},
	{name: "detach", set: detachable, roles: []string{agent}, ends: true, run: func(_ context.Context, n *node) error {
		return n.box.Close()
	}},
	{name: "shutdown", roles: []string{agent}, ends: true, run: func(_ context.Context, n *node) error {
		return errors.Join(n.box.Close(), n.box.Remove())
	}},
	{name: "recover", anew: true, roles: []string{agent, launcher, pid1, bothAbove, bothEnds},
		run: func(context.Context, *node) error { return nil }},
}

func operationNamed(name string) operation {
	for _, op := range operations {
		if op.name == name {
			return op
		}
	}
	return operation{run: func(context.Context, *node) error { return fmt.Errorf("there is no operation %q", name) }}
}
