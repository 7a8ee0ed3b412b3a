package agent

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/messaging"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before you commit it")

var byValue = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
var byAddress = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
var byPort = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func shipped(t *testing.T) []byte {
	t.Helper()
	src, err := os.ReadFile("../config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func mustParse(t *testing.T, src string) Config {
	t.Helper()
	c, err := ParseConfig("config.hcl", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The file that is shipped, an empty file and no file at all mean the same.
func TestTheShippedFileIsTheDefault(t *testing.T) {
	loaded, err := LoadConfig("../config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Network.Denied = nil
	if diff := cmp.Diff(want, loaded, byValue, byAddress, byPort); diff != "" {
		t.Error("config.hcl differs from DefaultConfig (-want +got):\n", diff)
	}
	if diff := cmp.Diff(want, mustParse(t, ""), byValue, byAddress, byPort); diff != "" {
		t.Error("an empty file differs from DefaultConfig (-want +got):\n", diff)
	}
}

// withWarden takes the # away from the block that the shipped file only shows.
func withWarden(t *testing.T, src []byte) []byte {
	t.Helper()
	head, block, found := bytes.Cut(src, []byte("\n# warden {\n"))
	if !found {
		t.Fatal("config.hcl shows no warden block")
	}
	block = regexp.MustCompile(`(?m)^# ?`).ReplaceAll(block, nil)
	return slices.Concat(head, []byte("\nwarden {\n"), block)
}

// What is shown of Warden's block is the default of its settings.
func TestTheShownWardenBlockIsItsDefault(t *testing.T) {
	for name, src := range map[string]string{"shown": string(withWarden(t, shipped(t))), "empty": "warden {}"} {
		want := DefaultWarden()
		want.Rootfs = Stack{Name: HostStack}
		if diff := cmp.Diff(&want, mustParse(t, src).Warden, byPort); diff != "" {
			t.Errorf("the block that is %s differs from DefaultWarden (-want +got):\n%s", name, diff)
		}
	}
}

// settingLine is a setting that config.hcl shows, in force or not; in a block
// that is commented out as a whole it is indented.
var settingLine = regexp.MustCompile(`^\s*#?\s*([a-z_0-9]+) *= `)

func TestTheShippedFileShowsEverySetting(t *testing.T) {
	shown := map[string]int{}
	for line := range strings.Lines(string(withWarden(t, shipped(t)))) {
		if m := settingLine.FindStringSubmatch(line); m != nil {
			shown[m[1]]++
		}
	}
	settings := map[string]int{} // of one name in several blocks
	var walk func(ty reflect.Type)
	walk = func(ty reflect.Type) {
		for i := range ty.NumField() {
			name, kind, _ := strings.Cut(ty.Field(i).Tag.Get("hcl"), ",")
			switch element := ty.Field(i).Type; {
			case kind == "block":
				for element.Kind() != reflect.Struct {
					element = element.Elem()
				}
				walk(element)
			case kind == "optional" && name != "path":
				settings[name]++
			}
		}
	}
	walk(reflect.TypeFor[configFile]())
	for name, want := range settings {
		if shown[name] != want {
			t.Errorf("config.hcl shows the setting %s %d times, want %d", name, shown[name], want)
		}
	}
}

// What is commented out must work as it stands once its # is taken away.
func TestEverySuggestedSettingWorks(t *testing.T) {
	t.Setenv("DEACON_NATS_PASSWORD", "secret")
	t.Setenv("DEACON_NATS_TOKEN", "secret")
	t.Setenv("DEACON_STATUS_PASSWORD", "secret")
	src := withWarden(t, shipped(t))
	unchanged := mustParse(t, string(src))
	suggested := regexp.MustCompile(`(?m)^( *)#([a-z_0-9]+ = )`)
	found := suggested.FindAllSubmatchIndex(src, -1)
	for _, at := range found {
		setting := string(src[at[4]:at[5]])
		changed := bytes.Join([][]byte{src[:at[3]], src[at[4]:]}, nil)
		needs := map[string]string{"password = ": "user", "password_file = ": "user", "cert = ": "key", "key = ": "cert",
			"burst = ": "rate"}
		if bytes.Contains(src[:at[4]], []byte("\nstatus {")) {
			needs["user = "] = "password"
		}
		if other := needs[setting]; other != "" {
			changed = withNearest(changed, other, at[4])
		}
		c, err := ParseConfig("config.hcl", changed)
		if err != nil {
			t.Errorf("%s: %v", setting, err)
		}
		if cmp.Equal(c, unchanged, byValue, byAddress, byPort) {
			t.Errorf("%s: setting it changes nothing", setting)
		}
	}
	if len(found) < 35 {
		t.Errorf("found %d suggested settings; the test looks for the wrong thing", len(found))
	}
}

// withNearest takes the # away from the setting of that name that is nearest.
func withNearest(src []byte, name string, to int) []byte {
	best := -1
	for _, at := range regexp.MustCompile("#"+name+" =").FindAllIndex(src, -1) {
		if best < 0 || max(at[0]-to, to-at[0]) < max(best-to, to-best) {
			best = at[0]
		}
	}
	return slices.Concat(src[:best], src[best+1:])
}

var everyRlimit = []messaging.Rlimit{
	{Name: "as", Value: 1}, {Name: "core", Value: 0}, {Name: "cpu", Value: 3}, {Name: "data", Value: 4},
	{Name: "fsize", Value: 5}, {Name: "locks", Value: 6}, {Name: "memlock", Value: 7}, {Name: "msgqueue", Value: 8},
	{Name: "nice", Value: 9}, {Name: "nofile", Value: 10}, {Name: "nproc", Value: 11}, {Name: "rss", Value: 12},
	{Name: "rtprio", Value: 13}, {Name: "sigpending", Value: math.MaxUint64 - 1}, {Name: "stack", Value: math.MaxUint64},
}

func TestEverySettingArrives(t *testing.T) {
	t.Setenv("DEACON_TEST_PASSWORD", "p w")
	got, err := LoadConfig("testdata/config/everything.hcl")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Node: Node{State: "/srv/deacon", ID: "n1", Address: netip.MustParseAddr("192.0.2.7"), Index: 3, Zone: "z2",
			UIDBase: 2_000_000, OnTerm: Shutdown, OnUSR2: Detach, OnReboot: Report, ShutdownTimeout: 90 * time.Second,
			EvacuateWithin: 15 * time.Minute, Init: "/opt/deacon-init"},
		NATS: NATS{Servers: []string{"tls://a:4222", "nats://b"}, User: "u", Password: "p w",
			TLS: TLS{CA: "/c/ca.pem", Cert: "/c/cert.pem", Key: "/c/key.pem"}},
		Resources: Resources{MemoryMiB: 4096, MemoryOvercommit: 1.5, DiskMiB: 1 << 20, DiskOvercommit: 2},
		Intervals: Intervals{Heartbeat: 9 * time.Second, Advertise: 1500 * time.Millisecond, RouterRegister: time.Minute},
		Instance: Instance{HealthCheckTimeout: 2 * time.Minute, StopGrace: 0, MemoryToCPUShareRatio: 4, CPUSharesMin: 2,
			CPUSharesMax: 512, DiskInodes: 5000, Processes: 64, CrashLifetime: 24 * time.Hour,
			OutputMaxBytes: 128 << 10, StartsMax: 4, Sessions: 7, LogRate: 100, LogLineMaxBytes: 1 << 10,
			Bandwidth: isolation.Bandwidth{Rate: 5 << 20, Burst: 256 << 10}},
		Hooks: Hooks{PostSetup: "export A=1\n", Timeout: 2 * time.Minute, Paths: map[actors.Moment]string{
			actors.BeforeStart: "/h/1", actors.AfterStart: "/h/2", actors.BeforeStop: "/h/3", actors.AfterStop: "/h/4"}},
		Binds: []BindMount{{"/data", "/srv/data", ReadWrite}, {"/home/vcap/models", "/srv/models", ReadOnly}},
		Runtimes: []Runtime{{Name: "java", Executable: "java"},
			{Name: "ruby19", Executable: "/opt/ruby", VersionFlag: "-v", VersionOutput: `1\.9`, AdditionalChecks: "-e 'puts true'",
				Environment: []messaging.Variable{{Name: "A", Value: "$B"}, {Name: "B", Value: "2"}},
				Debug:       map[string][]messaging.Variable{"run": {{Name: "X", Value: "1"}, {Name: "Y", Value: "a=b"}}}}},
		Network: Network{Pool: netip.MustParsePrefix("10.9.0.0/20"), PortFirst: 2000, PortLast: 2999, MTU: 1400,
			Egress: network.Reject, Denied: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")},
			Allowed: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, HostAccess: true, ReleaseDelay: 5 * time.Second,
			DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}},
		Disk:   Disk{Driver: "btrfs", PoolBytes: 2 << 30},
		Stacks: []Stack{{Name: "lucid64", Path: "/stacks/lucid64"}, {Name: "host"}},
		Log:    Log{Level: "debug", Format: "json", File: "/var/log/deacon.log", Syslog: "deacon-1"},
		Status: Status{Listen: netip.MustParseAddrPort("127.0.0.1:0"), User: "m", PasswordFile: "/c/password",
			TLS: StatusTLS{Cert: "/c/s.pem", Key: "/c/s.key"}},
		Warden: &Warden{Socket: "/run/warden.sock", Mode: 0o770, Group: "adm", Rootfs: Stack{Name: "host"},
			JobOutputLimit: 100_000, PIDFile: "/run/warden.pid",
			HealthCheck: netip.MustParseAddrPort("127.0.0.1:2345"), SyslogSocket: "/run/syslog",
			Rlimits: everyRlimit},
	}
	if diff := cmp.Diff(want, got, byValue, byAddress, byPort); diff != "" {
		t.Error("(-want +got):\n", diff)
	}
}

func TestAnInstancesBandwidthHasABurst(t *testing.T) {
	for src, want := range map[string]isolation.Bandwidth{
		"":                            {},
		"bandwidth {}":                {},
		`bandwidth { rate = "1MiB" }`: {Rate: 1 << 20, Burst: 1 << 20 / 10},
		`bandwidth { rate = "1TiB" }`: {Rate: 1 << 40, Burst: math.MaxUint32},
		"bandwidth {\n rate = \"1KiB\"\n burst = \"0B\"\n}": {Rate: 1 << 10},
	} {
		if got := mustParse(t, "instance {\n"+src+"\n}").Instance.Bandwidth; got != want {
			t.Errorf("%q is %+v, want %+v", src, got, want)
		}
	}
	for src, want := range map[string]string{
		`bandwidth { burst = "1MiB" }`:                        `"burst" needs "rate"`,
		`bandwidth { rate = "1000B" }`:                        `"rate" must be from 1KiB to`,
		`bandwidth { rate = "10Mbit" }`:                       `"rate" must have one of the units`,
		"bandwidth {\n rate = \"1MiB\"\n burst = \"4GiB\"\n}": `"burst" must be from 0 bytes to`,
	} {
		_, err := ParseConfig("config.hcl", []byte("instance {\n"+src+"\n}"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.hcl line") {
			t.Errorf("%q: error is %v, want %q", src, err, want)
		}
	}
}

// Every fault of a file is shown at once, with its line and what to do.
func TestAWrongFileShowsEveryFaultAtOnce(t *testing.T) {
	t.Setenv("DEACON_TEST_PASSWORD", "hunter2")
	files, err := filepath.Glob("testdata/config/wrong_*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no files:", err)
	}
	for _, name := range files {
		_, err := LoadConfig(name)
		wrong, ok := errors.AsType[*ConfigError](err)
		if !ok {
			t.Errorf("%s: error is %v, want a *ConfigError", name, err)
			continue
		}
		src, _ := os.ReadFile(name)
		if want := bytes.Count(src, []byte("# wrong")); wrong.Count != want {
			t.Errorf("%s: %d faults found, %d lines are marked", name, wrong.Count, want)
		}
		if strings.Contains(wrong.Error(), "hunter2") {
			t.Errorf("%s: the error shows a secret", name)
		}
		golden(t, strings.TrimSuffix(name, ".hcl")+".txt", wrong.Error()+"\n")
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestOddButAllowedIsAWarningWithItsLine(t *testing.T) {
	for src, want := range map[string]string{
		"network {\n  port_first = 30000\n  port_last = 65000\n}":                   "config.hcl:2: ports 30000 to 65000 overlap",
		"network {\n  denied = [\"0.0.0.0/0\"]\n}":                                  "config.hcl:2: network.denied has 0.0.0.0/0",
		"network {\n  denied = [\"10.254.1.0/24\"]\n}":                              "config.hcl:2: network.denied has 10.254.1.0/24, which",
		"network {\n  allowed = [\"10.254.1.0/24\"]\n}":                             "config.hcl:2: network.allowed has 10.254.1.0/24, which",
		"network {\n  denied = [\"10.1.2.0/24\"]\n  allowed = [\"10.1.0.0/16\"]\n}": "config.hcl:3: network.allowed has 10.1.0.0/16 and",
		"disk {\n  driver = \"none\"\n}\nwarden {\n  disk_quota = true\n}":          "config.hcl:5: warden.disk_quota has no effect",
		"warden {\n  mode = 777\n}":                                                 "config.hcl:2: warden.mode is 0777: every user",
		"disk {\n  driver = \"none\"\n  pool_size = \"1GiB\"\n}":                    "config.hcl:3: disk.pool_size has no effect",
		"status {\n  listen = \"192.0.2.7:1\"\n}":                                   "config.hcl:2: status.listen is 192.0.2.7:1: whoever",
		"status {\n  user = \"m\"\n  password = \"p\"\n}":                           "config.hcl:2: status.user has no effect without",
		"node {\n  shutdown_timeout = \"1s\"\n}":                                    "config.hcl:2: node.shutdown_timeout is shorter",
	} {
		c := mustParse(t, src)
		if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], want) {
			t.Errorf("%q: warnings are %q, want one that begins with %q", src, c.Warnings, want)
		}
	}
	holes := mustParse(t, "network {\n  denied = [\"10.1.0.0/16\"]\n  allowed = [\"10.1.2.0/24\"]\n}")
	if len(holes.Warnings) != 0 {
		t.Errorf("a hole in what is denied: warnings are %q", holes.Warnings)
	}
}

// Whatever bytes a file has: no panic, and an error or a configuration.
func FuzzParseConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/config/*.hcl", "../config.hcl"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := ParseConfig("config.hcl", src)
		if wrong, ok := errors.AsType[*ConfigError](err); err != nil && (!ok || wrong.Count == 0) {
			t.Errorf("error is %v, want a *ConfigError with a count", err)
		}
		if err == nil && (len(c.Stacks) == 0 || len(c.NATS.Servers) == 0 || !c.Network.Pool.IsValid()) {
			t.Errorf("accepted without a stack, a server or a pool: %+v", c)
		}
	})
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing.hcl")
	if _, err := LoadConfig(name); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), name) {
		t.Errorf("error is %v, want one that names %s", err, name)
	}
	holes := mustParse(t, "network {\n  denied = [\"10.1.0.0/16\"]\n  allowed = [\"10.1.2.0/24\"]\n}")
	if len(holes.Warnings) != 0 {
		t.Errorf("a hole in what is denied: warnings are %q", holes.Warnings)
	}
}

func TestThePasswordComesFromItsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]NATS{"s3cret": {PasswordFile: name}, "direct": {Password: "direct"}} {
		if got, err := n.ReadPassword(); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := (NATS{PasswordFile: name + ".gone"}).ReadPassword(); err == nil {
		t.Error("a password file that isn't there is no error")
	}
}
