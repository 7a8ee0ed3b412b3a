package legacy_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/deacon-agent/deacon/agent"
	"github.com/deacon-agent/deacon/agent/legacy"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before you commit it")

// stock is a machine as its kernel makes it.
var stock = legacy.Machine{EphemeralLast: 60999}

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

// wrong are the sample files that can't be imported.
var wrong = []string{"broken", "syntax", "list", "few_ports"}

func samples(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d samples: %v", len(names), err)
	}
	found := map[string][]byte{}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimSuffix(filepath.Base(name), ".yml")] = src
	}
	return found
}

// What is written is read back by the agent without a fault, and is as the
// golden file has it: settings, where each came from, and what was lost.
func TestEverySampleBecomesAConfigurationThatLoads(t *testing.T) {
	for name, src := range samples(t) {
		if slices.Contains(wrong, name) {
			continue
		}
		got, err := legacy.Import(name+".yml", src, stock)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		config, err := agent.ParseConfig(name+".hcl", got.HCL)
		if err != nil {
			t.Errorf("%s: the configuration doesn't load: %v", name, err)
		}
		for _, warning := range config.Warnings { // of linux.yml, which lets everybody in
			if !strings.Contains(warning, "warden.mode is 0777") {
				t.Errorf("%s: %s", name, warning)
			}
		}
		golden(t, "testdata/"+name+".hcl", string(got.HCL))
		golden(t, "testdata/"+name+".notes", strings.Join(got.Notes, "\n")+"\n")
	}
}

func TestAWrongFileShowsEveryFaultAtOnce(t *testing.T) {
	for name, src := range samples(t) {
		if !slices.Contains(wrong, name) {
			continue
		}
		_, err := legacy.Import(name+".yml", src, stock)
		faulty, ok := errors.AsType[*legacy.ImportError](err)
		if !ok {
			t.Errorf("%s: error is %v, want an *ImportError", name, err)
			continue
		}
		if marked := bytes.Count(src, []byte("# wrong")); marked > 0 && marked != len(faulty.Faults) {
			t.Errorf("%s: %d faults found, %d are marked", name, len(faulty.Faults), marked)
		}
		golden(t, "testdata/"+name+".faults", faulty.Error()+"\n")
	}
}

// The sample with everything has every key of wire/warden.md h, and each of
// them changes what is written or what is said of it.
func TestEveryKeyHasAnEffect(t *testing.T) {
	src, err := os.ReadFile("testdata/everything.yml")
	if err != nil {
		t.Fatal(err)
	}
	render := func(lines []string) string {
		got, err := legacy.Import("everything.yml", []byte(strings.Join(lines, "\n")), stock)
		if err != nil {
			t.Fatal(err)
		}
		return string(got.HCL) + strings.Join(got.Notes, "\n")
	}
	lines := strings.Split(string(src), "\n")
	whole, keys := render(lines), 0
	for i, line := range lines {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), ": "); value != "" {
			keys++
			without := slices.Clone(lines)
			without[i] = "#"
			if render(without) == whole {
				t.Errorf("%s: without it everything is the same", key)
			}
		}
	}
	if keys != 42 {
		t.Errorf("the sample has %d keys, want 42", keys)
	}
}

func imported(t *testing.T, src string) agent.Config {
	t.Helper()
	got, err := legacy.Import("warden.yml", []byte(src), stock)
	if err != nil {
		t.Fatal(err)
	}
	config, err := agent.ParseConfig("deacon.hcl", got.HCL)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Nothing said and null said are the same, but for the grace time.
func TestNullMeansUnset(t *testing.T) {
	nulls, err := os.ReadFile("testdata/nulls.yml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(imported(t, ""), imported(t, string(nulls)), values); diff != "" {
		t.Error("(-nothing +nulls):\n", diff)
	}
	if never := imported(t, "server:\n  container_grace_time: ~\n"); never.Warden.Grace != nil {
		t.Errorf("a grace time of null is %s, want never", *never.Warden.Grace)
	}
}

// The pool is a power of two, large enough for what was asked (wire/warden.md d).
func TestAPoolOfSoManyNetworksIsRoundedUp(t *testing.T) {
	for size, want := range map[string]string{
		"1": "10.254.0.0/30", "2": "10.254.0.0/29", "3": "10.254.0.0/28", "64": "10.254.0.0/24", "65": "10.254.0.0/23",
		"256": "10.254.0.0/22", "16384": "10.254.0.0/16",
	} {
		got := imported(t, "network:\n  pool_start_address: 10.254.0.2\n  pool_size: "+size+"\n")
		if got.Network.Pool.String() != want {
			t.Errorf("%s networks: the pool is %s, want %s", size, got.Network.Pool, want)
		}
	}
}

// A row of networks that isn't one network never takes in an address that
// wasn't in it.
func TestAnUnalignedPoolStaysWithinItsRow(t *testing.T) {
	for start, want := range map[string]string{
		"10.254.0.4": "10.254.0.128/25", "10.254.0.64": "10.254.0.128/25", "10.254.0.128": "10.254.0.128/25",
		"10.254.0.132": "10.254.1.0/25", "10.254.1.0": "10.254.1.0/24",
	} {
		got := imported(t, "network:\n  pool_start_address: "+start+"\n  pool_size: 64\n")
		if got.Network.Pool.String() != want {
			t.Errorf("64 networks from %s: the pool is %s, want %s", start, got.Network.Pool, want)
		}
	}
}

func TestPortsBeginAboveThoseOfConnections(t *testing.T) {
	for src, want := range map[string][2]uint16{
		"":                                  {61000, 65000},
		"port:\n  pool_start_port: 40000\n": {40000, 65000},
		"port:\n  pool_size: 1000\n":        {61000, 61999},
		"port: {pool_start_port: 2000, pool_size: 1000}": {2000, 2999},
	} {
		got := imported(t, src).Network
		if got.PortFirst != want[0] || got.PortLast != want[1] {
			t.Errorf("%q: ports %d to %d, want %d to %d", src, got.PortFirst, got.PortLast, want[0], want[1])
		}
	}
	_, err := legacy.Import("warden.yml", nil, legacy.Machine{EphemeralLast: 65000})
	if err == nil || !strings.Contains(err.Error(), "ip_local_port_range") {
		t.Errorf("error is %v, want one that names the machine's setting", err)
	}
}

func TestARootFileSystemThatIsNotHereIsSaid(t *testing.T) {
	src, here := []byte("server:\n  container_rootfs_path: /srv/rootfs\n"), false
	m := legacy.Machine{EphemeralLast: 60999, HasFolder: func(path string) bool { return here && path == "/srv/rootfs" }}
	const want = "warden.yml:2: server.container_rootfs_path: there is no folder /srv/rootfs on this machine"
	missing, err := legacy.Import("warden.yml", src, m)
	if err != nil || len(missing.Notes) == 0 || !strings.Contains(strings.Join(missing.Notes, "\n"), want) {
		t.Errorf("notes are %q, %v; want %q", missing.Notes, err, want)
	}
	here = true
	found, err := legacy.Import("warden.yml", src, m)
	if err != nil || len(found.Notes) != len(missing.Notes)-1 || !bytes.Equal(found.HCL, missing.HCL) {
		t.Errorf("with the folder notes are %q, %v", found.Notes, err)
	}
}

func TestAPoolThatNoContainerCanLiveInIsNamed(t *testing.T) {
	for _, pool := range []string{
		"pool_network: 127.1.0.0/24", "pool_network: 0.0.0.0/0", "pool_network: 169.254.169.0/30",
		"{pool_start_address: 223.255.255.252, pool_size: 2}", "{pool_start_address: 255.255.255.252, pool_size: 1}",
	} {
		_, err := legacy.Import("warden.yml", []byte("network:\n "+pool+"\n"), stock)
		if err == nil || !strings.Contains(err.Error(), "warden.yml:2: network.pool_") {
			t.Errorf("%s: error is %v, want one that names the line", pool, err)
		}
	}
}

// Numbers and truths are what Ruby's YAML makes of them.
func TestScalarsAreReadAsRubyDoes(t *testing.T) {
	for text, want := range map[string]int64{
		"10485760": 10 << 20, "10_485_760": 10 << 20, "10,485,760": 10 << 20, "0xA00000": 10 << 20, "050000000": 10 << 20,
		"0b1010": 10, "+7": 7, "0": 0, "!!int '12'": 12,
	} {
		if got := imported(t, "server:\n  job_output_limit: "+text+"\n").Warden.JobOutputLimit; got != want {
			t.Errorf("%s: the limit is %d, want %d", text, got, want)
		}
	}
	for text, want := range map[string]bool{"yes": true, "True": true, "ON": true, "no": false, "FALSE": false, "off": false} {
		if got := imported(t, "server: {quota: {disk_quota_enabled: "+text+"}}").Warden.DiskQuota; got != want {
			t.Errorf("%s: the quota is %t, want %t", text, got, want)
		}
	}
	for _, text := range []string{"08", "1e3", "12:30:45", "'5'", "5MiB", "0x", "1__0,", "|\n    5"} {
		_, err := legacy.Import("warden.yml", []byte("server:\n  job_output_limit: "+text+"\n"), stock)
		if err == nil || !strings.Contains(err.Error(), "warden.yml:2: server.job_output_limit must be a whole number") {
			t.Errorf("%s: error is %v, want one that names the line", text, err)
		}
	}
}

// A text of the file can't become anything but a text of ours.
func TestATextIsNeverRead(t *testing.T) {
	for _, path := range []string{`/a/${env("HOME")}`, `/a/%{ if true }b%{ endif }`, `/a/"b"`, `/a/\n`, "/a/\u00fc b"} {
		quoted := strings.ReplaceAll(path, "'", "''")
		if got := imported(t, "server:\n  container_rootfs_path: '"+quoted+"'\n").Warden.Rootfs.Path; got != path {
			t.Errorf("the root file system is %q, want %q", got, path)
		}
	}
	got, err := legacy.Import("a\nnode {}\n", nil, stock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.ParseConfig("deacon.hcl", got.HCL); err != nil {
		t.Errorf("a file's name is read as configuration: %v", err)
	}
}

// Whatever bytes a file has: no panic, and an error with faults or a
// configuration that the agent takes.
func FuzzImport(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.yml")
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Add([]byte("server: &s\n  <<: *s\n"))
	f.Add([]byte("server: &s\n  <<: {<<: {<<: {pidfile: /a}}}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := legacy.Import("warden.yml", src, stock)
		if faulty, ok := errors.AsType[*legacy.ImportError](err); err != nil && (!ok || len(faulty.Faults) == 0) {
			t.Errorf("error is %v, want an *ImportError with faults", err)
		}
		if err != nil {
			return
		}
		if _, err := agent.ParseConfig("deacon.hcl", got.HCL); err != nil {
			t.Errorf("what was written doesn't load: %v\n%s", err, got.HCL)
		}
	})
}

// Mappings that are merged into one another end, one way or the other.
func TestMergingHasAnEnd(t *testing.T) {
	wide := "a: &a {x: 1}\n"
	for _, name := range []string{"ba", "cb", "dc", "ed", "fe", "gf"} {
		wide += name[:1] + ": &" + name[:1] + " {<<: [" + strings.TrimSuffix(strings.Repeat("*"+name[1:]+", ", 20), ", ") + "]}\n"
	}
	for _, src := range []string{"server: &s\n  <<: *s\n", wide + "server: *g\n"} {
		_, err := legacy.Import("warden.yml", []byte(src), stock)
		if faulty, ok := errors.AsType[*legacy.ImportError](err); !ok || len(faulty.Faults) != 1 {
			t.Errorf("error is %v, want one fault", err)
		}
	}
}
