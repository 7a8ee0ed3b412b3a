package box

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
)

// seed makes every random choice of these tests; one that failed is repeated
// with the seed that it printed.
var seed = flag.Uint64("seed", 1, "what random choices follow from")

// victimEnv has the orders of a test process that plays the agent.
const victimEnv = "DEACON_BOX_VICTIM"

type orders struct {
	Config Config
	Specs  []isolation.Spec
	Keep   []bool // not destroyed, by spec
}

// victim is an agent that makes and destroys containers until it is killed.
func victim(encoded string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	var o orders
	fail(json.Unmarshal([]byte(encoded), &o))
	b, err := Open(o.Config)
	fail(err)
	ctx := context.Background()
	_, err = b.Recover(ctx)
	fail(err)
	fmt.Println("ready")
	for i, spec := range o.Specs {
		_, err := b.Create(ctx, spec, shell(1, "sleep 300"))
		fail(err)
		if !o.Keep[i] {
			fail(b.Destroy(ctx, spec.ID))
			fail(b.Release(ctx, []string{spec.ID}))
		}
	}
	fmt.Println("done")
	select {}
}

func TestAnAgentMayBeKilledAtAnyMoment(t *testing.T) {
	const kills, containers = 30, 12
	m := newMachine(t)
	draw := rand.New(rand.NewPCG(*seed, 3))
	moment := 5 * m.aLife()
	half, whole, dead := 0, 0, 0
	for round := range kills {
		o := orders{Config: m.config}
		for i := range containers {
			spec := m.spec(uint32(i), uint16(61001+i))
			spec.Epoch = uint32(round + 1)
			o.Specs = append(o.Specs, spec)
			o.Keep = append(o.Keep, draw.IntN(2) == 0)
		}
		m.killAfter(o, time.Duration(draw.Int64N(int64(moment))))

		b, specs := m.openInTheEnd()
		for _, spec := range specs {
			switch status, err := b.Adopt(t.Context(), spec.ID); {
			case err == nil && len(status.Jobs) == 1:
				whole++
			case err == nil:
				t.Errorf("seed %d, round %d: adopted without its job: %+v", *seed, round, status)
			case errors.Is(err, isolation.ErrGone):
				half++
			default:
				t.Errorf("seed %d, round %d: %v", *seed, round, err)
			}
			if err := errors.Join(b.Destroy(t.Context(), spec.ID), b.Release(t.Context(), []string{spec.ID})); err != nil {
				t.Errorf("seed %d, round %d: %v", *seed, round, err)
			}
		}
		m.nothing(b)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
		dead++
	}
	t.Logf("after %d kills: %d containers ran on, %d were half made or half gone", dead, whole, half)
	if whole == 0 || half == 0 {
		t.Error("no kill hit the middle of anything: the test shows nothing")
	}
	b, _ := m.open()
	m.end(b)
}

// aLife is how long a container's creation and end take here: an emulated
// machine needs thirty times as long.
func (m *machine) aLife() time.Duration {
	m.t.Helper()
	b, _ := m.open()
	defer m.end(b)
	var begun time.Time
	for i := range uint32(2) { // the first one pays for the launcher
		begun = time.Now()
		spec := m.spec(30 + i)
		_, err := b.Create(m.t.Context(), spec, shell(1, "sleep 300"))
		if err := errors.Join(err, b.Destroy(m.t.Context(), spec.ID), b.Release(m.t.Context(), []string{spec.ID})); err != nil {
			m.t.Fatal(err)
		}
	}
	return time.Since(begun)
}

// openInTheEnd is an agent's start as a node has it: one whose recovery fails
// ends, and the next one begins with what it left.
func (m *machine) openInTheEnd() (*Box, []isolation.Spec) {
	m.t.Helper()
	const tries = 3
	for n := range tries {
		b, err := Open(m.config)
		if err != nil {
			m.t.Fatal(err)
		}
		specs, err := b.Recover(m.t.Context())
		if err == nil {
			return b, specs
		}
		m.t.Logf("recovery %d of %d: %v", n+1, tries, err)
		if err := b.Close(); err != nil {
			m.t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	m.t.Fatalf("recovery failed %d times", tries)
	return nil, nil
}

// killAfter runs an agent and kills it some time after it was ready.
func (m *machine) killAfter(o orders, pause time.Duration) {
	m.t.Helper()
	encoded, err := json.Marshal(o)
	if err != nil {
		m.t.Fatal(err)
	}
	agent := exec.Command("/proc/self/exe")
	agent.Env = append(os.Environ(), victimEnv+"="+string(encoded))
	out, err := agent.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	agent.Stderr = os.Stderr
	if err := agent.Start(); err != nil {
		m.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		m.t.Fatalf("the agent says %q", lines.Text())
	}
	time.Sleep(pause)
	agent.Process.Kill()
	for lines.Scan() {
		if lines.Text() != "done" {
			m.t.Errorf("the agent says %q", lines.Text())
		}
	}
	agent.Wait()
}
