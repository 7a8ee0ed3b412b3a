package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// ended is how one command line ended.
type ended struct {
	code      int
	out, errs string
}

// command runs one command of the shell in this process.
func (p *wardenPeer) command(args ...string) ended {
	return commandLine(p.t, append([]string{"warden", "--socket", p.path, "--"}, args...)...)
}

func commandLine(t *testing.T, args ...string) ended {
	t.Helper()
	var out, errs bytes.Buffer
	code := execute(t.Context(), args, &out, &errs)
	return ended{code, out.String(), errs.String()}
}

func (e ended) expect(t *testing.T, want ended) {
	t.Helper()
	if e.code != want.code || e.out != want.out || !strings.Contains(e.errs, want.errs) || want.errs == "" && e.errs != "" {
		t.Errorf("got  %d %q %q\nwant %d %q %q", e.code, e.out, e.errs, want.code, want.out, want.errs)
	}
}

func TestOneCommandEndsWithItsStatus(t *testing.T) {
	p := startWarden(t)
	for _, test := range []struct {
		command []string
		want    ended
	}{
		{[]string{"ping"}, ended{0, "", ""}},
		{[]string{"PING"}, ended{0, "", ""}},
		{[]string{"create", "--handle", "h"}, ended{0, "handle : h\n", ""}},
		{[]string{"list"}, ended{0, "handles[0] : h\n", ""}},
		{[]string{"echo", "--message", "a  b"}, ended{0, "message : a  b\n", ""}},
		{[]string{"echo", "--message="}, ended{0, "message : \n", ""}},
		{[]string{"run", "--handle", "h", "--script", "true"}, ended{0, "", ""}},
		{[]string{"run", "--handle", "h", "--script", "echo hello; echo oops >&2; exit 7"}, ended{7, "hello\n", "oops\n"}},
		{[]string{"run", "--handle", "h", "--script", "kill -9 $$"}, ended{255, "", ""}},
		{[]string{"run", "--handle", "h", "--script", `printf '\377'`}, ended{0, "\xff", ""}},
		{[]string{"spawn", "--handle", "h", "--script", "echo $((6*7)); exit 3"}, ended{0, "job_id : 5\n", ""}},
		{[]string{"stream", "--handle", "h", "--job_id", "5"}, ended{3, "42\n", ""}},
		{[]string{"stream", "--handle", "h", "--job_id", "5"}, ended{exitFailed, "", "deacon: no such job\n"}},
		{[]string{"net_in", "--handle", "h"}, ended{0, "host_port : 61001\ncontainer_port : 8080\n", ""}},
		{[]string{"limit_memory", "--handle", "h"}, ended{0, "limit_in_bytes : 9223372036854771712\n", ""}},
		{[]string{"copy_in", "--handle", "h", "--src_path", "/a", "--dst_path", "/b"}, ended{0, "", ""}},
		{[]string{"limit_cpu", "--handle", "h"}, // by this peer
			ended{exitFailed, "", "deacon: command exited with failure\n  look at its arguments; the"}},
		{[]string{"destroy", "--handle", "h"}, ended{0, "", ""}},
		{[]string{"info", "--handle", "h"}, ended{exitFailed, "", "deacon: unknown handle\n"}},
		{[]string{"fly"}, ended{exitUsage, "", `there is no command "fly"`}},
		{[]string{"list", "--frobnicate"}, ended{exitUsage, "", `there is no field "frobnicate": the command has none`}},
	} {
		t.Run(strings.Join(test.command, " "), func(t *testing.T) { p.command(test.command...).expect(t, test.want) })
	}
	commandLine(t, "warden", "--socket", p.path+".none", "--", "ping").expect(t, ended{exitUnreachable, "", "can't be reached"})
	commandLine(t, "warden", "--frobnicate").expect(t, ended{exitUsage, "", "unknown flag"})
	commandLine(t, "warden", "--socket", p.path, "echo", "--message", "no dashes").expect(t, ended{0, "message : no dashes\n", ""})
}

func TestWhatIsWrongWithACommandIsNamed(t *testing.T) {
	p := startWarden(t)
	for command, want := range map[string]string{
		"info":                                "info: --handle is missing",
		"info --handle":                       "--handle wants a value",
		"info --handle h extra":               `"extra" is no --field`,
		"info -- h":                           `"--" is no --field`,
		"stop --handl h":                      `--handl: there is no field "handl": there is handle, background, kill`,
		"link --handle h --job_id x":          "--job_id x: it is a number, 0 to 4294967295",
		"link --handle h --job_id -1":         "--job_id -1: it is a number",
		"link --handle h --job_id 4294967296": "it is a number, 0 to 4294967295",
		"limit_memory --handle h --limit_in_bytes 1e9":                     "it is a number, 0 to 18446744073709551615",
		"net_out --handle h --icmp_type 2147483648":                        "it is a number, -2147483648 to 2147483647",
		"net_out --handle h --protocol SCTP":                               "--protocol SCTP: it is one of TCP, UDP, ICMP, ALL",
		"stop --handle h --kill=maybe":                                     "--kill maybe: it is true or false",
		"stop --handle h --kill maybe":                                     `"maybe" is no --field`,
		"spawn --handle h --script s --rlimits 5":                          "rlimits has fields of its own: there is as, core,",
		"spawn --handle h --script s --rlimits.x 5":                        `there is no field "x"`,
		"spawn --handle.a h":                                               "handle has no fields of its own",
		"spawn --handle[0] h":                                              "handle is no list",
		"create --bind_mounts.src_path /a":                                 "bind_mounts is a list: number its elements, bind_mounts[0] first",
		"create --bind_mounts[1].src_path /a":                              "bind_mounts[1] comes before bind_mounts[0]",
		"create --bind_mounts[0].src_path /a --bind_mounts[2].src_path /b": "bind_mounts[2] comes before bind_mounts[1]",
		"create --bind_mounts[x].src_path /a":                              "[x] is no index; write bind_mounts[0]",
		"create --bind_mounts[0.src_path /a":                               "is no index",
		"create --bind_mounts[0] /a":                                       "bind_mounts has fields of its own",
		"create --bind_mounts[0].src_path /a":                              "--bind_mounts[0].dst_path is missing",
		"help fly":                                                         `there is no command "fly"`,
		"help list info":                                                   "help takes one command",
	} {
		got := p.command(strings.Fields(command)...)
		if got.code != exitUsage || !strings.Contains(got.errs, want) || got.out != "" {
			t.Errorf("%s: %d %q %q\nwant 2 and %q", command, got.code, got.out, got.errs, want)
		}
	}
	if heard := p.requests(); len(heard) > 0 {
		t.Errorf("the server heard %v", heard)
	}
}

// TestARemedyIsWordedForWhereTheUserIs: who gave one command has no prompt to
// type the next one at. (What is said at the prompt is in the terminal's tests.)
func TestARemedyIsWordedForWhereTheUserIs(t *testing.T) {
	p := startWarden(t)
	for command, remedy := range map[string]string{
		"fly":            "help",
		"help fly":       "help",
		"help list info": "help",
		"info":           "info --help",
	} {
		want := "\n  see deacon warden -- " + remedy + "\n"
		if got := p.command(strings.Fields(command)...); !strings.HasSuffix(got.errs, want) {
			t.Errorf("%s: got %q, want %q at the end", command, got.errs, want)
		}
	}
	shell := &wardenShell{wardenOptions: wardenOptions{socket: p.path}}
	for _, test := range []struct{ env, want string }{
		{"", "deacon warden --socket " + p.path + " -- stream --handle 'a b'"},
		{p.path, "deacon warden -- stream --handle 'a b'"},
	} {
		t.Setenv(wardenEnv, test.env)
		if got := shell.way("stream", "--handle", "a b"); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestHelpIsGivenWhereverItIsAskedFor(t *testing.T) {
	p := startWarden(t)
	for command, want := range map[string]string{
		"info --help":                   mustHelp(t, "info"),
		"info --handle x --help":        mustHelp(t, "info"),
		"stop --handle x --kill --help": mustHelp(t, "stop"),
		"stop --help --handle x":        mustHelp(t, "stop"),
		"echo --message --help":         "message : --help\n", // where a value stands it is one
		"help run":                      mustHelp(t, "run"),
		"help HELP":                     commandList(),
		"help exit":                     commandList(),
		"--help":                        commandList(),
		"help net":                      textForms["net"].help(),
		"copy --help":                   textForms["copy"].help(),
		"help LIMIT":                    textForms["limit"].help(),
	} {
		p.command(strings.Fields(command)...).expect(t, ended{0, want, ""})
	}
	for command, want := range map[string]string{
		"help":       textList(),
		"help run":   textForms["run"].help(),
		"run --help": textForms["run"].help(),
	} {
		commandLine(t, append([]string{"warden", "--socket", p.path, "--v1", "--"}, strings.Fields(command)...)...).
			expect(t, ended{0, want, ""})
	}
	commandLine(t, "warden", "--v1", "--", "help", "copy_in").expect(t, ended{exitUsage, "", `there is no command "copy_in"`})
	if heard := p.requests(); len(heard) != 1 {
		t.Errorf("the server heard %v, want one echo", heard)
	}
}

// TestTextCommandsAreTakenAsTheirHelpWritesThem says every form of every text
// command, with all that may be left out and without.
func TestTextCommandsAreTakenAsTheirHelpWritesThem(t *testing.T) {
	p := startWarden(t)
	p.handles = []string{"HANDLE"}
	values := map[string]string{"BYTES": "1", "RATE": "1", "BURST": "1", "JOB": "1", "CONFIG": "{}", "NETWORK": "192.0.2.0/24"}
	optional := regexp.MustCompile(` ?\[[^]]*\]`)
	names := slices.Sorted(maps.Keys(textForms))
	if want := client.V1Commands(); !slices.Equal(names, want) {
		t.Errorf("explained are %v, and there are %v", names, want)
	}
	for _, name := range names {
		for _, usage := range textForms[name].usages {
			full := strings.NewReplacer("[:PORT]", ":80", "[", "", "]", "").Replace(usage)
			for _, form := range []string{full, optional.ReplaceAllString(usage, "")} {
				words := strings.Fields(form)
				for i, word := range words {
					words[i] = cmp.Or(values[word], word)
				}
				if got := p.command(words...); got.code == exitUsage {
					t.Errorf("%q was refused: %s", words, got.errs)
				}
			}
			if got := p.command(append(strings.Fields(full), "one", "more")...); got.code != exitUsage {
				t.Errorf("%s with two more words ended with %d, want %d", full, got.code, exitUsage)
			}
		}
	}
}

func TestFieldsGoWhereTheirNamesSay(t *testing.T) {
	p := startWarden(t)
	for command, want := range map[string]proto.Message{
		"create": &protocol.CreateRequest{},
		"create --bind_mounts[0].src_path /a --bind_mounts[0].dst_path /b --bind_mounts[0].mode RO " +
			"--bind_mounts[1].mode rw --bind_mounts[1].dst_path /d --bind_mounts[1].src_path /c --grace_time 0": &protocol.CreateRequest{
			BindMounts: []*protocol.CreateRequest_BindMount{
				{SrcPath: new("/a"), DstPath: new("/b"), Mode: protocol.CreateRequest_BindMount_RO.Enum()},
				{SrcPath: new("/c"), DstPath: new("/d"), Mode: protocol.CreateRequest_BindMount_RW.Enum()},
			},
			GraceTime: new(uint32(0)),
		},
		"stop --background --handle h --kill": &protocol.StopRequest{Handle: new("h"), Background: new(true), Kill: new(true)},
		"stop --handle h --kill=false":        &protocol.StopRequest{Handle: new("h"), Kill: new(false)},
		"stop --handle --kill":                &protocol.StopRequest{Handle: new("--kill")},
		"stop --handle a --handle b":          &protocol.StopRequest{Handle: new("b")},
		"spawn --handle h --script s --rlimits.nofile 64 --rlimits.as 18446744073709551615 --privileged": &protocol.SpawnRequest{
			Handle: new("h"), Script: new("s"), Privileged: new(true),
			Rlimits: &protocol.ResourceLimits{Nofile: new(uint64(64)), As: new(uint64(1<<64 - 1))},
		},
		"net_out --handle h --protocol ICMP --icmp_type -1": &protocol.NetOutRequest{
			Handle: new("h"), Protocol: protocol.NetOutRequest_ICMP.Enum(), IcmpType: new(int32(-1)),
		},
	} {
		before := len(p.requests())
		p.command(strings.Fields(command)...)
		heard := p.requests()
		if len(heard) != before+1 || !proto.Equal(heard[before], want) {
			t.Errorf("%s\nthe server heard %s\nwant %s", command, prototext.Format(heard[len(heard)-1]), prototext.Format(want))
		}
	}
}

func TestRunIsSpawnWithAllThatWasGiven(t *testing.T) {
	p := startWarden(t)
	p.command("create", "--handle", "h")
	p.command("run", "--handle", "h", "--script", "true", "--privileged", "--rlimits.core", "1", "--discard_output", "--log_tag", "t")
	want := &protocol.SpawnRequest{Handle: new("h"), Script: new("true"), Privileged: new(true),
		Rlimits: &protocol.ResourceLimits{Core: new(uint64(1))}, DiscardOutput: new(true), LogTag: new("t")}
	if heard := p.requests(); len(heard) != 3 || !proto.Equal(heard[1], want) {
		t.Errorf("the server heard %v", heard)
	}
	for field := range inOrder((&protocol.RunRequest{}).ProtoReflect().Descriptor()) {
		if !want.ProtoReflect().Has(want.ProtoReflect().Descriptor().Fields().ByName(field.Name())) {
			t.Errorf("%s isn't tested", field.Name())
		}
	}
}

func TestWordsAreSplitAsByAShell(t *testing.T) {
	for line, want := range map[string][]string{
		"":                      nil,
		"  a\tb  ":              {"a", "b"},
		`'a b' "c d" e\ f`:      {"a b", "c d", "e f"},
		`a'b'"c"d`:              {"abcd"},
		`'' ""`:                 {"", ""},
		`'a"b' "c'd"`:           {`a"b`, "c'd"},
		`"a\"b\\c\d\$e"`:        {`a"b\c\d$e`},
		`'a\'`:                  {`a\`},
		`\'`:                    {"'"},
		"a 'über dem' \"\xff\"": {"a", "über dem", "\xff"},
	} {
		got, err := splitWords(line)
		if err != nil || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: got %q, %v; want %q", line, got, err, want)
		}
	}
	for _, line := range []string{`'a`, `"a`, `"a\"`, `a\`, `a 'b`} {
		if got, err := splitWords(line); err == nil {
			t.Errorf("%s: got %q, want an error", line, got)
		}
	}
}

func TestAQuotedWordIsSplitIntoItself(t *testing.T) {
	for _, word := range []string{"", "a", "a b", "it's", `"`, `\`, "$x `y`", "\n", "--x=1"} {
		got, err := splitWords("x " + quoteWord(word) + " y")
		if err != nil || len(got) != 3 || got[1] != word {
			t.Errorf("%q became %s, and %q, %v", word, quoteWord(word), got, err)
		}
	}
}

func TestJSONIsForPrograms(t *testing.T) {
	p := startWarden(t)
	for _, test := range []struct {
		command []string
		want    ended
	}{
		{[]string{"list"}, ended{0, `{"handles":[]}` + "\n", ""}},
		{[]string{"create", "--handle", `a"b<`}, ended{0, `{"handle":"a\"b<"}` + "\n", ""}},
		{[]string{"create", "--handle", "\xff"}, ended{0, `{"handle_base64":"/w=="}` + "\n", ""}},
		{[]string{"list"}, ended{0, `{"handles_base64":["YSJiPA==","/w=="]}` + "\n", ""}},
		{[]string{"ping"}, ended{0, "{}\n", ""}},
		{[]string{"limit_memory", "--handle", "\xff"}, ended{0, `{"limit_in_bytes":9223372036854771712}` + "\n", ""}},
		{[]string{"run", "--handle", "\xff", "--script", "echo hello; echo oops >&2; exit 7"}, ended{7,
			`{"name":"stdout","data":"hello\n"}` + "\n" + `{"name":"stderr","data":"oops\n"}` + "\n" +
				`{"exit_status":7,"info":{"state":"active","events":[],"job_ids":[]}}` + "\n", ""}},
		{[]string{"run", "--handle", "\xff", "--script", `printf '\377'`}, ended{0,
			`{"name":"stdout","data_base64":"/w=="}` + "\n" + `{"exit_status":0,"info":{"state":"active","events":[],"job_ids":[]}}` + "\n", ""}},
		{[]string{"info", "--handle", "none"}, ended{1, "", `{"error":"unknown handle","code":1}` + "\n"}},
		{[]string{"info"}, ended{2, "", `{"error":"info: --handle is missing","remedy":"see deacon warden -- info --help","code":2}` + "\n"}},
		{[]string{"net", "\xff", "in"}, ended{0, `{"container_port":8080,"host_port":61001}` + "\n", ""}},
		{[]string{"run", "\xff", "true"}, ended{1, "", "command exited with failure"}}, // this peer knows no run in one
	} {
		t.Run(strings.Join(test.command, " "), func(t *testing.T) {
			args := append([]string{"--json", "warden", "--socket", p.path, "--"}, test.command...)
			commandLine(t, args...).expect(t, test.want)
		})
	}
	info := commandLine(t, "--json", "warden", "--socket", p.path, "--", "info", "--handle", "\xff")
	var decoded struct {
		MemoryStat map[string]uint64 `json:"memory_stat"`
	}
	if err := json.Unmarshal([]byte(info.out), &decoded); err != nil || decoded.MemoryStat["total_unevictable"] != 28 {
		t.Errorf("info: %v, %s", err, info.out)
	}
}

func TestTextCommandsAreToldFromOthers(t *testing.T) {
	p := startWarden(t)
	for _, test := range []struct {
		flag    string
		command []string
		want    ended
	}{
		{"--v1", []string{"create"}, ended{0, "1j0shvimvs1\n", ""}},
		{"--v1", []string{"list"}, ended{0, "1j0shvimvs1\n", ""}},
		{"--v1", []string{"echo", "--x"}, ended{0, "--x\n", ""}},
		{"--v1", []string{"ping"}, ended{0, "pong\n", ""}},
		{"--v1", []string{"limit_cpu"}, ended{exitUsage, "", "unknown command: limit_cpu"}},
		{"--v1=false", []string{"ping"}, ended{0, "", ""}},
		{"--v1=false", []string{"echo", "x y"}, ended{0, "x y\n", ""}},
		{"--v1=false", []string{"stop", "none"}, ended{exitFailed, "", "unknown handle"}},
		{"--v1=false", []string{"net", "1j0shvimvs1", "in"}, ended{0, "container_port : 8080\nhost_port : 61001\n", ""}},
		{"--v1=false", []string{"limit", "1j0shvimvs1", "mem"}, ended{0, "9223372036854771712\n", ""}},
		{"--v1=false", []string{"limit", "1j0shvimvs1", "cpu"}, ended{exitUsage, "", "unknown limit: cpu\n  see deacon warden -- help limit\n"}},
		{"--v1=false", []string{"net"}, ended{exitUsage, "", "usage: net HANDLE in"}},
		{"--v1=false", []string{"run", "1j0shvimvs1", "echo hello; echo oops >&2; exit 7"}, ended{7, "hello\n", "oops\n"}},
		{"--v1=false", []string{"run", "1j0shvimvs1", "ls", "-l"}, ended{exitUsage, "", "usage: run HANDLE SCRIPT"}},
		{"--v1=false", []string{"spawn", "1j0shvimvs1", "echo one; echo two >&2"}, ended{0, "2\n", ""}},
		{"--v1=false", []string{"link", "1j0shvimvs1", "2"}, ended{0, "one\n", "two\n"}},
		{"--v1=false", []string{"link", "1j0shvimvs1", "x"}, ended{exitUsage, "", `"x" is no number`}},
		{"--v1=false", []string{"stream", "1j0shvimvs1", "2"}, ended{exitFailed, "", "no such job"}},
		{"--v1=false", []string{"fly", "high"}, ended{exitUsage, "", `there is no command "fly"`}},
		{"--v1=false", []string{"STOP", "1j0shvimvs1"}, ended{0, "ok\n", ""}},
		{"--v1=false", []string{"destroy", "1j0shvimvs1"}, ended{0, "ok\n", ""}},
	} {
		t.Run(test.flag+" "+strings.Join(test.command, " "), func(t *testing.T) {
			args := append([]string{"warden", "--socket", p.path, test.flag, "--"}, test.command...)
			commandLine(t, args...).expect(t, test.want)
		})
	}
}

// TestNothingOfAContainerBreaksTheTerminal: a handle is any bytes, and whoever
// lists containers is not who chose it. What a job wrote goes out as it is.
func TestNothingOfAContainerBreaksTheTerminal(t *testing.T) {
	p := startWarden(t)
	p.command("create", "--handle", "a\n\x1b[31mb").expect(t, ended{0, "handle : a??[31mb\n", ""})
	p.command("echo", "--message", "\x1b[31m").expect(t, ended{0, "message : \x1b[31m\n", ""})
}

// TestCommandsMayComeFromAFile runs the real command line, with a file as its
// standard input.
func TestCommandsMayComeFromAFile(t *testing.T) {
	p := startWarden(t)
	const commands = "create --handle h\n\n# a comment\ninfo --handle none\necho --message 'open\nrun h 'kill -9 $$'\nlist\nexit\nlist"
	for name, test := range map[string]struct {
		flags []string
		want  ended
	}{
		"and errors are passed over": {nil, ended{0, "handle : h\nhandles[0] : h\n",
			"unknown handle\na quote is opened and not closed\nexit status 255\n"}},
		"or end it": {[]string{"--exit_on_error"}, ended{1, "handle : h\n", "deacon: unknown handle\n"}},
		"and may be shown": {[]string{"--trace"}, ended{0, "handle : h\nhandles[0] : h\n",
			"+ create --handle h\n+ info --handle none\nunknown handle\na quote"}},
	} {
		t.Run(name, func(t *testing.T) {
			p.mu.Lock()
			p.handles = nil
			p.mu.Unlock()
			file := t.TempDir() + "/commands"
			if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
				t.Fatal(err)
			}
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			var out, errs bytes.Buffer
			shell := exec.Command("deacon", append([]string{"warden", "--socket", p.path}, test.flags...)...)
			shell.Stdin, shell.Stdout, shell.Stderr = in, &out, &errs
			shell.Run()
			ended{shell.ProcessState.ExitCode(), out.String(), errs.String()}.expect(t, test.want)
		})
	}
}

// TestAJobOutlivesTheConnection: the peer cuts the connection twice in the
// middle of a stream, and tells the job from its beginning each time.
func TestAJobOutlivesTheConnection(t *testing.T) {
	p := startWarden(t)
	p.command("create", "--handle", "h")
	p.command("run", "--handle", "h", "--script", "echo a long story").
		expect(t, ended{0, "a long story\n", "Reconnecting...\nReconnecting...\n"})
}

// TestWhoIsNotLetInIsToldWhoIs asks for the words alone: to root, as whom tests
// run, no socket is closed.
func TestWhoIsNotLetInIsToldWhoIs(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	f := asFailure(new(wardenShell).unreachable(t.Context(), refused), true)
	if f.code != exitUnreachable || !strings.Contains(f.remedy, "warden.mode and warden.group") {
		t.Errorf("got %d, %q", f.code, f.remedy)
	}
}
