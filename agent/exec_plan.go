package agent

import (
	"fmt"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/messaging"
)

// Beside says what job a further command in an instance's container is: the same
// user, limits, environment and folder as the application's own. Bash makes the
// environment, for the droplet's .profile.d may have a say in it.
func (p *Planner) Beside(r actors.Record, command []string, terminal string) (isolation.Job, error) {
	system, err := systemEnvironment(r.Placement, r.Start, p.config.Address)
	if err != nil {
		return isolation.Job{}, fmt.Errorf("agent: plan a command: %w", err)
	}
	user := r.Start.Environment
	how := launch{
		argv: shellArgv(besideScript(system, user, command, terminal)),
		env:  append(everyones(), passedOn(user)...), dir: home,
	}
	if how.size() > jobTextMax {
		return isolation.Job{}, fmt.Errorf("the command and the application's environment take %d bytes as a script, "+
			"more than %d", how.size(), jobTextMax)
	}
	job := isolation.Job{
		Argv: how.argv, Env: how.env, Dir: how.dir,
		User:  isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID},
		Umask: ownUmask, Files: r.Start.Limits.Files, Procs: uint64(p.config.Instance.Processes),
	}
	if job.Files == 0 {
		job.Files = filesDefault
	}
	return job, nil
}

// besideScript becomes the command once the environment is the application's.
func besideScript(system []setting, user []messaging.Variable, command []string, terminal string) string {
	var s strings.Builder
	writeEnvironment(&s, system, user)
	s.WriteString(profile)
	s.WriteString("cd app\n")
	if terminal != "" {
		fmt.Fprintf(&s, "export TERM=%s\n", escaped(terminal))
	}
	// A builtin or a function is no program: exec finds only those. What is not
	// found is said as every shell says it, with status 127.
	s.WriteString("exec --")
	for _, word := range command {
		s.WriteByte(' ')
		s.WriteString(escaped(word))
	}
	s.WriteByte('\n')
	return s.String()
}
