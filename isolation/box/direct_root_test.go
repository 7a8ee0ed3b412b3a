package box

import (
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
)

// program is a job of vcap without a shell, with one to fall back to.
func program(number uint32, argv ...string) isolation.Job {
	job := *shell(number, "")
	job.Argv = argv
	job.Fallback = []string{"/bin/bash", "-c", strings.Join(argv, " ")}
	return job
}

// What a job without a shell does, each with what it prints and its exit code.
func TestAJobNeedsNoShell(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := m.spec(0)
	files := `mkdir a b; for f in plain a/tool b/tool; do echo 'echo $0 $1' >$f; done; chmod +x plain b/tool
printf '#!/no/such/shell\n' >orphan; chmod +x orphan`
	if _, err := b.Create(t.Context(), spec, shell(1, files)); err != nil {
		t.Fatal(err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Code != 0 {
		t.Fatal(exit, err, b.text(spec.ID, 1, stderrFile))
	}
	for i, check := range []struct {
		what string
		argv []string
		path string
		want string
		code int
	}{
		{"a name", []string{"id", "-u"}, "", "2000\n", 0},
		{"an element that isn't there", []string{"id", "-u"}, "/nowhere:/etc/passwd:/usr/bin", "2000\n", 0},
		{"its own name", []string{"cat", "/proc/self/cmdline"}, "", "cat\x00/proc/self/cmdline\x00", 0},
		{"an empty argument", []string{"printf", "<%s>", "", "x"}, "", "<><x>", 0},
		{"its folder", []string{"/bin/pwd"}, "", "/home/vcap\n", 0},
		{"a relative path", []string{"./plain", "x"}, "", "./plain x\n", 0}, // no #!: only a shell makes something of it
		{"what may not be executed is passed over", []string{"tool", "x"}, "/home/vcap/a:/home/vcap/b", "/home/vcap/b/tool x\n", 0},
		{"a relative element", []string{"tool", "x"}, "b:/usr/bin", "b/tool x\n", 0},
		{"no path", []string{"id", "-u"}, ":", "/bin/bash: line 1: id: command not found\n", 127},
		{"umask", []string{"grep", "Umask", "/proc/self/status"}, "", "Umask:\t0077\n", 0},
		{"an unknown name", []string{"no-such", "x"}, "", "/bin/bash: line 1: no-such: command not found\n", 127},
		{"exec of one", []string{"exec", "no-such"}, "", "/bin/bash: line 1: exec: no-such: not found\n", 127},
		{"an unknown path", []string{"./no-such"}, "", "/bin/bash: line 1: ./no-such: No such file or directory\n", 127},
		{"no program", []string{"./a/tool"}, "", "/bin/bash: line 1: ./a/tool: Permission denied\n", 126},
		{"a folder", []string{"/tmp"}, "", "/bin/bash: line 1: /tmp: Is a directory\n", 126},
		{"exit code", []string{"false"}, "", "", 1},
	} {
		job := program(uint32(i+2), check.argv...)
		if check.path != "" {
			job.Env = []string{"PATH=wrong", "PATH=" + check.path}
		}
		if err := b.Spawn(t.Context(), spec.ID, job); err != nil {
			t.Errorf("%s: %v", check.what, err)
			continue
		}
		exit, err := b.Wait(t.Context(), spec.ID, job.Number)
		got := b.text(spec.ID, job.Number, stdoutFile) + b.text(spec.ID, job.Number, stderrFile)
		if err != nil || exit.Code != check.code || got != check.want {
			t.Errorf("%s: got %q, %+v, %v; want %q, %d", check.what, got, exit, err, check.want, check.code)
		}
	}
	lost := program(99, "no-such")
	lost.Fallback = nil
	if err := b.Spawn(t.Context(), spec.ID, lost); err == nil || !strings.Contains(err.Error(), "execute no-such") {
		t.Errorf("without anything to fall back to: %v", err)
	}
}

func TestAContainersFirstProgramMayBeUnknown(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec, job := m.spec(0), program(1, "no-such")
	if _, err := b.Create(t.Context(), spec, &job); err != nil {
		t.Fatal(err)
	}
	exit, err := b.Wait(t.Context(), spec.ID, 1)
	if said := b.text(spec.ID, 1, stderrFile); err != nil || exit.Code != 127 || !strings.Contains(said, "no-such") {
		t.Errorf("it ended with %+v, %v, and said %q", exit, err, said)
	}
}

func TestThePidFileHasTheJobsPidForItsUserOnly(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec, first, second := m.spec(0), shell(1, "echo $$"), program(2, "./run")
	first.PidFile, second.PidFile = "/home/vcap/run.pid", "/home/vcap/run.pid"
	second.Fallback = []string{"/bin/bash", "-c", "echo $$"}
	if _, err := b.Create(t.Context(), spec, first); err != nil {
		t.Fatal(err)
	}
	if err := b.Spawn(t.Context(), spec.ID, second); err != nil {
		t.Fatal(err)
	}
	for _, job := range []uint32{1, 2} {
		if _, err := b.Wait(t.Context(), spec.ID, job); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Spawn(t.Context(), spec.ID, *shell(3, "cat run.pid; stat -c '%a %U' run.pid")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), spec.ID, 3); err != nil {
		t.Fatal(err)
	}

	want := b.text(spec.ID, 1, stdoutFile) + b.text(spec.ID, 2, stdoutFile) + "600 vcap\n"
	if got := b.text(spec.ID, 3, stdoutFile); got != want || strings.Count(want, "\n") != 3 {
		t.Errorf("the file has %q, want %q", got, want)
	}
}
