package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation/slot"
)

func TestWithoutItsBlockNobodyIsServedAsWarden(t *testing.T) {
	if c := mustParse(t, ""); c.Warden != nil {
		t.Errorf("an empty file opens a door: %+v", c.Warden)
	}
}

func TestTheRootFileSystemOfClientsIsAStackOrAFolder(t *testing.T) {
	stacks := "stack \"a\" {\n  path = \"/a\"\n}\nstack \"host\" {}\n"
	for block, want := range map[string]Stack{
		"warden {}":                         {Name: "a", Path: "/a"},
		"warden {\n  rootfs = \"host\"\n}":  {Name: "host"},
		"warden {\n  rootfs = \"a\"\n}":     {Name: "a", Path: "/a"},
		"warden {\n  rootfs = \"/x/../y\"}": {Path: "/y"},
	} {
		if got := mustParse(t, stacks+strings.Replace(block, "\"}", "\"\n}", 1)).Warden.Rootfs; got != want {
			t.Errorf("%s: the root file system is %+v, want %+v", block, got, want)
		}
	}
}

func TestGraceIsADurationOrNever(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "1h30m": 90 * time.Minute, "1193046h": 1193046 * time.Hour} {
		got := mustParse(t, "warden {\n  grace_time = \""+text+"\"\n}").Warden.Grace
		if got == nil || *got != want {
			t.Errorf("%s: the grace time is %v, want %s", text, got, want)
		}
	}
	if got := mustParse(t, "warden {\n  grace_time = \"never\"\n}").Warden.Grace; got != nil {
		t.Errorf("never: the grace time is %s", *got)
	}
}

// One configuration's grace time is not another's.
func TestEveryDefaultIsACopy(t *testing.T) {
	first := DefaultWarden()
	*first.Grace = 0
	if second := DefaultWarden(); *second.Grace == 0 {
		t.Error("a changed default is everybody's")
	}
}

func wardenOn(t *testing.T, change func(*Warden)) Config {
	t.Helper()
	c := DefaultConfig()
	c.Node.State = t.TempDir()
	c.Node.Init = write(t, "deacon-init", "", 0o755)
	c.Node.Address = netip.MustParseAddr("192.0.2.7")
	w := DefaultWarden()
	w.Rootfs = c.Stacks[0]
	change(&w)
	c.Warden = &w
	return c
}

func TestTheSocketsGroupIsANameOrANumber(t *testing.T) {
	for _, group := range []string{"", "root", "4242"} {
		if _, _, err := wardenOn(t, func(w *Warden) { w.Group = group }).Resolve(); err != nil {
			t.Errorf("%q: %v", group, err)
		}
	}
}

func TestWhatWardenCannotBeServedWithoutIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Warden){
		"warden.rootfs: there is no folder /nowhere on this machine; bring a root file system there, or have " +
			`the machine's own /usr: rootfs = "host"`: func(w *Warden) { w.Rootfs = Stack{Path: "/nowhere"} },
		"is no folder": func(w *Warden) { w.Rootfs = Stack{Path: file} },
		"warden.group": func(w *Warden) { w.Group = "no-such-group-here" },
	} {
		if _, _, err := wardenOn(t, change).Resolve(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want one with %q", err, want)
		}
	}
}

// The pool that an imported configuration has must be one that slots can be cut from.
func TestASmallPoolIsAPlan(t *testing.T) {
	c := mustParse(t, "network {\n  pool = \"10.254.0.0/24\"\n}")
	plan := slot.Plan{Tag: slot.TagOf("n"), Pool: c.Network.Pool, UIDBase: c.Node.UIDBase}
	if err := plan.Check(); err != nil || plan.Max() != 64 {
		t.Errorf("%d slots, %v; want 64", plan.Max(), err)
	}
}
