package agent

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// way is how a job is started.
type way string

const (
	direct   way = "direct"
	oneShell way = "one shell"
	script   way = "script"
)

func wayOf(job isolation.Job) way {
	switch {
	case job.Fallback != nil:
		return direct
	case len(job.Argv) > 3 || strings.HasPrefix(job.Argv[2], beginning):
		return script
	}
	return oneShell
}

func TestACommandIsStartedInTheShortestWay(t *testing.T) {
	for command, want := range map[string]way{
		"./run":                                 direct,
		"  python3 -m http.server $PORT\n":      direct,
		"exec python3 app.py --port ${PORT}":    direct,
		"node 'a b.js' \"it's\" c\\ d":          direct,
		"java -Xmx64m -jar $HOME/app.jar":       direct,
		"gunicorn -b 0.0.0.0:${PORT:-80} a:b":   direct,
		"$HOME/bin/x --dir=$TMPDIR":             direct,
		"env A=b ./run":                         direct,
		"ruby \\\n  app.rb":                     direct,
		"exec echo this is the program":         direct,
		"echo this is the builtin":              oneShell,
		"'echo' this too":                       oneShell,
		"cd x && ./run":                         oneShell,
		"A=b ./run":                             oneShell,
		"./run $UNKNOWN":                        oneShell,
		"./run $SPACED":                         oneShell,
		"./run \"$SPACED\"":                     direct,
		"./run $NOTHING":                        oneShell,
		"./run \"$NOTHING\"":                    direct,
		"./run \"${NOTHING:-1}\"":               oneShell,
		"./run > log":                           oneShell,
		"./run *.txt":                           oneShell,
		"./run ~":                               oneShell,
		"./run {a,b}":                           oneShell,
		"./run # nothing":                       oneShell,
		"./run é":                               oneShell,
		"./run $(date)":                         oneShell,
		"./run `date`":                          oneShell,
		"./run $((1+1))":                        oneShell,
		"./run $SHLVL":                          oneShell,
		"./run 'open":                           oneShell,
		"./run \\":                              oneShell,
		"./one\n./two":                          oneShell,
		"exec -a name ./run":                    oneShell,
		"./run \n ":                             oneShell, // then bash stays, and SHLVL is 1
		"exec ./run":                            oneShell,
		"exec":                                  oneShell,
		"":                                      script, // the droplet's is longer than one argument
		"./run $GEM_PATH":                       oneShell,
		"if true; then ./run; fi":               oneShell,
		"time ./run":                            oneShell,
		"%1":                                    oneShell,
		"./run " + strings.Repeat("x", 125_000): oneShell, // twice doesn't fit
	} {
		start := asked(messaging.Variable{Name: "SPACED", Value: "a b"}, messaging.Variable{Name: "NOTHING", Value: ""},
			messaging.Variable{Name: "GEM_PATH", Value: "x"})
		start.StartCommand = command
		d := actors.Droplet{}
		if command == "" {
			d, want = actors.Droplet{StartCommand: "./droplets"}, direct
		}
		if got := wayOf(jobOf(t, start, d)); got != want {
			t.Errorf("%.60q is started by %s, want %s", command, got, want)
		}
	}
}

func TestTheEnvironmentIsMadeByAShellOnlyWhereItHasToBe(t *testing.T) {
	for value, want := range map[string]way{
		"": direct, "plain": direct, `"it's" \ *~#;`: direct, "é\n": direct, "pa$$word": direct, `\$x`: direct, "$(": direct,
		"$PORT": direct, "$HOME/x": direct, "<${LANG}>": direct, "$PWD": direct,
		"$UID": script, "$NOBODY": script, "$(date)": script, "`date`": script, "${PORT:-1}": script, "$((1))": script,
	} {
		if got := wayOf(jobOf(t, asked(messaging.Variable{Name: "V", Value: value}), actors.Droplet{})); got != want {
			t.Errorf("the value %q makes it %s, want %s", value, got, want)
		}
	}
	for name, want := range map[string]way{
		"PATH": direct, "HOME": direct, "LC_ALL": direct, "HOSTNAME": direct, "a.b": direct, "GEM_PATH": direct, "PORT": direct,
		"no name": script, "": script, "BASH_ENV": script, "IFS": script, "CDPATH": script, "RANDOM": script, "PWD": script,
	} {
		if got := wayOf(jobOf(t, asked(messaging.Variable{Name: name, Value: "/x"}), actors.Droplet{})); got != want {
			t.Errorf("the name %q makes it %s, want %s", name, got, want)
		}
	}
	if got := wayOf(jobOf(t, asked(), actors.Droplet{ProfileScripts: true})); got != script {
		t.Errorf("a droplet with profile scripts is started by %s", got)
	}
}

// What the kernel wouldn't take is left to the shell, whose own words end up
// in the application's log.
func TestWhatIsTooLongForAProgramIsLeftToTheScript(t *testing.T) {
	start := asked()
	start.VCAPApplication = []byte(`{"x":"` + strings.Repeat("x", argumentMax) + `"}`)
	job := jobOf(t, start, actors.Droplet{})
	if wayOf(job) != script {
		t.Errorf("a variable of %d bytes is handed to %s", argumentMax, wayOf(job))
	}
	_, wrong, err := newSandbox(t).run(t, job)
	exit, _ := errors.AsType[*exec.ExitError](err)
	if exit == nil || exit.ExitCode() != 126 || !strings.Contains(wrong, "Argument list too long") {
		t.Errorf("it says %q, %v", wrong, err)
	}
}

func TestEveryWordOfTheShellIsKnown(t *testing.T) {
	for _, word := range compgen(t, "-bk") {
		if !shellWords[word] {
			t.Errorf("bash does %q itself, but it would be looked for as a program", word)
		}
	}
}

func compgen(t *testing.T, what string) []string {
	t.Helper()
	c := exec.Command(shellPath, "-c", "compgen "+what)
	c.Env = []string{"PATH=" + searchPath}
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

// showing is a sandbox with a program that prints what it was given, under
// several names.
func showing(t *testing.T) sandbox {
	t.Helper()
	s := newSandbox(t)
	const program = "#!/bin/sh\n/bin/cat /proc/$$/cmdline\nprintf '\\n--\\n'\n/bin/cat /proc/$$/environ\nprintf '\\n--\\n'\n"
	for _, name := range []string{"show", "app/show", "app/a b", "startup"} {
		s.put(t, name, program, 0o755)
	}
	return s
}

var ofLocales = regexp.MustCompile(`(?s)/bin/bash: [^\n]*warning: setlocale: LC_\w+: cannot change locale ` +
	`\(.*?\)(: No such file or directory)?\n`)

// seen is what comes of a job, but for the order of its environment, for "_",
// which only a shell sets, and for what a shell says of locales.
func (s sandbox) seen(t tester, job isolation.Job) string {
	t.Helper()
	out, wrong, err := s.run(t, job)
	parts := strings.Split(out, "\n--\n")
	for i, part := range parts {
		if i%2 == 1 {
			list := slices.DeleteFunc(strings.Split(part, "\x00"), func(pair string) bool { return strings.HasPrefix(pair, "_=") })
			slices.Sort(list)
			parts[i] = strings.Join(list, "\n")
		}
	}
	return fmt.Sprint(strings.Join(parts, "\n--\n"), "\nstderr: ", ofLocales.ReplaceAllString(wrong, ""), err)
}

// compare runs a job in the way that was chosen and by the script.
func (s sandbox) compare(t tester, start messaging.StartInstance, d actors.Droplet) way {
	t.Helper()
	job := jobOf(t, start, d)
	if wayOf(job) == script {
		return script
	}
	order := order{
		user: start.Environment, command: start.StartCommand, startup: start.StartCommand == "", port: placed().Port,
	}
	order.system, _ = systemEnvironment(placed(), start, newTestPlanner().config.Address)
	if order.startup {
		order.command = "exec " + order.startupCommand()
	}
	l := order.scripted()
	byScript := isolation.Job{Argv: l.argv, Env: l.env, Dir: l.dir}

	got, want := s.seen(t, job), s.seen(t, byScript)

	if got != want {
		t.Fatalf("%q with %q, %s (-by the script +%s):\n%s",
			start.StartCommand, start.Environment, wayOf(job), wayOf(job), cmp.Diff(want, got))
	}
	return wayOf(job)
}

// A command of pieces that mean much or little to a shell comes to the same,
// whichever way was chosen.
func TestACommandComesToTheSameInEveryWay(t *testing.T) {
	s := showing(t)
	programs := []string{"./show", "./show", "exec ./show", "$HOME/show", `"./show"`, `./sh\ow`, "'./a b'", "show", "exec show",
		"exec\tshow", "env ./show", "A=1 ./show", "'' ./show", "./show\\\n", "echo", "exec -c ./show", "./nothing", "nothing", ""}
	pieces := []string{"x", "x", "=", "a=b", "-x", "/usr/l*", "'a  b'", "'$PORT'", `"a  b"`, `"$PORT"`, "$PORT", "${PORT}",
		"${PORT:-1}", "${NONE:-x}", "$NONE", `"$NONE"`, `"${EMPTY:-x}"`, "${EMPTY-x}", "$EMPTY", `"$EMPTY"`, "$SPACED",
		`"$SPACED"`, "$STAR", `"$STAR"`, `"$ODD"`, "$ODD", "$PWD", "$OLDPWD", "$SHLVL", "$_", "$0", "$1", "$#", "$UID",
		"$PATH", "$LANG", "$GEM_PATH", "$DROPLET_BASE_DIR", "${MIXED}x", `\ `, `\'`, `\"`, `\\`, `\$PORT`, `"\""`, `"\x"`,
		`"\$x"`, `"\` + "\n" + `"`, "\\\n", `""`, "''", "*", "?", "[a]", "~", "~/x", "#", "a#b", "{a,b}", "{", "}", "!", "%", "@",
		"+(a)", "^", ";echo y", "|/bin/cat", "&&./show", "||./show", ">/dev/null", "2>&1", "<&-", "$(echo 1)", "`echo 1`",
		"$((1+1))", "$'a\\n'", `$"a"`, "a$", `"a$"`, "$[1+1]", "\n", "\t", " ", "é", "'é'", "\x01", "'", `"`, `\`}
	ways := map[way]int{}
	rapid.Check(t, func(r *rapid.T) {
		command := rapid.SampledFrom(programs).Draw(r, "program")
		for range rapid.IntRange(0, 4).Draw(r, "words") {
			command += " " + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 3).Draw(r, "word"), "")
		}
		if strings.Contains(command, "$$") || strings.Contains(command, `\&`) || strings.Contains(command, `\|`) {
			return // a pid, or two programs at once: never the same twice
		}
		start := asked(messaging.Variable{Name: "SPACED", Value: " a  b "}, messaging.Variable{Name: "EMPTY", Value: ""},
			messaging.Variable{Name: "STAR", Value: "*"}, messaging.Variable{Name: "ODD", Value: "\"'\\\\x`!\n é"},
			messaging.Variable{Name: "GEM_PATH", Value: "gems"}, messaging.Variable{Name: "MIXED", Value: "<$PORT$GEM_PATH>"},
			messaging.Variable{Name: "PATH", Value: "$HOME/../app:$PATH"})
		start.StartCommand = command
		if command == "" {
			return // no command is another matter
		}
		ways[s.compare(r, start, actors.Droplet{})]++
	})
	t.Log("started by", ways)
	if ways[direct] == 0 || ways[oneShell] == 0 {
		t.Error("one of the ways was never taken")
	}
}

// variableNames are what bash knows, and others.
func variableNames(t *testing.T) []string {
	t.Helper()
	names := append(compgen(t, "-v"), "A", "B", "C", "spring.a", "a-b", "LC_CTYPE", "LANGUAGE", "TZ", "TERM", "ENV", "SHELL",
		"HOSTNAME", "COLUMNS", "LINES", "TMOUT", "CDPATH", "MAIL", "PS0", "PS1", "PS2", "PS3", "PORT", "USER", "GEM_PATH", "HISTFILE",
		"COPROC", "MAPFILE", "REPLY", "TIMEFORMAT", "PROMPT_COMMAND", "POSIXLY_CORRECT", "GLOBIGNORE", "FUNCNEST", "OPTARG",
		"EXECIGNORE", "BASH_ENV", "BASH_COMPAT", "BASH_XTRACEFD", "FUNCNAME", "PIPESTATUS", "SHELLOPTS", "NO.SUCH", "no name")
	slices.Sort(names)
	return slices.Compact(names)
}

func TestNoNameOfAVariableMakesADifference(t *testing.T) {
	s := showing(t)
	for _, name := range variableNames(t) {
		for _, value := range []string{"", "/usr/bin"} {
			for _, command := range []string{"./show", "./show; ./show"} {
				start := asked(messaging.Variable{Name: name, Value: value})
				start.StartCommand = command
				s.compare(t, start, actors.Droplet{})
			}
		}
	}
}

// An environment comes to the same too.
func TestAnEnvironmentComesToTheSameInEveryWay(t *testing.T) {
	s, names := showing(t), variableNames(t)
	pieces := []string{"x", "1", "", "/usr/bin", ":", " ", "é😀", "\n", `"`, "'", `\`, "`", "$", "$$", "$(", "*", "~", "$A", "${B}",
		"$PORT", "$PWD", "$HOME", `\$A`, "$(echo 1)", "${C:-c}", "\x01", "\x7f", "!", ";"}
	ways := map[way]int{}
	rapid.Check(t, func(r *rapid.T) {
		var variables []messaging.Variable
		for range rapid.IntRange(0, 5).Draw(r, "variables") {
			value := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 4).Draw(r, "value"), "")
			variables = append(variables, messaging.Variable{Name: rapid.SampledFrom(names).Draw(r, "name"), Value: value})
		}
		start := asked(variables...)
		start.StartCommand = rapid.SampledFrom([]string{"./show", "./show; ./show", ""}).Draw(r, "command")
		ways[s.compare(r, start, actors.Droplet{Startup: true})]++
	})
	t.Log("started by", ways)
	if ways[direct] == 0 || ways[oneShell] == 0 || ways[script] == 0 {
		t.Error("one of the ways was never taken")
	}
}
