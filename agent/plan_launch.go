package agent

import (
	"fmt"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// An application is started in one of three ways, which it can't tell apart
// (wire/dea.md d.1 says what it finds). A shell takes longer to start than all
// the rest of a container, so there is none where nothing needs one:
//
//	direct     the program itself; the command only names it and its arguments
//	one shell  bash runs the command; the environment needs no shell
//	script     bash makes the environment too: values that only it can
//	           evaluate, the droplet's own .profile.d, or the operator's
//	           last word (hooks.post_setup)
//
// The differences: direct, there is no "_" variable, and bash says nothing of
// a locale that the stack doesn't have.

const shellPath = "/bin/bash"

// order is what is to be started.
type order struct {
	system  []setting
	user    []messaging.Variable
	command string
	startup bool // the command is the first generation's script
	// postSetup is the operator's last word before the command.
	postSetup string
	runtime   *Runtime // of the first era; nil: none
	port      uint16   // that startup is told; 0: none
}

// launch is what a job has of the way it is started.
type launch struct {
	argv     []string
	fallback []string // run where argv can't be, so that the shell says why
	env      []string
	dir      string
	pidFile  string
}

// launch chooses the way. What is run: the message's command, the droplet's,
// or what the first generation's droplets have instead.
func (o order) launch(d actors.Droplet) (launch, error) {
	if o.command == "" {
		o.command = d.StartCommand
	}
	switch {
	case len(o.command) > argumentMax || strings.ContainsRune(o.command, 0):
		return launch{}, fmt.Errorf("the start command has %d bytes or a zero byte; "+
			"%d bytes is the most", len(o.command), argumentMax)
	case o.command == "" && !d.Startup:
		return launch{}, actors.ErrNoStartCommand
	case o.command == "":
		o.command, o.startup = "exec "+o.startupCommand(), true
	}
	if !o.needsScript(d) {
		if l, ok := o.withoutScript(); ok {
			return l, nil
		}
	}
	l := o.scripted()
	if size := l.size(); size > jobTextMax {
		return launch{}, fmt.Errorf("the environment and the start command "+
			"take %d bytes as a script, more than %d", size, jobTextMax)
	}
	return l, nil
}

// needsScript says that something else than the environment has to be done
// first. The first generation's script never sources what buildpacks leave.
func (o order) needsScript(d actors.Droplet) bool {
	if o.startup {
		return o.runtime != nil
	}
	return d.ProfileScripts || o.postSetup != ""
}

// withoutScript is direct or one shell; false: neither will do.
func (o order) withoutScript() (launch, bool) {
	env, ok := evaluate(o.system, o.user)
	if !ok {
		return launch{}, false
	}
	shell := launch{argv: []string{shellPath, "-c", o.command}, dir: home}
	if !o.startup {
		// As the script's unset, its cd and its echo leave it.
		delete(env, "GEM_PATH")
		env["PWD"], env["OLDPWD"] = appFolder, home
		shell.dir, shell.pidFile = appFolder, home+"/run.pid"
	}
	words, simple := simpleCommand(o.command, env)
	// A command that asks for it is not told this one, but what bash makes of it.
	env["SHLVL"] = "0"
	shell.env = env.list()
	if simple {
		direct := shell
		direct.argv, direct.fallback = words, shell.argv
		if direct.fits() {
			return direct, true
		}
	}
	return shell, shell.fits()
}

func (o order) scripted() launch {
	script := startScript(o)
	if o.startup {
		script = startupScript(o)
	}
	return launch{argv: shellArgv(script), env: append(everyones(), passedOn(o.user)...), dir: home}
}

// everyones is what a container has before anything is said of its application.
func everyones() []string {
	return []string{"LANG=" + language, "PATH=" + searchPath, "USER=" + userName}
}

func (l launch) texts() [][]string { return [][]string{l.argv, l.fallback, l.env} }

func (l launch) size() int {
	size := 0
	for _, texts := range l.texts() {
		for _, text := range texts {
			size += len(text)
		}
	}
	return size
}

// fits says that PID 1 and the kernel can take it. What doesn't fit is left to
// the script, which can say so in the application's log.
func (l launch) fits() bool {
	for _, texts := range l.texts() {
		for _, text := range texts {
			if len(text) > argumentMax {
				return false
			}
		}
	}
	return l.size() <= jobTextMax
}
