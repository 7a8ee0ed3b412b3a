package chaos

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/agent/chaos/drill"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

var (
	duration   = flag.Duration("chaos.duration", 25*time.Second, "how long the drawn scenario takes")
	containers = flag.Int("chaos.containers", 8, "how many containers it has")
	seed       = flag.Uint64("chaos.seed", 0, "what it is drawn by; 0: the commit's hash")
	folder     = flag.String("chaos.report", "", "where its report goes; empty: nowhere that stays")
)

func TestMain(m *testing.M) { rig.Main(m) }

// commitSeed is another one for every commit, and the same for each.
func commitSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	commit, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return 1 // there are machines without git, and trees without a history
	}
	h := fnv.New32a()
	h.Write(commit)
	return uint64(h.Sum32())
}

// stage is a node that may be harmed, its NATS server and a droplet.
type stage struct {
	t       *testing.T
	nats    *rig.NATS
	node    *supervisor
	droplet rig.Droplet
}

func newStage(t *testing.T, disk string) *stage {
	t.Helper()
	s := &stage{t: t, nats: rig.StartNATS(t)}
	blobs := rig.NewDropletServer(t)
	s.droplet = blobs.Add("./app", rig.Program(t, "./testsuite/e2e/app", "app"))
	s.node = supervise(t, fmt.Sprintf(`
nats { servers = [%q] }
disk { driver = %q }
resources {
  memory = "64GiB"
  disk = "64GiB"
}
intervals {
  heartbeat = "2s"
  advertise = "2s"
}
instance { health_check_timeout = "30s" }
chaos {
  allow      = true
  supervised = true
}
`, s.nats.URL, disk))
	return s
}

// command runs the program that users have.
func (s *stage) command(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.Command(rig.Binary(s.t, "deacon"), args...)
	cmd.Env = append(os.Environ(), "DEACON_NATS="+s.nats.URL, "DROPLET="+s.droplet.URI, "DROPLET_SHA1="+s.droplet.SHA1)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// play runs a scenario, wants it stood, and returns its report.
func (s *stage) play(scenario string, seed uint64) drill.Report {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "scenario.hcl")
	if err := os.WriteFile(file, []byte(scenario), 0o600); err != nil {
		s.t.Fatal(err)
	}
	to := *folder
	if to == "" {
		to = s.t.TempDir()
	}
	out, err := s.command("chaos", "run", file, "--seed", fmt.Sprint(seed), "--report", to)
	if err != nil {
		s.t.Errorf("%v\n%s\nreplay: go test ./testsuite/chaos -run '^%s$' -chaos.seed=%d -chaos.duration=%s -chaos.containers=%d",
			err, out, s.t.Name(), seed, *duration, *containers)
	}
	s.t.Log(out)
	var report drill.Report
	body, err := os.ReadFile(filepath.Join(to, drill.DataName))
	if err == nil {
		err = json.Unmarshal(body, &report)
	}
	if err != nil {
		s.t.Error("read the report:", err)
	}
	return report
}

const application = `
application "guinea-pig" {
  droplet   = env("DROPLET")
  sha1      = env("DROPLET_SHA1")
  memory    = "48MiB"
  disk      = "32MiB"
  instances = %d
}
`

func TestANodeStandsWhatIsDrawn(t *testing.T) {
	// In memory: a full disk ends writing to a pool that containers are made on, and
	// a living agent makes none on it until it is started again.
	s := newStage(t, "tmpfs")
	report := s.play(fmt.Sprintf(`
duration = %q
recovery = "45s"
heartbeat_max = "10s"

load {
  every   = "1s"
  timeout = "10s"
}
random {
  every = "2s"
  fault "agent-killed" {}
  fault "agent-stopped" { for = "2s" }
  fault "init-killed" {}
  fault "job-killed" {}
  fault "actor-panics" {}
  fault "steps-fail" { for = "3s" }
  fault "steps-slow" { for = "3s" }
  fault "nats-killed" { for = "3s" }
  fault "nats-partitioned" { for = "3s" }
  fault "nats-slow" { for = "3s" }
  fault "nats-duplicated" { for = "5s" }
  fault "nats-reordered" { for = "5s" }
  fault "disk-full" { for = "3s" }
  fault "no-inodes" { for = "3s" }
  fault "no-descriptors" { for = "3s" }
  fault "memory-pressure" {
    for  = "3s"
    size = 134217728
  }
  fault "clock-jumped" { for = "3s" }
  fault "table-flushed" {}
  fault "link-deleted" {}
  fault "state-flipped" {}
  fault "state-truncated" {}
  fault "group-removed" {}
}
`+application, duration.String(), *containers), commitSeed())
	if !report.Passed || report.Requests.Answered == 0 || len(report.Faults) == 0 {
		t.Errorf("passed: %v, %d requests answered, %d faults", report.Passed, report.Requests.Answered, len(report.Faults))
	}
}

func TestANodeThatDoesNotAllowItRefuses(t *testing.T) {
	nats := rig.StartNATS(t)
	s := &stage{t: t, nats: nats, node: supervise(t, fmt.Sprintf("nats { servers = [%q] }\ndisk { driver = \"none\" }\n", nats.URL))}
	for _, args := range [][]string{{"chaos", "list"}, {"chaos", "run", "testdata/one.hcl"}} {
		out, err := s.command(args...)
		if err == nil || !strings.Contains(out, "doesn't allow chaos") || !strings.Contains(out, "chaos { allow = true }") {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
