package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/initclient"
)

// run starts a job and returns how it ended and all that it said.
func run(t *testing.T, b *Box, id string, job *isolation.Job) (isolation.Exit, string) {
	t.Helper()
	if err := b.Spawn(t.Context(), id, *job); err != nil {
		t.Fatal(err)
	}
	exit, err := b.Wait(t.Context(), id, job.Number)
	if err != nil {
		t.Fatal(err)
	}
	return exit, b.text(id, job.Number, stdoutFile) + b.text(id, job.Number, stderrFile)
}

// script is a job whose shell reads a script from where it reads everything.
func script(number uint32, text string) *isolation.Job {
	job := shell(number, "")
	job.Argv, job.Stdin = []string{"/bin/bash"}, []byte(text)
	return job
}

// place is a container without a job.
func place(t *testing.T, m *machine, b *Box, number uint32) isolation.Spec {
	t.Helper()
	spec := m.spec(number)
	if _, err := b.Create(t.Context(), spec, nil); err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestAScriptIsReadFromStdinWithTheRestLeftToCommands(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	long := strings.Repeat("# a line of no use\n", 20_000)
	for n, c := range []struct{ name, text, want string }{
		{"rest to a command", "echo first\ncat; echo after\necho last\n", "first\necho last\nafter\n"},
		{"at its end", "read -r line; echo \"[$line] $?\"\n", "[] 1\n"},
		{"a line for read", "read -r line\nthe line\necho \"$line\"", "the line\n"},
		{"long", long + "echo end\n", "end\n"},
		{"shell says what it is", "echo $0 $-", "/bin/bash hBs\n"},
	} {
		exit, text := run(t, b, spec.ID, script(uint32(n+1), c.text))
		if exit.Code != 0 || text != c.want {
			t.Errorf("%s: ended with %d, said %q, want %q", c.name, exit.Code, text, c.want)
		}
		if entries, _ := filepath.Glob(filepath.Join(b.folder(spec.ID).job(uint32(n+1)), "std*")); len(entries) != 2 {
			t.Errorf("%s: the folder has %v", c.name, entries)
		}
	}
	// By the descriptor alone, and not from its beginning again.
	const refused = "once\ncat: /dev/stdin: Permission denied"
	if _, text := run(t, b, spec.ID, script(11, "echo once\ncat /dev/stdin\n")); !strings.HasPrefix(text, refused) {
		t.Errorf("opened by name: %q", text)
	}
	if _, text := run(t, b, spec.ID, script(12, "echo x >&0\n")); !strings.Contains(text, "Bad file descriptor") {
		t.Errorf("written to: %q", text)
	}
}

// Each job has its own limits and nothing of another's.
func TestLimitsAreOneJobsAlone(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	print := script(1, "cat /proc/self/limits")
	print.Files, print.Procs = 0, 0
	_, before := run(t, b, spec.ID, print)

	limited := script(2, "cat /proc/self/limits")
	limited.Files, limited.Procs = 77, 50
	limited.Rlimits = []isolation.Rlimit{
		{Resource: unix.RLIMIT_CORE, Value: 0}, {Resource: unix.RLIMIT_STACK, Value: 1 << 20},
		{Resource: unix.RLIMIT_AS, Value: 1 << 30}, {Resource: unix.RLIMIT_CPU, Value: 600},
		{Resource: unix.RLIMIT_FSIZE, Value: unix.RLIM_INFINITY}, {Resource: unix.RLIMIT_NPROC, Value: 60},
		{Resource: unix.RLIMIT_MEMLOCK, Value: 1 << 62}, // more than this machine allows
		{Resource: 99, Value: 1},
	}
	exit, text := run(t, b, spec.ID, limited)
	if exit.Code != 0 {
		t.Fatalf("ended with %+v: %s", exit, text)
	}
	for name, want := range map[string]string{
		"Max open files": "77 77", "Max processes": "60 60", "Max core file size": "0 0", "Max cpu time": "600 600",
		"Max stack size": "1048576 1048576", "Max address space": "1073741824 1073741824", "Max file size": "unlimited unlimited",
	} {
		if got := limitIn(text, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}

	again := script(3, "cat /proc/self/limits; ulimit -n 9999999")
	again.Files, again.Procs = 0, 0
	_, after := run(t, b, spec.ID, again)
	if !strings.HasPrefix(after, before) {
		t.Errorf("the next job has\n%s\nwithout any before it\n%s", after, before)
	}
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", b.live[spec.ID].init.PID()))
	if err != nil || limitIn(string(own), "Max core file size") == "0 0" || limitIn(string(own), "Max open files") == "77 77" {
		t.Errorf("PID 1 has\n%s%v", own, err)
	}
}

// Whoever sends signals to everybody may hit a job before it is one, and stops
// nobody by that but those whom they reach.
func TestSignalsFromInsideDoNotStopPID1(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	const storm = "trap '' HUP INT QUIT TERM TRAP; " +
		"while :; do kill -CONT -1; kill -INT -1; kill -TRAP -1; kill -TERM -1; kill -STOP -1; done"
	if err := b.Spawn(t.Context(), spec.ID, *shell(1, storm)); err != nil {
		t.Fatal(err)
	}
	hit := 0
	for n := range uint32(100) {
		job := script(n+2, "exit 3")
		if n%2 == 0 {
			job.Rlimits = []isolation.Rlimit{{Resource: unix.RLIMIT_STACK, Value: 1 << 20}}
		}
		err := b.Spawn(t.Context(), spec.ID, *job)
		if _, refused := errors.AsType[*initclient.FailedError](err); refused {
			hit++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if exit, err := b.Wait(t.Context(), spec.ID, job.Number); err != nil {
			t.Fatal(err)
		} else if exit.Code != 3 {
			hit++
		}
	}
	if hit == 0 {
		t.Error("no signal hit any: the test shows nothing")
	}
	if err := b.Stop(t.Context(), spec.ID, 0); err != nil {
		t.Fatal(err)
	}
	if exit, _ := run(t, b, spec.ID, shell(500, "exit 3")); exit.Code != 3 {
		t.Errorf("after the storm one ended with %+v", exit)
	}
}

// limitIn is soft and hard as /proc/<pid>/limits has them.
func limitIn(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, found := strings.CutPrefix(line, name); found {
			fields := strings.Fields(rest)
			return strings.Join(fields[:2], " ")
		}
	}
	return ""
}

func TestWhatIsDiscardedIsNowhere(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	job := script(1, "head -c 50000000 /dev/zero; head -c 1000 /dev/zero >&2; echo more > /dev/stdout || exit 5; exit 3")
	job.Discard = true
	exit, text := run(t, b, spec.ID, job)
	if exit.Code != 3 || text != "" {
		t.Errorf("ended with %+v, said %q", exit, text)
	}
}

func TestANumberIsUsedOnce(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	spec := place(t, m, b, 0)
	if exit, _ := run(t, b, spec.ID, shell(1, "exit 7")); exit.Code != 7 {
		t.Fatalf("ended with %+v", exit)
	}
	run(t, b, spec.ID, shell(2, "echo two"))
	if err := b.Spawn(t.Context(), spec.ID, *shell(3, "sleep 300")); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), spec.ID, 3); err == nil {
		t.Error("a job that runs was forgotten")
	}
	for range 2 { // may be repeated
		if err := b.Forget(t.Context(), spec.ID, 2); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(b.JobFolder(spec.ID, 2)); !os.IsNotExist(err) {
		t.Errorf("its folder: %v", err)
	}
	// A job that could not be started didn't use its number.
	nothing := shell(4, "")
	nothing.Argv = []string{"/no/such/program"}
	if err := b.Spawn(t.Context(), spec.ID, *nothing); err == nil {
		t.Error("what doesn't exist was started")
	}
	run(t, b, spec.ID, shell(4, "true"))
	if err := b.Forget(t.Context(), "00000000000", 1); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("of nobody: %v", err)
	}
	refusedAndAnswered := func(b *Box) {
		t.Helper()
		for n := range uint32(4) {
			if err := b.Spawn(t.Context(), spec.ID, *shell(n+1, "true")); !errors.Is(err, errUsed) {
				t.Errorf("job %d once more: %v", n+1, err)
			}
		}
		if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Code != 7 {
			t.Errorf("job 1 ended with %+v, %v", exit, err)
		}
		for _, n := range []uint32{2, 99} {
			if _, err := b.Wait(t.Context(), spec.ID, n); !errors.Is(err, isolation.ErrNoJob) {
				t.Errorf("job %d: %v", n, err)
			}
		}
	}
	refusedAndAnswered(b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ = m.open()
	defer m.end(b)
	refusedAndAnswered(b)
	if status, err := b.Adopt(t.Context(), spec.ID); err != nil || len(status.Jobs) != 3 {
		t.Errorf("the successor sees %+v, %v", status.Jobs, err)
	}
}

// Two agents' worth of jobs, each more than PID 1 remembers.
func TestThousandsOfJobsLeaveNothingInPID1(t *testing.T) {
	const jobs = 2000
	m := newMachine(t)
	b, _ := m.open()
	spec := place(t, m, b, 0)
	if err := b.Spawn(t.Context(), spec.ID, *shell(1, "sleep 300")); err != nil { // somebody is always there
		t.Fatal(err)
	}
	pid := b.live[spec.ID].init.PID()
	many := func(first, last int) {
		for n := first; n < last; n++ {
			if err := b.Spawn(t.Context(), spec.ID, *shell(uint32(n), fmt.Sprintf("echo %d; exit %d", n, n%100))); err != nil {
				t.Fatal(err)
			}
			if n%7 == 0 { // the others are waited for later, from their records
				if exit, err := b.Wait(t.Context(), spec.ID, uint32(n)); err != nil || exit.Code != n%100 {
					t.Fatalf("job %d ended with %+v, %v", n, exit, err)
				}
			}
		}
	}
	many(2, jobs/2)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, _ = m.open()
	defer m.end(b)
	many(jobs/2, jobs)
	for n := 2; n < jobs; n++ {
		exit, err := b.Wait(t.Context(), spec.ID, uint32(n))
		if err != nil || exit.Code != n%100 || exit.Job != uint32(n) {
			t.Fatalf("job %d ended with %+v, %v", n, exit, err)
		}
		if text := b.text(spec.ID, uint32(n), stdoutFile); text != fmt.Sprintln(n) {
			t.Fatalf("job %d said %q", n, text)
		}
		if n%2 == 0 {
			if err := b.Forget(t.Context(), spec.ID, uint32(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)); err != nil || len(open) > 40 {
		t.Errorf("PID 1 has %d descriptors open, %v", len(open), err)
	}
	client, err := initclient.Dial(t.Context(), b.folder(spec.ID).socket())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if hello := client.Hello(); len(hello.Jobs) > 300 || !client.Runs(1) {
		t.Errorf("PID 1 greets with %d jobs", len(hello.Jobs))
	}
	if kib := anonymous(t, pid); kib > 4096 {
		t.Errorf("PID 1 has %d KiB of its own", kib)
	}
}

func TestAJobsEndIsItsFirstProcesss(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	pid := b.live[spec.ID].init.PID()
	chatty := shell(1, "(trap '' HUP; while :; do head -c 100000 /dev/zero; sleep 0.02; done) & exit 3")
	chatty.OutputMax = 1 << 20
	begun := time.Now()
	if exit, _ := run(t, b, spec.ID, chatty); exit.Code != 3 || time.Since(begun) > 5*time.Second {
		t.Fatalf("ended with %+v after %s", exit, time.Since(begun))
	}
	// What it left is bounded, also once nobody knows the job any more.
	if err := b.Forget(t.Context(), spec.ID, 1); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(string(b.folder(spec.ID)), leftFolder, "1", stdoutFile)
	var st unix.Stat_t
	wait(t, "its output to grow far beyond its bound", func() bool {
		return unix.Stat(left, &st) == nil && st.Size > 4<<20
	})
	wait(t, "its output to be bounded", func() bool {
		return unix.Stat(left, &st) == nil && st.Blocks*512 < 3<<20
	})
	if err := b.Stop(t.Context(), spec.ID, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), spec.ID, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	wait(t, "PID 1 to let it go", func() bool {
		open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, link := range open {
			if target, _ := os.Readlink(link); strings.Contains(target, "/left/1") {
				return false
			}
		}
		return err == nil
	})
}

func TestAStoppedContainerServes(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	if err := b.Spawn(t.Context(), spec.ID, *shell(1, "sleep 300")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Stop(t.Context(), spec.ID, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if exit, err := b.Wait(t.Context(), spec.ID, 1); err != nil || exit.Signal != int(unix.SIGTERM) || !exit.Ordered {
		t.Errorf("ended with %+v, %v", exit, err)
	}
	if exit, text := run(t, b, spec.ID, shell(2, "echo here")); exit.Code != 0 || text != "here\n" || exit.Ordered {
		t.Errorf("the next ended with %+v, said %q", exit, text)
	}
}

// An agent that died between the folder and PID 1's answer left a job that
// never was.
func TestAJobThatNeverBeganIsNone(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	spec := place(t, m, b, 0)
	files, err := b.folder(spec.ID).openJob(*shell(5, ""), 0)
	if err != nil {
		t.Fatal(err)
	}
	files.close()
	if _, err := b.Wait(t.Context(), spec.ID, 5); !errors.Is(err, isolation.ErrNoJob) {
		t.Errorf("waiting for it: %v", err)
	}
	if err := b.Forget(t.Context(), spec.ID, 5); err != nil {
		t.Error(err)
	}
}

// wait looks until something is so.
func wait(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatal("waited for ", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// anonymous is a process's memory that is no file's.
func anonymous(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kib); n == 1 {
			return kib
		}
	}
	t.Fatal("the kernel doesn't tell")
	return 0
}
