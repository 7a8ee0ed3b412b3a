package sweep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// act is one thing that a controller or a client asks a whole agent for. name is
// the application's and the container's.
type act struct {
	what  string
	set   func(l *living, p *promises, name string)
	run   func(l *living, p *promises, name string)
	roles []string
	anew  bool // it is an agent's start, after the last one was killed
}

// Who dies: the agent, its launcher, whichever PID 1 it takes, or two of them. The
// launcher has no step of its own while there are spares.
var (
	agentMaking = []string{agent, launcherMeanwhile, pid1, bothEnds, bothAbove}
	agentWithin = []string{agent, pid1, bothEnds}
	agentAlone  = []string{agent}
)

var acts = []act{
	{what: "dea-start", roles: agentMaking, run: startApplication},
	{what: "dea-update", roles: agentWithin, set: startApplication, run: updateApplication},
	{what: "dea-evacuate", roles: agentWithin, set: startApplication, run: evacuateNode},
	{what: "dea-stop", roles: agentWithin, set: startApplication, run: stopApplication},
	{what: "warden-create", roles: agentMaking, run: createContainer},
	{what: "warden-spawn", roles: agentWithin, set: createContainer, run: spawnJob},
	{what: "warden-limit", roles: agentAlone, set: createContainer, run: limitContainer},
	{what: "warden-net-in", roles: agentAlone, set: createContainer, run: mapContainer},
	{what: "warden-copy", roles: agentAlone, set: createContainer, run: copyFiles},
	{what: "warden-stop", roles: agentAlone, set: createContainer, run: stopContainer},
	{what: "warden-destroy", roles: agentAlone, set: createContainer, run: destroyContainer},
	{what: "detach", roles: agentAlone, set: startBoth, run: func(l *living, _ *promises, _ string) {
		l.detach()
		l.node.WaitEnd(deathMax)
	}},
	{what: "start-up", roles: agentAlone, set: startBoth, anew: true, run: func(l *living, _ *promises, _ string) {
		l.hears("dea.start")
	}},
}

func actNamed(what string) act {
	return acts[slices.IndexFunc(acts, func(a act) bool { return a.what == what })]
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
	var former rig.Seen
	crashed := false
	p.add("accepted, so it runs in the end and the router is told, or its crash is", func() error {
		if crashed {
			return l.mayCrash()
		}
		return l.runs(name, former)
	})
	for deadline := time.Now().Add(soon); former.Body == nil && !crashed && time.Now().Before(deadline); {
		alive := l.alive()
		former, _ = l.ctl.Next("router.register", 20*time.Millisecond, rig.With("app", name))
		if _, crashed = l.ctl.Next("droplet.exited", 0, rig.With("droplet", name)); !alive {
			return
		}
	}
}

// mayCrash says whether an application may have: only where a PID 1 died.
func (l *living) mayCrash() error {
	if !l.died[pid1] {
		return errors.New("it crashed, and no PID 1 died")
	}
	return nil
}

// runs says whether an application is where it was, or anywhere if it was nowhere
// yet, and is the same instance, which nobody started again. Where a PID 1 died,
// it may have been the application's, and then that is told.
func (l *living) runs(name string, former rig.Seen) error {
	seen, was := former, former.Body != nil
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); {
		if _, crashed := l.ctl.Next("droplet.exited", 0, rig.With("droplet", name)); crashed {
			return l.mayCrash()
		}
		if again, ok := l.ctl.Next("router.register", 20*time.Millisecond, rig.With("app", name)); ok {
			seen = again
		}
		if was && (portOf(seen) != portOf(former) || instanceOf(seen) != instanceOf(former)) {
			return fmt.Errorf("it was %v at port %d, and is %v at %d",
				instanceOf(former), portOf(former), instanceOf(seen), portOf(seen))
		}
		told := seen.Body != nil && (!l.died[agent] || seen.At != former.At) // a new agent tells again
		if told && answers(portOf(seen)) == nil {
			return nil
		}
	}
	return errors.New("the router was told nothing that answers")
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
		if err == nil && info.GetState() != "active" && !(l.died[pid1] && info.GetState() == "stopped") {
			err = fmt.Errorf("it is %s", info.GetState())
		}
		return err
	})
}

func spawnJob(l *living, p *promises, name string) {
	ctx, cancel := l.bounded()
	defer cancel()
	script := "echo one; echo two; exit 3"
	job, err := l.client.Spawn(ctx, &protocol.SpawnRequest{Handle: &name, Script: &script})
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
		if err == nil && l.died[pid1] && end.GetExitStatus() == 255 {
			return nil // nobody can know any more
		}
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
		has := func(thing string) bool { return strings.HasPrefix(thing, element) }
		if !slices.ContainsFunc(l.traces.Inventory(l.pool, l.node.PID()), has) {
			return fmt.Errorf("port %d is not there", mapped.GetHostPort())
		}
		return nil
	})
}

func copyFiles(l *living, p *promises, name string) {
	ctx, cancel := l.bounded()
	defer cancel()
	source, target := filepath.Join(l.cargo, "in"), filepath.Join(l.cargo, "out-"+name)
	inside := "/home/vcap/cargo"
	in := &protocol.CopyInRequest{Handle: &name, SrcPath: proto.String(source + "/"), DstPath: &inside}
	if l.client.CopyIn(ctx, in) != nil {
		return
	}
	out := func(ctx context.Context) error {
		return l.client.CopyOut(ctx, &protocol.CopyOutRequest{
			Handle: &name, SrcPath: proto.String(inside + "/"), DstPath: &target, Owner: proto.String("root:root"),
		})
	}
	p.add("copied in, so it can be copied out", func() error {
		ctx, cancel := l.unbounded()
		defer cancel()
		if err := out(ctx); err != nil {
			return err
		}
		return cargoIn(target)
	})
	if out(ctx) == nil {
		p.add("copied out, so it is there", func() error { return cargoIn(target) })
	}
}

// cargoIn says what a folder lacks of the cargo.
func cargoIn(folder string) error {
	for name, want := range cargo {
		if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(got) != want {
			return fmt.Errorf("%s has %d bytes: %v", name, len(got), err)
		}
	}
	return nil
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
