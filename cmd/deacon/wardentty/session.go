package wardentty

import (
	_ "embed"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

const prompt = "warden> "

// Golden is the transcript that Session returns.
//
//go:embed session.golden
var Golden string

// Session has the conversation of Warden's old introductions with whoever is
// behind the socket, and returns its transcript. There must be no containers
// before; the session begins with one that it makes, and ends with none.
//
// What differs from one server to the next is replaced: handles and job numbers
// by what they are in the conversation, addresses, paths and figures by words.
// Disk figures are left out, since not every node has them.
func Session(deacon, socket string, env ...string) (transcript string, err error) {
	made := exec.Command(deacon, "warden", "--socket", socket, "--", "create")
	made.Env = env
	out, err := made.CombinedOutput()
	first, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "handle : ")
	if err != nil || !ok {
		return "", fmt.Errorf("wardentty: make the first container: %v: %s", err, out)
	}
	t, err := Start(env, deacon, "warden", "--socket", socket)
	if err != nil {
		return "", err
	}
	s := session{terminal: t, names: []string{first, "FIRST"}}
	s.converse(first)
	t.Type("\x04") // Ctrl-D
	code, err := t.Close()
	switch {
	case s.err != nil:
		return s.transcript.String(), s.err
	case err != nil:
		return s.transcript.String(), err
	case code != 0:
		return s.transcript.String(), fmt.Errorf("wardentty: the shell ended with %d", code)
	}
	return s.transcript.String(), nil
}

// session is a conversation; after an error it says nothing more.
type session struct {
	terminal   *Terminal
	transcript strings.Builder
	names      []string // what is replaced, and by what
	err        error
}

func (s *session) converse(first string) {
	s.do("list")
	s.do("stop --handle " + first)
	s.do("spawn --handle " + first + " --script true")
	s.do("destroy --handle " + first)
	s.do("list")
	handle := s.learn("create", "handle : ", "SECOND")
	s.do("info --handle " + handle)
	job := s.learn("spawn --handle "+handle+` --script "echo hello; echo oops >&2; exit 7"`, "job_id : ", "JOB")
	s.do("link --handle " + handle + " --job_id " + job)
	s.do("link --handle " + handle + " --job_id " + job)
	s.do("run --handle " + handle + " --script 'echo $((6*7)); exit 3'")
	s.do("echo --message 'that is \"all\"'")
	s.do("destroy --handle " + handle)
	s.do("info --handle " + handle)
	s.do("list")
}

// do has a command done, and writes down both.
func (s *session) do(command string) (shown string) {
	if s.err != nil {
		return ""
	}
	shown, s.err = s.terminal.Do(prompt, command)
	fmt.Fprintf(&s.transcript, "%s%s\n%s", prompt, s.normal(command), s.normal(shown))
	return shown
}

// learn does a command that answers a name, writes that down as what it is
// called here, and returns it.
func (s *session) learn(command, label, called string) (name string) {
	if s.err != nil {
		return ""
	}
	shown, err := s.terminal.Do(prompt, command)
	name, ok := strings.CutPrefix(strings.TrimSuffix(shown, "\n"), label)
	if err == nil && (!ok || name == "") {
		err = fmt.Errorf("wardentty: %s answered %q, want %s", command, shown, label)
	}
	s.err = err
	fmt.Fprintf(&s.transcript, "%s%s\n%s%s\n", prompt, s.normal(command), label, called)
	if label == "job_id : " { // a bare number would be found anywhere
		s.names = append(s.names, "--job_id "+name, "--job_id "+called)
		return name
	}
	s.names = append(s.names, name, called)
	return name
}

// varying are the lines of info whose values differ from time to time.
var varying = regexp.MustCompile(
	`(?m)^((?:info\.)?(?:(host_ip|container_ip)|(container_path)|(memory_stat|cpu_stat|bandwidth_stat)\.\w+) : ).*$`)

var diskLines = regexp.MustCompile(`(?m)^(?:info\.)?disk_stat\..*\n`)

func (s *session) normal(text string) string {
	text = diskLines.ReplaceAllString(text, "")
	text = varying.ReplaceAllStringFunc(text, func(line string) string {
		m := varying.FindStringSubmatch(line)
		switch {
		case m[2] != "":
			return m[1] + "ADDRESS"
		case m[3] != "":
			return m[1] + "PATH"
		default:
			return m[1] + "NUMBER"
		}
	})
	return strings.NewReplacer(s.names...).Replace(text)
}
