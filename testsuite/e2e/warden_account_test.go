package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// privileged makes a request one of root's.
func privileged(r *protocol.RunRequest) { r.Privileged = proto.Bool(true) }

func TestWhatAScriptFinds(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	lang := os.Getenv("LANG")
	if lang == "" {
		lang = "en_US.UTF-8"
	}
	for _, c := range []struct {
		what, script string
		root         bool
		want         string
	}{
		{"vcap's environment", "env | sort | grep -v -e ^SHLVL -e ^_ -e ^PWD", false,
			"HOME=/home/vcap\nLANG=" + lang + "\nPATH=/bin:/usr/bin\nUSER=vcap\n"},
		{"root's environment", "env | sort | grep -v -e ^SHLVL -e ^_ -e ^PWD", true,
			"HOME=/root\nLANG=" + lang + "\nPATH=/sbin:/bin:/usr/sbin:/usr/bin\nUSER=root\n"},
		{"vcap's home", "pwd; stat -c %U .; touch x && echo written", false, "/home/vcap\nvcap\nwritten\n"},
		{"root's home", "pwd; id -un; id -gn", true, "/root\nroot\nroot\n"},
		{"vcap's group", "id -gn; [ $(id -u) = $(id -g) ] && echo same", false, "vcap\nsame\n"},
		{"its shell", "echo $0 $-; shopt -q login_shell || echo no login", false, "/bin/bash hBs\nno login\n"},
		{"its stdin", "cat\necho printed by cat\n", false, "echo printed by cat\n"},
		{"the rest of its stdin", "read x; echo got $x\nthis line\necho end\n", false, "got this line\nend\n"},
		{"no terminal", "[ -t 0 ] || [ -t 1 ] || tty -s || echo none", false, "none\n"},
		{"a session of its own", "[ $(cut -d' ' -f6 /proc/self/stat) = $$ ] && echo own", false, "own\n"},
		{"umask", "umask", true, "0022\n"},
	} {
		_, stdout, stderr := w.run(handle, c.script, func(r *protocol.RunRequest) { r.Privileged = &c.root })
		if stdout != c.want {
			t.Errorf("%s: %q %q, want %q", c.what, stdout, stderr, c.want)
		}
	}
	if status, _, stderr := w.run(handle, "true\nif then\n"); status == 0 || !strings.Contains(stderr, "line 2") {
		t.Errorf("an error of syntax: status %d, %q", status, stderr)
	}
	if status, stdout, _ := w.run(handle, strings.Repeat("#", 300<<10)+"\necho long\n"); status != 0 || stdout != "long\n" {
		t.Errorf("a long script: status %d, %q", status, stdout)
	}
	w.destroy(handle)
}

// wardensRlimits are soft and hard, as /proc has them, in Warden's units.
const wardensRlimits = `core file size=0
cpu time=unlimited
data size=unlimited
file locks=unlimited
file size=unlimited
locked memory=65536
address space=unlimited
msgqueue size=819200
nice priority=0
open files=1024
processes=1024
realtime priority=0
resident set=unlimited
pending signals=1024
stack size=8388608
`

// limitsOf is a limit in the words of /proc/self/limits.
func limitsOf(text, name string) (soft, hard string) {
	for line := range strings.Lines(strings.ToLower(text)) {
		if rest, ok := strings.CutPrefix(line, "max "+name); ok {
			if fields := strings.Fields(rest); len(fields) > 1 {
				return fields[0], fields[1]
			}
		}
	}
	return "", ""
}

func TestLimitsOfJobsAreTheRequestsAndThenTheConfigurations(t *testing.T) {
	w := newWardens(t, "rlimits {\n nofile = 77\n }")
	handle := w.create()
	_, out, _ := w.run(handle, "cat /proc/self/limits; sleep 0.3; echo later; cat /proc/self/limits")
	limits, later, _ := strings.Cut(out, "later\n") // the hard ones come a moment after the job's first
	for line := range strings.Lines(wardensRlimits) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "open files" {
			value = "77"
		}
		if soft, _ := limitsOf(limits, name); soft != value {
			t.Errorf("%s begins as %s, not %s:\n%s", name, soft, value, limits)
		}
		if soft, hard := limitsOf(later, name); soft != value || hard != value {
			t.Errorf("%s is %s and %s, not %s:\n%s", name, soft, hard, value, later)
		}
	}
	asked := func(r *protocol.RunRequest) {
		r.Rlimits = &protocol.ResourceLimits{Nofile: proto.Uint64(88), Core: proto.Uint64(0), Fsize: proto.Uint64(4096)}
	}
	if _, out, _ := w.run(handle, "ulimit -n; ulimit -f", asked); out != "88\n4\n" {
		t.Errorf("asked for, they are %q", out)
	}
	other := w.create()
	for _, handle := range []string{handle, other} {
		if _, out, _ := w.run(handle, "ulimit -n; ulimit -f"); out != "77\nunlimited\n" {
			t.Errorf("the next job has %q", out)
		}
	}
	// What the machine can't give is what it has: the job runs (docs/warden.md).
	status, stdout, stderr := w.run(handle, "echo run; [ $(ulimit -n) -gt 88 ] && echo more", func(r *protocol.RunRequest) {
		r.Rlimits = &protocol.ResourceLimits{Nofile: proto.Uint64(1 << 40)}
	})
	if status != 0 || stdout != "run\nmore\n" {
		t.Errorf("a limit that can't be set: status %d, %q, %q", status, stdout, stderr)
	}
	w.destroy(handle, other)
}

// Lines of both streams go to the daemon's socket with the priority of their
// stream, and are collected as well.
func TestLinesWithATagGoToTheMachinesLog(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "log")
	daemon, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	w := newWardens(t, fmt.Sprintf("syslog_socket = %q", path))
	handle := w.create()
	hear := func() string {
		buffer := make([]byte, 1<<16)
		daemon.SetReadDeadline(time.Now().Add(wardenMax))
		n, err := daemon.Read(buffer)
		if err != nil {
			t.Error(err)
		}
		return string(buffer[:n])
	}
	expect := func(wants ...string) {
		t.Helper()
		for range wants {
			said := hear()
			at := slices.IndexFunc(wants, func(want string) bool {
				priority, text, _ := strings.Cut(want, " ")
				return strings.HasPrefix(said, priority) && strings.HasSuffix(said, text)
			})
			if at < 0 {
				t.Errorf("the daemon was told %q, want one of %q", said, wants)
			}
		}
	}
	tag := func(r *protocol.RunRequest) { r.LogTag = proto.String("some-tag") }
	_, stdout, stderr := w.run(handle, "echo out; echo err >&2", tag)
	if stdout != "out\n" || stderr != "err\n" {
		t.Errorf("collected %q and %q", stdout, stderr)
	}
	expect("<14> warden.some-tag: out", "<11> warden.some-tag: err")
	w.run(handle, "echo thrown away", tag, func(r *protocol.RunRequest) { r.DiscardOutput = proto.Bool(true) })
	expect("<14> warden.some-tag: thrown away")
	// The tag holds for a successor.
	job, err := w.c.Spawn(w.ctx(), &protocol.SpawnRequest{
		Handle: &handle, Script: proto.String("until [ -e go ]; do sleep 0.02; done; echo later"), LogTag: proto.String("kept"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.node.Kill()
	w.node.Start()
	w.c = w.dial()
	w.run(handle, "touch go")
	expect("<14> warden.kept: later")
	w.link(w.c, handle, job)
	w.destroy(handle)
}
