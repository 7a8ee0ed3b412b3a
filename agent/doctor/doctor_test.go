package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/agent"
)

// TestMain lets the test's own program be the probe.
func TestMain(m *testing.M) {
	if told, probing := os.LookupEnv(ProbeEnv); probing {
		if err := ProbeFirewall(told); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAKernelIsJudgedByItsAge(t *testing.T) {
	for release, want := range map[string]Verdict{
		"6.18.44-fc-v657": Good, "6.15.0": Good, "7.0.1": Good, "6.14.9": Weak, "6.1.0-32-cloud-amd64": Weak,
		"6.0.19": Missing, "5.15.0-generic": Missing, "4.4.0": Missing, "unknown": Unknown,
	} {
		if got := judgeKernel(release); got.Verdict != want || got.What == "" || (want == Missing) && got.Remedy == "" {
			t.Errorf("%s is %+v, want %s", release, got, want)
		}
	}
}

func TestACheckThatFallsKeepsNoOtherFromBeingMade(t *testing.T) {
	c := check{"broken", false, func(context.Context, *patient) Finding { panic("boom") }}
	got := c.make(t.Context(), &patient{})
	if got.Verdict != Unknown || got.Check != "broken" || !strings.Contains(got.What, "boom") {
		t.Errorf("found %+v", got)
	}
}

func TestSomebodyInThePoolIsFound(t *testing.T) {
	p := &patient{config: agent.DefaultConfig()}
	p.config.Network.Pool = netip.MustParsePrefix("127.0.0.0/16")
	if got := addresses(t.Context(), p); got.Verdict != Missing || !strings.Contains(got.What, "lo") {
		t.Errorf("found %+v", got)
	}
	p.config.Network.Pool = netip.MustParsePrefix("203.0.113.0/24")
	if got := addresses(t.Context(), p); got.Verdict != Good {
		t.Errorf("found %+v", got)
	}
}

func TestWhoListensOnThePortsIsFound(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	p := &patient{config: agent.DefaultConfig()}
	p.config.Network.PortFirst, p.config.Network.PortLast = port, port
	if got := ports(t.Context(), p); got.Verdict != Weak || !strings.Contains(got.What, fmt.Sprintf("listens at %d", port)) {
		t.Errorf("found %+v", got)
	}
	if got := listening("  sl  local_address rem_address   st\n 0: garbage\n 1: 0100007F:XYZ 0:0 0A\n"); len(got) > 0 {
		t.Errorf("read %v of a table that is none", got)
	}
}

func TestAStateFolderIsJudgedByWhereItIs(t *testing.T) {
	p := &patient{config: agent.DefaultConfig()}
	p.config.Node.State = "/dev/shm/deacon-doctor-test/deeper"
	if got := stateFolder(t.Context(), p); got.Verdict != Weak || !strings.Contains(got.What, "in memory") {
		t.Errorf("in memory: %+v", got)
	}
	if exists("/dev/shm/deacon-doctor-test") {
		t.Error("the folder was made")
	}
}

func TestWhatTheConfigurationNamesAndIsNotThereIsMissing(t *testing.T) {
	p := &patient{config: agent.DefaultConfig()}
	p.config.Node.State = t.TempDir()
	p.config.Node.Init = filepath.Join(p.config.Node.State, "init")
	if got := configured(t.Context(), p); got.Verdict != Missing || !strings.Contains(got.What, "every container needs") {
		t.Errorf("found %+v", got)
	}
	if err := os.WriteFile(p.config.Node.Init, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := configured(t.Context(), p); got.Verdict != Good {
		t.Errorf("found %+v", got)
	}
	p.config.Stacks = []agent.Stack{{Name: "gone", Path: "/nowhere"}}
	if got := configured(t.Context(), p); got.Verdict != Missing || !strings.Contains(got.What, "/nowhere") {
		t.Errorf("found %+v", got)
	}
}

func TestANATSThatIsNotThereIsNoReasonNotToRun(t *testing.T) {
	p := &patient{config: agent.DefaultConfig()}
	p.config.NATS.Servers = []string{"nats://127.0.0.1:1"}
	if got := nats(t.Context(), p); got.Verdict != Weak || got.Remedy == "" {
		t.Errorf("found %+v", got)
	}
	p.config.NATS.User, p.config.NATS.PasswordFile = "u", "/nowhere"
	if got := nats(t.Context(), p); got.Verdict != Missing || !strings.Contains(got.What, "/nowhere") {
		t.Errorf("found %+v", got)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make what is tried")
	}
}

// whatIs is all that a doctor might leave behind.
func whatIs(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/dev", "/proc/sys/net/ipv4/ip_forward"} {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(body)) {
			name, _, _ := strings.Cut(line, ":") // without counts
			all.WriteString(name + "\n")
		}
	}
	loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, loop := range loops {
		if backing, _ := os.ReadFile(loop); strings.Contains(string(backing), "doctor") {
			all.Write(backing)
		}
	}
	entries, _ := os.ReadDir(folder)
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/deacon-doctor*")
	fmt.Fprintln(&all, entries, groups)
	return all.String()
}

func TestAWholeExaminationLeavesNothing(t *testing.T) {
	needRoot(t)
	config := agent.DefaultConfig()
	config.Node.State = t.TempDir()
	before := whatIs(t, config.Node.State)
	findings := Examine(t.Context(), config)
	if after := whatIs(t, config.Node.State); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	if len(findings) != len(checks) {
		t.Errorf("%d findings of %d checks", len(findings), len(checks))
	}
	// What the tests of this repository need, this machine has.
	for _, f := range findings {
		switch f.Check {
		case "kernel", "namespaces", "cgroups", "mounts", "system call filter", "firewall", "disk limits":
			if f.Verdict == Missing || f.Verdict == Unknown {
				t.Errorf("found %+v", f)
			}
		}
		if (f.Verdict == Weak) && f.Remedy == "" {
			t.Errorf("no remedy for %+v", f)
		}
	}
}

// A disk driver that can't be is missing, and what to do about it is said.
func TestADiskDriverThatCantBeIsMissing(t *testing.T) {
	needRoot(t)
	p := &patient{config: agent.DefaultConfig()}
	p.config.Node.State = t.TempDir()
	t.Setenv("PATH", "/nowhere")
	if got := diskLimits(t.Context(), p); got.Verdict != Missing || !strings.Contains(got.Remedy, "btrfs-progs") {
		t.Errorf("without mkfs.btrfs: %+v", got)
	}
	p.config.Disk.Driver = "none"
	if got := diskLimits(t.Context(), p); got.Verdict != Weak {
		t.Errorf("with none: %+v", got)
	}
	if entries, _ := os.ReadDir(p.config.Node.State); len(entries) > 0 {
		t.Errorf("left %v", entries)
	}
}
