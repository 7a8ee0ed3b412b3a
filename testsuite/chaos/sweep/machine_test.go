package sweep

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/box"
	"github.com/deacon-agent/deacon/isolation/disk"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// patience is how long anything may take on a busy machine; what takes longer
// has hung, which is a failure.
const patience = 20 * time.Second

// deathMax is how long a killed process may take to end. Where it has the last mount
// of a pool it waits for btrfs's cleaner, which can miss that it is told to rest, and
// then hears of it at the next commit, after 30 s (seen: one of some 10,000 kills).
const deathMax = 60 * time.Second

// TestMain plays the part that the environment says.
func TestMain(m *testing.M) {
	if os.Getenv(TracerEnv) != "" {
		exitWith(PlayTracer(os.Stdin, os.Stdout))
	}
	if argv := os.Getenv(waitingEnv); argv != "" {
		exitWith(become(argv))
	}
	if config := os.Getenv(nodeEnv); config != "" {
		exitWith(playNode(config))
	}
	rig.Main(m)
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// part is a process of this binary that plays something and is spoken to in
// lines of JSON.
type part struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *os.File
	lines   *bufio.Reader
	mu      sync.Mutex
	said    strings.Builder // on its standard error
}

func (p *part) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func startPart(t testing.TB, variables ...string) *part {
	t.Helper()
	p := &part{process: exec.Command("/proc/self/exe")}
	p.process.Env = append(os.Environ(), variables...)
	p.process.Stderr = p
	out, end, err := os.Pipe()
	if err == nil {
		p.process.Stdout = end
		p.in, err = p.process.StdinPipe()
	}
	if err == nil {
		err = p.process.Start()
	}
	if err != nil {
		t.Fatal("sweep: start a part:", err)
	}
	end.Close()
	p.out, p.lines = out, bufio.NewReaderSize(out, 64<<10)
	return p
}

func (p *part) pid() int { return p.process.Process.Pid }

func (p *part) send(message any) error {
	line, err := json.Marshal(message)
	if err == nil {
		_, err = p.in.Write(append(line, '\n'))
	}
	return err
}

// receive reads one line; io.EOF says that the part has ended.
func (p *part) receive(message any) error {
	p.out.SetReadDeadline(time.Now().Add(deathMax))
	line, err := p.lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, message)
}

// end buries a part that was killed, or is now.
func (p *part) end() {
	p.process.Process.Kill()
	p.in.Close()
	p.process.Wait()
	p.out.Close()
}

// machine is a state folder, the nodes that live on it one after the other, and
// what a node has that has nothing to do.
type machine struct {
	t        testing.TB
	config   box.Config
	stack    string
	ports    uint16
	traces   rig.Traces
	tracer   *tracerPart
	node     *part // nil: it was killed
	idle     []string
	restarts int // recoveries that had to be begun again
}

// newMachine makes the place'th of several that are swept side by side; their
// nodes share a machine, as two agents may.
func newMachine(t testing.TB, place uint32) *machine {
	t.Helper()
	state, err := os.MkdirTemp("", "deacon-sweep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	stack, err := rootfs.HostStack(filepath.Join(state, "stacks"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(state, "cargo"), 0o755); err != nil {
		t.Fatal(err)
	}
	pool := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(254 - place), 0, 0}), 16)
	plan := slot.Plan{Tag: slot.TagOf(state), Pool: pool, UIDBase: 1_000_000 * (1 + 2*place)}
	m := &machine{t: t, traces: rig.Traces{Tag: plan.Tag, State: state}, stack: stack,
		ports: uint16(50000 + 2*portsEach*place), config: box.Config{
			State: state, Init: rig.Binary(t, "deacon-init"), Plan: plan,
			Network: network.Config{Egress: network.Allow, Loopback: true,
				Denied: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}},
			Disk: disk.Config{PoolBytes: 512 << 20}, OutputMax: 1 << 20,
		}}
	t.Cleanup(func() {
		for _, left := range m.traces.Leftovers() {
			t.Error("left behind:", left)
		}
	})
	m.tracer = startTracer(t)
	m.begin()
	m.mustDo(request{Do: "open"})
	m.idle = m.inventory()
	t.Cleanup(m.finish)
	return m
}

// begin starts a node that has done nothing yet.
func (m *machine) begin() {
	m.t.Helper()
	encoded, err := json.Marshal(node{Config: m.config, Stack: m.stack, Ports: m.ports})
	if err != nil {
		m.t.Fatal(err)
	}
	m.node = startPart(m.t, nodeEnv+"="+string(encoded))
}

// do has the node do something and collects the facts until it has.
func (m *machine) do(r request) (facts []fact, last reply, err error) {
	if err := m.node.send(r); errors.Is(err, unix.EPIPE) {
		return nil, last, io.EOF // it died before it was asked for anything
	} else if err != nil {
		return nil, last, err
	}
	for {
		var answer reply
		if err := m.node.receive(&answer); err != nil {
			return facts, last, err
		}
		if answer.Done {
			if answer.Error != "" {
				err = errors.New(answer.Error)
			}
			return facts, answer, err
		}
		facts = append(facts, *answer.Fact)
	}
}

func (m *machine) mustDo(r request) ([]fact, reply) {
	m.t.Helper()
	facts, last, err := m.do(r)
	if err != nil {
		m.t.Fatalf("sweep: %s %s: %v\n%s", r.Do, r.Op, err, m.node.said.String())
	}
	return facts, last
}

// recoveriesMax is how often a node starts until one of its recoveries is whole:
// one that fails ends, and the next begins with what it left.
const recoveriesMax = 3

// recover starts a node on what the last one left.
func (m *machine) recover() error {
	var failed error
	for try := range recoveriesMax {
		m.begin()
		_, _, err := m.do(request{Do: "open"})
		if err == nil {
			m.restarts += try
			return nil
		}
		failed = errors.Join(failed, err)
		m.node.end()
	}
	m.node = nil
	return failed
}

func (m *machine) finish() {
	if m.node == nil {
		if err := m.recover(); err != nil {
			m.t.Error("sweep: the last recovery:", err)
			return
		}
	}
	if _, _, err := m.do(request{Do: "clear"}); err != nil {
		m.t.Errorf("sweep: clear: %v", err)
	}
	if left := m.traces.QuotaGroups(m.node.pid()); len(left) > 0 {
		m.t.Errorf("sweep: %d quota groups are left: %q", len(left), left)
	}
	if _, _, err := m.do(request{Do: "end"}); err != nil {
		m.t.Errorf("sweep: end: %v", err)
	}
	m.node.end()
}
