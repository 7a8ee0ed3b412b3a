package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	mutationsFlag = flag.Bool("sim.mutations", false, "see whether deliberate bugs are found")
	huntFlag      = flag.Uint64("sim.hunt", 0, "play at most this many seeds, at all rates in turn, and end at the first that fails")
)

// mutation is a deliberate bug: one place of the tree, and what is there instead.
type mutation struct {
	name     string
	file     string // below the module's top
	from, to string
}

// mustFind is how many of the mutations, the first, have to be found. The others are
// bugs that the simulation once found: some need two faults within one moment, or
// are guarded against twice by now, and are in the table only.
const mustFind = 6

var mutations = []mutation{
	{"lease not returned", "actors/ledger_book.go", "	b.slots.Free(e.placement.Slot)\n", ""},
	{"restart after stop", "actors/instance_lifecycle.go",
		"inUnfit: {accept, instanceStopped}, inActive: {verdict: ignore}, inHealthy: {verdict: ignore},",
		"inUnfit: {accept, instanceStopped}, inActive: {verdict: ignore}, inHealthy: {accept, instanceRunning},"},
	{"step not reverted", "actors/container.go", "		k.retryLater(c)\n		return\n", ""},
	{"late exit report", "actors/instance_lifecycle.go",
		"inUnhealthy: {verdict: ignore}, inOOM: {verdict: ignore}, inExited: {verdict: ignore},\n		inLost: {accept, instanceStopped}",
		"inUnhealthy: {verdict: ignore}, inOOM: {verdict: ignore}, inExited: {accept, instanceCrashed},\n		inLost: {accept, instanceStopped}"},
	{"double start", "actors/instance.go", "	i.record, i.state = record, state\n",
		"	i.record, i.state = record, state\n	if c.Incarnation() > 1 && state == instanceStarting {\n" +
			"		i.record.Placement.Container = i.w.NewContainerID()\n	}\n"},
	{"forgotten port", "actors/ledger_book.go", "	for _, port := range e.ports {\n		b.ports.Free(uint32(port))\n	}\n", ""},
	{"memory returned twice", "actors/ledger_book.go", "		e.memory = 0\n", ""},
	{"late order makes a container", "actors/containers.go", "if o.goal != goalRemove && s.w.gone.has(o.id) {", "if false {"},
	{"stale audit takes a promise", "actors/ledger.go", "return number <= a.asOf && !a.known[id]", "return !a.known[id]"},
	{"owner that is gone is waited for", "actors/container.go", "if k.asked == m.asked && k.state", "if false && k.state"},
	{"answer to another's order", "actors/instance.go", "i.held = !i.placedWith.IsZero()", "i.held = true"},
	{"stopped instance waits for a fallen actor", "actors/instance.go", "		i.over = i.done", "		_ = i.done"},
	{"former incarnation's result counts", "actors/kit/cell.go", "to != 0 && to != in.number", "false && to != in.number"},
	{"stopped actor is revived", "actors/kit/mailbox.go", "			if !m.stopping {", "			if true {"},
	{"job of another's", "actors/handle_serve.go", "if m.job != 0 && m.job <= h.former {", "if false {"},
	{"last words unread", "actors/container.go", "if k.mute && !k.followed && !k.order.bare {", "if false {"},
	{"crash is not told again", "actors/instance.go", "		i.record.Untold = true\n", ""},
}

// TestHunt is what a mutated tree is run with.
func TestHunt(t *testing.T) {
	for n := range *huntFlag {
		rate := rates()[n%uint64(len(rates()))]
		if r := play(newPlan(1+n, rate), noTrace); r.wrong != "" {
			t.Fatalf("found after %d seeds: seed %d rate %g: %s", n+1, 1+n, rate, r.wrong)
		}
	}
}

// huntMax is how many seeds a deliberate bug may live through.
const huntMax = 3000

func TestDeliberateBugsAreFound(t *testing.T) {
	if !*mutationsFlag {
		return // make mutations
	}
	var table strings.Builder
	for i, m := range mutations {
		begun := time.Now()
		found := hunt(t, m)
		fmt.Fprintf(&table, "%-45s %s (%s)\n", m.name, found, time.Since(begun).Round(time.Second))
		if i < mustFind && !strings.HasPrefix(found, "found") {
			t.Errorf("%s: %s", m.name, found)
		}
	}
	t.Logf("\n%s", table.String())
}

// hunt runs the simulation on the tree with one bug in it.
func hunt(t *testing.T, m mutation) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(top, m.file)
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(body), m.from); n != 1 {
		return fmt.Sprintf("%s has %q %d times, want once: the list of mutations is out of date", m.file, m.from, n)
	}
	mutant := filepath.Join(t.TempDir(), "mutant.go")
	write(t, mutant, []byte(strings.Replace(string(body), m.from, m.to, 1)))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	list := mutant + ".json"
	write(t, list, overlay)
	out, err := exec.Command("go", "test", "-overlay", list, "-count", "1", "-timeout", "10m", "-run", "TestHunt", "-v", ".",
		"-sim.hunt", fmt.Sprint(huntMax)).CombinedOutput()
	if at := strings.Index(string(out), "found after"); at >= 0 {
		line, _, _ := strings.Cut(string(out)[at:], "\n")
		return line
	}
	if err != nil {
		return fmt.Sprintf("not found: %v\n%s", err, out)
	}
	return fmt.Sprintf("not found in %d seeds", huntMax)
}

func write(t *testing.T, name string, body []byte) {
	t.Helper()
	if err := os.WriteFile(name, body, 0o600); err != nil {
		t.Fatal(err)
	}
}
