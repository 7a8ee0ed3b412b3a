package agent

import (
	"maps"
	"slices"
	"strings"

	"github.com/deacon-agent/deacon/messaging"
)

// environment is a process's, by name.
type environment map[string]string

func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// evaluate is what the start script's exports come to, in their order: later
// ones win and may refer to earlier ones. False: only bash can say. PWD is the
// folder that the script begins in.
func evaluate(system []setting, user []messaging.Variable) (environment, bool) {
	env := environment{"PWD": home}
	for _, pair := range slices.Concat(everyones(), passedOn(user)) {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	for _, v := range system {
		env[v.name] = v.value
	}
	for _, v := range user {
		switch kindOfName(v.Name) {
		case nameOfNobody:
			return nil, false // the script says so in the application's log
		case nameOfShell:
			value, ok := env.evaluate(v.Value)
			if !ok || isShells(v.Name) {
				return nil, false
			}
			env[v.Name] = value
		}
	}
	return env, true
}

// evaluate is what bash makes of a variable's value.
func (e environment) evaluate(value string) (string, bool) {
	q := quoteValue(value)
	if q.guarded {
		return "", false
	}
	words, ok := split(q.text, e)
	if !ok || len(words) != 1 {
		return "", false
	}
	return words[0], true
}

// isShells says that a variable means something to bash itself: it may refuse
// or change the value, or run, find or split things differently for it.
func isShells(name string) bool { return shellVariables[name] || strings.HasPrefix(name, "BASH") }

var shellVariables = setOf(`_ CDPATH COMP_WORDBREAKS DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE FUNCNAME
	GLOBIGNORE GROUPS HISTCMD IFS LINENO OLDPWD OPTARG OPTERR OPTIND PIPESTATUS POSIXLY_CORRECT POSIX_PEDANTIC
	PPID PS1 PS2 PS4 PWD RANDOM SECONDS SHELLOPTS SHLVL SRANDOM UID`)
