package sweep

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

var agentKillsFlag = flag.Int("sweep.agentkills", 20, "how many kills of a whole agent; 0: every step, on both sides")

// act is one thing that a controller or a client asks a whole agent for. name is
// the application's and the container's.
type act struct {
	what string
	set  func(l *living, p *promises, name string)
	run  func(l *living, p *promises, name string)
	anew bool // it is an agent's start, after the last one was killed
}

var acts = []act{
	{what: "dea-start", run: startApplication},
	{what: "dea-stop", set: startApplication, run: stopApplication},
	{what: "warden-create", run: createContainer},
	{what: "warden-spawn", set: createContainer, run: spawnJob},
	{what: "warden-limit", set: createContainer, run: limitContainer},
	{what: "warden-net-in", set: createContainer, run: mapContainer},
	{what: "warden-stop", set: createContainer, run: stopContainer},
	{what: "warden-destroy", set: createContainer, run: destroyContainer},
	{what: "detach", set: startBoth, run: func(l *living, _ *promises, _ string) { l.detach(); l.node.WaitEnd(soon) }},
	{what: "start-up", set: startBoth, anew: true, run: func(l *living, _ *promises, _ string) {
		for deadline := time.Now().Add(soon); !l.killed() && time.Now().Before(deadline); {
			if _, ok := l.ctl.Next("dea.start", 10*time.Millisecond); ok {
				return
			}
		}
	}},
}

func startBoth(l *living, p *promises, name string) {
	startApplication(l, p, name)
	createContainer(l, p, name)
}

func startApplication(l *living, p *promises, name string) {
	l.ctl.Publish("dea."+l.id+".start", message(name, l.serve))
	if _, ok := l.hears("deacon.v1.instance", rig.With("application", name), rig.With("to", "STARTING")); !ok {
		return
	}
	port := 0
	p.add("accepted, so it runs in the end and the router is told", func() error {
		if port != 0 && l.over != nil && l.alive() {
			return answers(port)
		}
		seen, ok := l.ctl.Next("router.register", soon, rig.With("app", name))
		if !ok {
			return errors.New("the router was told nothing")
		}
		if port != 0 && portOf(seen) != port {
			return fmt.Errorf("it was at port %d, and is at %d", port, portOf(seen))
		}
		return answers(portOf(seen))
	})
	if seen, ok := l.hears("router.register", rig.With("app", name)); ok {
		port = portOf(seen)
	}
}

func stopApplication(l *living, p *promises, name string) {
	p.all = nil // it is to go
	l.ctl.Publish("dea.stop", map[string]any{"droplet": name})
	if _, ok := l.hears("deacon.v1.instance", rig.With("application", name), rig.With("to", "STOPPED")); !ok {
		return
	}
	p.add("stopped, so no router is told again", func() error {
		if _, again := l.ctl.Next("router.register", 50*time.Millisecond, rig.With("app", name)); again {
			return errors.New("a router was told")
		}
		return nil
	})
}

func createContainer(l *living, p *promises, name string) {
	ctx, cancel := l.bounded()
	defer cancel()
	if _, err := l.client.Create(ctx, &protocol.CreateRequest{Handle: &name}); err != nil {
		return
	}
	p.add("created, so it is listed and active", func() error {
		ctx, cancel := l.unbounded()
		defer cancel()
		info, err := l.client.Info(ctx, name)
		if err == nil && info.GetState() != "active" {
			err = fmt.Errorf("it is %s", info.GetState())
		}
		return err
	})
}

func spawnJob(l *living, p *promises, name string) {
	ctx, cancel := l.bounded()
	defer cancel()
	job, err := l.client.Spawn(ctx, &protocol.SpawnRequest{Handle: &name, Script: proto.String("echo one; echo two; exit 3")})
	if err != nil {
		return
	}
	linked := false
	p.add("spawned, so its end and its output are told", func() error {
		if linked {
			return nil // it was, and a job is told of once
		}
		ctx, cancel := l.unbounded()
		defer cancel()
		end, err := l.client.Link(ctx, name, job)
		if err == nil && (end.GetExitStatus() != 3 || end.GetStdout() != "one\ntwo\n") {
			err = fmt.Errorf("it ended with %d, %q", end.GetExitStatus(), end.GetStdout())
		}
		return err
	})
	_, err = l.client.Link(ctx, name, job)
	linked = err == nil
}

func limitContainer(l *living, p *promises, name string) {
	for _, bytes := range []uint64{48 << 20, 96 << 20} {
		ctx, cancel := l.bounded()
		_, err := l.client.LimitMemory(ctx, &protocol.LimitMemoryRequest{Handle: &name, LimitInBytes: &bytes})
		cancel()
		if err != nil {
			return
		}
		p.add(fmt.Sprintf("limited to %d, so it is, or to what was asked for next", bytes), func() error {
			ctx, cancel := l.unbounded()
			defer cancel()
			got, err := l.client.LimitMemory(ctx, &protocol.LimitMemoryRequest{Handle: &name})
			if err == nil && got != bytes && got != 96<<20 {
				err = fmt.Errorf("it is limited to %d", got)
			}
			return err
		})
	}
}

func mapContainer(l *living, p *promises, name string) {
	ctx, cancel := l.bounded()
	defer cancel()
	mapped, err := l.client.NetIn(ctx, &protocol.NetInRequest{Handle: &name, ContainerPort: proto.Uint32(8080)})
	if err != nil {
		return
	}
	p.add("mapped, so the table has the port", func() error {
		element := fmt.Sprintf("element ports %04x ", mapped.GetHostPort())
		if !slices.ContainsFunc(l.traces.Inventory(l.pool, l.node.PID()), func(thing string) bool { return strings.HasPrefix(thing, element) }) {
			return fmt.Errorf("port %d is not there", mapped.GetHostPort())
		}
		return nil
	})
}

func stopContainer(l *living, p *promises, name string) {
	p.all = nil
	ctx, cancel := l.bounded()
	defer cancel()
	if err := l.client.Stop(ctx, &protocol.StopRequest{Handle: &name}); err != nil {
		return
	}
	p.add("stopped, so it is", func() error {
		ctx, cancel := l.unbounded()
		defer cancel()
		info, err := l.client.Info(ctx, name)
		if err == nil && info.GetState() != "stopped" {
			err = fmt.Errorf("it is %s", info.GetState())
		}
		return err
	})
}

func destroyContainer(l *living, p *promises, name string) {
	p.all = nil
	ctx, cancel := l.bounded()
	defer cancel()
	if err := l.client.Destroy(ctx, name); err != nil {
		return
	}
	p.add("destroyed, so nobody lists it", func() error {
		ctx, cancel := l.unbounded()
		defer cancel()
		handles, err := l.client.List(ctx)
		if slices.Contains(handles, name) {
			err = errors.New("it is listed")
		}
		return err
	})
}

func TestAWholeAgentKilledAtAnyStepLosesAndLeavesNothing(t *testing.T) {
	seed, begun := seedOf(t), time.Now()
	draw := rand.New(rand.NewPCG(seed, 5))
	l := newLiving(t)
	// A first life of everything, for what a node makes once and keeps.
	for i, a := range acts {
		l.kill(a, fmt.Sprintf("warm%d", i), Target{}, &row{})
	}
	l.settle()
	var rows []*row
	for i, a := range acts {
		if *opFlag != "" && a.what != *opFlag {
			continue
		}
		r := &row{op: a.what, role: agent}
		rows = append(rows, r)
		l.kill(a, fmt.Sprintf("count%d", i), Target{}, r)
		for j, target := range chosenTargets(draw, r.steps, *agentKillsFlag/len(acts)) {
			l.kill(a, fmt.Sprintf("app%d-%d", i, j), target, r)
		}
	}
	text, _ := table(rows)
	t.Logf("seed %d, %s\n%s", seed, time.Since(begun).Round(time.Millisecond), text)
}

// chosenTargets are as many steps as wanted, drawn, or all of them.
func chosenTargets(draw *rand.Rand, steps, most int) (all []Target) {
	for n := 1; n <= steps; n++ {
		for _, after := range []bool{false, true} {
			if (*sideFlag == "" || after == (*sideFlag == "after")) && (*nFlag == 0 || n == *nFlag) {
				all = append(all, Target{N: n, After: after})
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
func (l *living) kill(a act, name string, target Target, r *row) {
	l.t.Helper()
	p := &promises{}
	l.over = nil
	if a.set != nil {
		a.set(l, p, name)
	}
	if a.anew {
		l.node.Kill()
		l.ctl.Forget()
		l.node.Launch()
	}
	l.trace(target)
	a.run(l, p, name)
	traced := l.untrace()
	alive := traced.Killed == "" && l.alive()
	r.steps = max(r.steps, traced.Steps)
	if traced.Killed != "" {
		r.kills++
	}
	if alive && a.anew {
		l.node.WaitLog("node ready", soon)
		l.ctl.Forget()
		l.reconnect()
	}
	l.successor(alive)
	wrong := func(format string, args ...any) {
		l.t.Errorf("%s, agent killed %s (of %d steps): %s\nreplay: go test ./testsuite/chaos/sweep "+
			"-run TestAWholeAgent -sweep.op=%s -sweep.n=%d -sweep.side=%s", a.what, traced.Killed, traced.Steps,
			fmt.Sprintf(format, args...), a.what, target.N, map[bool]string{false: "before", true: "after"}[target.After])
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
	if l.idle == nil {
		l.left(name)
		return
	}
	if left := l.left(name); len(left) > 0 {
		r.residue++
		wrong("left: %q", left)
	}
}
