package wardentty

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

const prompt = "warden> "

// Golden is the transcript that Session returns.
//
//go:embed session.golden
var Golden string

// TextGolden is the transcript that TextSession returns.
//
//go:embed textsession.golden
var TextGolden string

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
	return s.leave()
}

// TextSession is a conversation in the first version's text commands, with all
// their forms but "limit H disk", which depends on the node's disk. There must
// be no containers before, and there are none afterwards.
func TextSession(deacon, socket string, env ...string) (transcript string, err error) {
	folder, err := os.MkdirTemp("", "dcn-tty-")
	if err != nil {
		return "", fmt.Errorf("wardentty: make a folder to copy from: %w", err)
	}
	defer os.RemoveAll(folder)
	if err := os.WriteFile(filepath.Join(folder, "copied"), []byte("copied text\n"), 0o644); err != nil {
		return "", fmt.Errorf("wardentty: make a file to copy: %w", err)
	}
	t, err := Start(env, deacon, "warden", "--socket", socket, "--v1")
	if err != nil {
		return "", err
	}
	s := session{terminal: t, names: []string{folder, "FOLDER"}}
	s.converseInText(folder)
	return s.leave()
}

// session is a conversation; after an error it says nothing more.
type session struct {
	terminal   *Terminal
	transcript strings.Builder
	names      []string // what is replaced, and by what
	job        string   // with a blank before it; what stands at the end of commands
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

func (s *session) converseInText(folder string) {
	s.do("ping")
	s.do(`echo "a  b"`)
	s.do("list")
	h := s.learn(`create '{"grace_time": 60}'`, "", "HANDLE")
	s.do("list")
	s.do("info " + h)
	job := s.learn("spawn "+h+" 'echo hello; echo oops >&2; exit 7'", "", "JOB")
	s.do("link " + h + " " + job)
	s.do("link " + h + " " + job)
	s.do("run " + h + " 'echo $((6*7)); exit 3'")
	job = s.learn("spawn "+h+" 'echo $((6*7)); exit 3'", "", "JOB")
	s.do("stream " + h + " " + job)
	s.do("copy " + h + " in " + folder + "/copied /tmp/copied")
	s.do("run " + h + " 'cat /tmp/copied'")
	s.do("copy " + h + " out /tmp/copied " + folder + "/back")
	s.do("net " + h + " in")
	s.do("net " + h + " out 192.0.2.1:80")
	s.do("limit " + h + " mem 268435456")
	s.do("limit " + h + " mem")
	s.do("limit " + h + " bandwidth 1000000 100000")
	s.do("stop " + h)
	s.do("run " + h + " true")
	s.do("destroy " + h)
	s.do("info " + h)
	s.do("list")
}

// leave ends the shell.
func (s *session) leave() (transcript string, err error) {
	s.terminal.Type("\x04") // Ctrl-D
	code, err := s.terminal.Close()
	switch {
	case s.err != nil:
		err = s.err
	case err == nil && code != 0:
		err = fmt.Errorf("wardentty: the shell ended with %d", code)
	}
	return s.transcript.String(), err
}

// do has a command done, and writes down both.
func (s *session) do(command string) (shown string) {
	if s.err != nil {
		return ""
	}
	shown, s.err = s.terminal.Do(prompt, command)
	if without, ok := strings.CutSuffix(command, s.job); ok && s.job != "" {
		command = without + " JOB"
	}
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
	if called == "JOB" { // a bare number would be found anywhere
		s.job = " " + name
		return name
	}
	s.names = append(s.names, name, called)
	return name
}

// varying are the lines whose values differ from time to time.
var varying = regexp.MustCompile(
	`(?m)^((?:info\.)?(?:(host_ip|container_ip)|(container_path)|` +
		`(host_port|container_port|(?:memory_stat|cpu_stat|bandwidth_stat)\.\w+)) : ).*$`)

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
