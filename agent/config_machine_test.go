package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func write(t *testing.T, name, body string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(body), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestResolversThatOnlyTheMachineCanAskAreLeftOut(t *testing.T) {
	stub := write(t, "stub", "# systemd\nnameserver 127.0.0.53\noptions edns0\n", 0o644)
	mixed := write(t, "mixed", "search a.example\nnameserver ::1\nnameserver fe80::1%eth0\n"+
		"nameserver 192.0.2.53\nnameserver\nnameserver nonsense\nnameserver ::ffff:192.0.2.54\n", 0o644)
	want := []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")}

	got, notes := machineResolvers([]string{stub, mixed})
	if !slices.Equal(got, want) {
		t.Errorf("resolvers are %v, want %v", got, want)
	}
	if len(notes) != 3 || !strings.Contains(notes[0], "127.0.0.53") {
		t.Errorf("notes are %q, want one for each that was left out", notes)
	}

	got, notes = machineResolvers([]string{stub, filepath.Join(t.TempDir(), "missing")})
	if len(got) != 0 || !strings.Contains(notes[len(notes)-1], "network.dns") {
		t.Errorf("resolvers are %v, notes %q; want none and the remedy", got, notes)
	}
}

func TestTheMachineKeepsAReserveOfItsMemory(t *testing.T) {
	meminfo := write(t, "meminfo", "MemTotal:       16777216 kB\nMemFree:        1 kB\n", 0o644)
	if got, err := machineMemory(meminfo); err != nil || got != 16384-512-819 {
		t.Errorf("got %d MiB, %v; want %d", got, err, 16384-512-819)
	}
	for _, small := range []string{"MemTotal: 500000 kB\n", "nothing\n"} {
		_, err := machineMemory(write(t, "small", small, 0o644))
		if err == nil || !strings.Contains(err.Error(), "resources") {
			t.Errorf("%q: error is %v, want one that names the remedy", small, err)
		}
	}
}

// A node whose file says nothing of the machine still knows all that it needs.
func TestResolvingLeavesNothingOpen(t *testing.T) {
	c := DefaultConfig()
	c.Node.State = t.TempDir()
	c.Node.Init = write(t, "deacon-init", "", 0o755)
	got, _, err := c.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if !got.Node.Address.Is4() || got.Resources.MemoryMiB < memoryMin>>20 || got.Resources.DiskMiB <= 0 {
		t.Errorf("address %s, memory %d MiB, disk %d MiB", got.Node.Address, got.Resources.MemoryMiB, got.Resources.DiskMiB)
	}
}

func TestWhatWasConfiguredIsNotLookedUp(t *testing.T) {
	c := DefaultConfig()
	c.Node.State = t.TempDir()
	c.Node.Init = write(t, "deacon-init", "", 0o755)
	c.Node.Address = netip.MustParseAddr("192.0.2.7")
	c.Network.DNS = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	c.Resources.MemoryMiB, c.Disk.PoolBytes = 123, 456<<20
	got, notes, err := c.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != c.Node || !slices.Equal(got.Network.DNS, c.Network.DNS) || got.Resources.MemoryMiB != 123 ||
		got.Resources.DiskMiB != 456 || len(notes) != 0 {
		t.Errorf("got %+v, notes %q", got, notes)
	}
}

func TestWhatANodeCannotStartWithoutIsNamed(t *testing.T) {
	program := write(t, "deacon-init", "", 0o755)
	for want, change := range map[string]func(*Config){
		"deacon-init, the program": func(c *Config) { c.Node.Init = filepath.Join(t.TempDir(), "deacon-init") },
		"node.init":                func(c *Config) { c.Node.Init = write(t, "text", "", 0o644) },
		"stack gone: there is no folder /nowhere on this machine; bring": func(c *Config) {
			c.Stacks = append(c.Stacks, Stack{Name: "gone", Path: "/nowhere"})
		},
		"is no folder": func(c *Config) { c.Stacks = append(c.Stacks, Stack{Name: "file", Path: program}) },
	} {
		c := DefaultConfig()
		c.Node.State, c.Node.Init = t.TempDir(), program
		change(&c)
		if _, _, err := c.Resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}
