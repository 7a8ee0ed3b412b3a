package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// The demo checks each of its steps itself; here it is only held to its word,
// in a network that nothing can leave.
func TestTheDemoShowsAllOfItAndLeavesNothing(t *testing.T) {
	bin := t.TempDir()
	for _, program := range []string{"./cmd/deacon", "./cmd/deacon-init", "./testsuite/leftovers"} {
		if err := rig.Build(bin, program); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go", "python"} {
		pack := exec.CommandContext(t.Context(), "make", "-C", filepath.Join(rig.Root(), "examples"), name,
			"DEACON="+filepath.Join(bin, "deacon"), "DROPLETS="+filepath.Join(bin, "droplets"))
		if out, err := pack.CombinedOutput(); err != nil {
			t.Fatalf("pack %s: %v\n%s", name, err, out)
		}
	}
	if err := (&demo{bin: bin, once: true}).run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
