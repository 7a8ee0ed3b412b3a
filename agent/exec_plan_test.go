package agent

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

func besideRecord() actors.Record {
	return actors.Record{
		Start: messaging.StartInstance{
			Application: "app", Name: "app", Limits: messaging.ApplicationLimits{MemoryMiB: 64, Files: 99},
			Environment: []messaging.Variable{
				{Name: "COLOUR", Value: "green"}, {Name: "PATH", Value: "$PATH:/own"}, {Name: "spring.url", Value: "x"},
				{Name: "QUOTE", Value: `it's "so"`},
			},
		},
		Placement: actors.Placement{Instance: "i", Port: 20000},
	}
}

// The script is run by a real bash, with a stand-in of the application's folder.
func TestACommandBesideGetsTheApplicationsEnvironment(t *testing.T) {
	p := NewPlanner(PlannerConfig{Instance: DefaultConfig().Instance, Address: netip.MustParseAddr("192.0.2.1")})
	job, err := p.Beside(besideRecord(), []string{"printenv", "COLOUR", "PATH", "spring.url", "QUOTE", "FROM_PROFILE", "TERM"}, "xt'erm")
	if err != nil {
		t.Fatal(err)
	}
	if job.Files != 99 || job.User.UID != 2000 || job.Dir != "/home/vcap" || job.Umask != 0o077 {
		t.Errorf("the job is %+v", job)
	}
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, "app/.profile.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "app/.profile.d/a.sh"), []byte("export FROM_PROFILE=yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(job.Argv[0], job.Argv[1:]...)
	command.Dir, command.Env = home, job.Env
	out, err := command.CombinedOutput()
	want := []string{"green", searchPath + ":/own", "x", `it's "so"`, "yes", "xt'erm", ""}
	if got := strings.Split(string(out), "\n"); !slices.Equal(got, want) {
		t.Errorf("it prints %q, %v; want %q", got, err, want)
	}
}

// Words reach the command as they are, whatever they would mean to a shell.
func TestTheWordsOfACommandBesideAreNotEvaluated(t *testing.T) {
	p := NewPlanner(PlannerConfig{Instance: DefaultConfig().Instance, Address: netip.MustParseAddr("192.0.2.1")})
	words := []string{"$(id)", "`id`", "a b", "", "'", `"`, "\n", "*", "-n", "\\", "ü\xff"}
	job, err := p.Beside(besideRecord(), append([]string{"printf", "%s|"}, words...), "")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(job.Argv[0], job.Argv[1:]...)
	command.Dir, command.Env = home, job.Env
	out, err := command.CombinedOutput()
	if want := strings.Join(words, "|") + "|"; string(out) != want {
		t.Errorf("it prints %q, %v; want %q", out, err, want)
	}
	if _, err := p.Beside(besideRecord(), []string{strings.Repeat("x", jobTextMax)}, ""); err == nil {
		t.Error("a command that PID 1 can't be told of is planned")
	}
}
