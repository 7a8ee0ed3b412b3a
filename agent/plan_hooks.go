package agent

import (
	"fmt"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/messaging"
)

// hookOutputMax is kept of what a hook writes, for whoever looks why it failed.
const hookOutputMax = 64 << 10

// Hook is bash with the application's environment and the operator's script, as
// the application's user. Where there is none this is a look into an empty map.
func (p *Planner) Hook(m actors.Moment, place actors.Placement, start messaging.StartInstance) (*isolation.Job, error) {
	runtime, err := p.runtimeOf(start)
	if err != nil {
		return nil, err
	}
	text := p.hookText(m, runtime)
	if text == "" {
		return nil, nil
	}
	system, err := systemEnvironment(place, start, p.config.Address)
	if err != nil {
		return nil, err
	}
	if err := checkTexts(start); err != nil {
		return nil, err
	}
	var script strings.Builder
	writeEnvironment(&script, system, runtime.variables(start))
	script.WriteString(text)
	l := launch{argv: shellArgv(script.String()), env: append(everyones(), passedOn(start.Environment)...)}
	if size := l.size(); size > jobTextMax {
		return nil, fmt.Errorf("with the environment it takes %d bytes, more than %d", size, jobTextMax)
	}
	return &isolation.Job{
		Argv: l.argv, Env: l.env, Dir: home,
		User:  isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID},
		Umask: ownUmask, Files: filesOf(start), Procs: uint64(p.config.Instance.Processes), OutputMax: hookOutputMax,
	}, nil
}

// hookText is the operator's script, and for the first era what it did itself:
// a runtime is verified before all else, a droplet's own stop comes last.
func (p *Planner) hookText(m actors.Moment, runtime *Runtime) string {
	script := p.config.Hooks.Scripts[m]
	switch {
	case runtime == nil:
		return script
	case m == actors.BeforeStart:
		return runtime.verify() + script
	case m == actors.BeforeStop && script != "":
		return "(\n" + strings.TrimRight(script, "\n") + "\n)\n" + stopScript
	case m == actors.BeforeStop:
		return stopScript
	}
	return script
}
