package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/record"
	"github.com/deacon-agent/deacon/staging/stack"
)

func TestAStackWithoutAPathIsTheOneThatWasMade(t *testing.T) {
	c := mustParse(t, "stack \"apps\" {}\nstack \"host\" {}\nnode {\n  state = \"/srv/node\"\n}\n")
	want := []Stack{{Name: "apps", Path: "/srv/node/stacks/apps/tree"}, {Name: HostStack}}
	if !slices.Equal(c.Stacks, want) {
		t.Errorf("the stacks are %v, want %v", c.Stacks, want)
	}
	if !c.NamesStack("apps") || c.NamesStack("other") || c.NamesStack(HostStack) {
		t.Error("a configuration names what its blocks do, and nothing else")
	}
}

func TestAMissingStackIsNamedWithTheCommandThatMakesIt(t *testing.T) {
	c := DefaultConfig()
	c.Node.State, c.Node.Init = t.TempDir(), write(t, "deacon-init", "", 0o755)
	c.Stacks = append(c.Stacks, Stack{Name: "hots", Path: c.madeAt("hots")})
	_, _, err := c.Resolve()
	for _, want := range []string{"deacon rootfs build hots", c.madeAt("hots"), `Did you mean "host"?`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
}

// made makes a stack's folder as if a command had.
func made(t *testing.T, c Config, name string) {
	t.Helper()
	if err := os.MkdirAll(c.madeAt(name), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestWhoUsesAStackIsNamed(t *testing.T) {
	real := t.TempDir()
	linked := filepath.Join(t.TempDir(), "state")
	if err := os.Symlink(real, linked); err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Node.State = linked
	made(t, c, "apps")
	made(t, c, "idle")
	intend := func(spec isolation.Spec) {
		t.Helper()
		folder := filepath.Join(linked, "containers", spec.ID)
		err := os.MkdirAll(folder, 0o711)
		if err == nil {
			err = record.Save(folder, "spec", spec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	droplet := "/droplets/d/layer"
	intend(isolation.Spec{ID: "aaaaaaaaaaa", Owner: isolation.OwnerInstance, Tenant: "one",
		Rootfs: isolation.Rootfs{Layers: []string{droplet, c.madeAt("apps")}}})
	intend(isolation.Spec{ID: "bbbbbbbbbbb", Owner: isolation.OwnerWarden, // by the path without the link
		Rootfs: isolation.Rootfs{Layers: []string{filepath.Join(real, "stacks/apps/tree")}}})
	intend(isolation.Spec{ID: "ccccccccccc", Owner: isolation.OwnerWarden,
		Rootfs: isolation.Rootfs{Layers: []string{"/usr"}, Binds: []isolation.Bind{{Source: c.madeAt("apps") + "/etc"}}}})
	intend(isolation.Spec{ID: "ddddddddddd", Rootfs: isolation.Rootfs{Layers: []string{droplet}}})
	store := c.StackStore("config.hcl")
	err := store.Remove("apps")
	used, is := errors.AsType[*stack.UsedError](err)
	if !is {
		t.Fatalf("the error is %v", err)
	}
	want := []string{"container aaaaaaaaaaa of the instance one", "container bbbbbbbbbbb of the owner warden",
		"container ccccccccccc of the owner warden"}
	if !slices.Equal(used.Users, want) {
		t.Errorf("the users are %q, want %q", used.Users, want)
	}
	named := c
	named.Warden = &Warden{Rootfs: Stack{Path: filepath.Join(real, "stacks/idle/tree")}}
	if err := named.StackStore("config.hcl").Remove("idle"); err == nil || !strings.Contains(err.Error(), "config.hcl names it") {
		t.Errorf("the error is %v", err)
	}
	// Whose record nobody can read may use any.
	if err := os.WriteFile(filepath.Join(real, "containers/ddddddddddd/spec"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove("idle"); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("the error is %v", err)
	}
	if err := os.RemoveAll(filepath.Join(real, "containers/ddddddddddd")); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove("idle"); err != nil {
		t.Error(err)
	}
}

func TestAnAgentHoldsTheStacksThatItOffers(t *testing.T) {
	c := DefaultConfig()
	c.Node.State = t.TempDir()
	made(t, c, "apps")
	named := c
	named.Stacks = []Stack{{Name: "apps", Path: c.madeAt("apps")}, {Name: HostStack}, {Name: "own", Path: t.TempDir()}}
	a := &agent{config: named, state: &state{path: t.TempDir()}} // as deacon dev with that file has another
	if err := a.holdStacks(); err != nil {
		t.Fatal(err)
	}
	// The file may name it no longer, and the agent goes on offering it.
	store := c.StackStore("config.hcl")
	if err := store.Remove("apps"); err == nil || !strings.Contains(err.Error(), "the agent that runs") {
		t.Errorf("the error is %v", err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove("apps"); err != nil {
		t.Error(err)
	}
	if err := a.holdStacks(); err == nil {
		t.Error("a stack that is gone was held")
	}
}
