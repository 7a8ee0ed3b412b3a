package agent

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/deacon-agent/deacon/messaging"
)

// scratch is the one name that the start script uses for itself.
const scratch = "__deacon"

// beginning is the wire's: what the application writes is its own.
const beginning = "umask 077\n"

// profile is what a buildpack leaves for the start.
const profile = `unset GEM_PATH
for ` + scratch + ` in app/.profile.d/*.sh; do
  if [ -r "$` + scratch + `" ]; then . "$` + scratch + `"; fi
done
unset ` + scratch + "\n"

// startScript is what becomes the application's process: the environment, then
// the command (wire/dea.md d.1). It is run in /home/vcap.
func startScript(o order) string {
	var s strings.Builder
	writeEnvironment(&s, o.system, o.user)
	s.WriteString(profile)
	if o.postSetup != "" {
		s.WriteString(strings.TrimRight(o.postSetup, "\n") + "\n")
	}
	s.WriteString("DROPLET_BASE_DIR=$PWD\ncd app\necho $$ >> ../run.pid\n")
	fmt.Fprintf(&s, "exec /bin/bash -c %s\n", escaped(o.command))
	return s.String()
}

// startupScript is the same for a first-generation droplet, whose own script
// changes into app and keeps run.pid.
func startupScript(o order) string {
	var s strings.Builder
	writeEnvironment(&s, o.system, o.user)
	if o.runtime != nil {
		s.WriteString(o.runtime.bind())
	}
	s.WriteString("exec " + o.startupCommand() + "\n")
	return s.String()
}

func (o order) startupCommand() string {
	if o.port == 0 {
		return "./startup"
	}
	return fmt.Sprintf("./startup -p %d", o.port)
}

func writeEnvironment(s *strings.Builder, system []setting, user []messaging.Variable) {
	s.WriteString(beginning)
	for _, v := range system {
		fmt.Fprintf(s, "export %s=%s\n", v.name, v.text)
	}
	for _, v := range user {
		switch kindOfName(v.Name) {
		case nameOfShell:
			writeVariable(s, v)
		case nameOfNobody:
			fmt.Fprintf(s, "echo %s >&2\n", escaped(fmt.Sprintf(
				"deacon: an environment variable can't be called %q; it is left out", v.Name)))
		}
	}
}

// writeVariable never breaks the script, whatever the value: an expression is
// tried in a subshell of its own, which keeps a syntax error and a failing
// ${NAME:?...} to itself. The x keeps newlines at the end.
func writeVariable(s *strings.Builder, v messaging.Variable) {
	value := quoteValue(v.Value)
	if !value.guarded {
		fmt.Fprintf(s, "export %s=%s\n", v.Name, value.text)
		return
	}
	fmt.Fprintf(s, "if %s=$(eval %s && printf x); then export %s=\"${%s%%x}\"; else export %s=%s; fi\nunset %s\n",
		scratch, escaped("printf %s "+value.text), v.Name, scratch, v.Name, escaped(v.Value), scratch)
}

// nameKind is who can handle a variable's name.
type nameKind uint8

const (
	nameOfShell   nameKind = iota // bash can export it
	nameOfProcess                 // bash can't, but hands on what it was given
	nameOfNobody                  // it is left out, and the application's log says so
)

var (
	shellName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	processName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`) // spring.datasource.url
)

func kindOfName(name string) nameKind {
	switch {
	case shellName.MatchString(name):
		return nameOfShell
	case processName.MatchString(name):
		return nameOfProcess
	}
	return nameOfNobody
}

// passedOn are the variables that the shell can't export; they reach the
// program as they are, nothing in them is evaluated.
func passedOn(user []messaging.Variable) []string {
	var list []string
	for _, v := range user {
		if kindOfName(v.Name) == nameOfProcess {
			list = append(list, v.Name+"="+v.Value)
		}
	}
	return list
}

// Sizes that the kernel and PID 1 bound. One argument or variable of a process
// has at most 128 KiB with its final zero (MAX_ARG_STRLEN); the whole job has
// to fit into one message to PID 1.
const (
	argumentMax = 128<<10 - 1
	pieceMax    = 96 << 10
	jobTextMax  = 240 << 10
)

// shellArgv runs a script. One that is too long for one argument is handed
// over in pieces.
func shellArgv(script string) []string {
	if len(script) <= argumentMax {
		return []string{shellPath, "-c", script}
	}
	argv := []string{shellPath, "-c", `IFS=; eval "unset IFS; set --; $*"`, "bash"}
	for script != "" {
		n := min(pieceMax, len(script))
		for n < len(script) && !utf8.RuneStart(script[n]) {
			n--
		}
		argv = append(argv, script[:n])
		script = script[n:]
	}
	return argv
}
