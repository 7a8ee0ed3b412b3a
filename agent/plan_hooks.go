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
	text := p.config.Hooks.Scripts[m]
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
	writeEnvironment(&script, system, start.Environment)
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
