package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation"
)

// replacements is how often rules are replaced under load, probesMax how many
// packets may be sent meanwhile.
const replacements, probesMax = 50, 20_000

// While rules are replaced there is no moment in which what all of them allow is
// refused, nor one in which what none allows passes. Each probe begins something new.
func TestRulesAreReplacedInOneMoment(t *testing.T) {
	filler := func(n int) (all []isolation.EgressRule) {
		for i := range n {
			all = append(all, rangeOf("udp", "192.0.2.1", "192.0.2.1", span(uint16(i+1), uint16(i+1))))
		}
		return all
	}
	always := rangeOf("all", internet, internet)
	for name, c := range map[string]struct {
		sets    [][]isolation.EgressRule
		allowed string
	}{
		"a rule among others": {[][]isolation.EgressRule{
			append(filler(100), always), rules(always), append(rules(logged(always)), filler(30)...),
			append(filler(5), rangeOf("all", metadata, metadata), rangeOf("tcp", "10.254.0.6", "10.254.0.6"), always),
		}, internet},
		"rules and none": {[][]isolation.EgressRule{nil, append(filler(50), always), nil, rules(logged(always))}, neighbour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.open(Config{Plan: testPlan("oneat"), Egress: Reject, Allowed: prefixes(neighbour + "/32")})
			a := mappedTo(0, 61001)
			a.Spec.Egress = c.sets[0]
			ns := w.attach(n, a)
			// A new link may lose its first packets, also where nothing is replaced.
			w.check([]attempt{{ns, "udp", c.allowed + ":9000", "outside"}, {ns, "udp", third + ":9000", forbidden}})
			f := &flood{ns: ns, done: make(chan struct{})}
			var senders sync.WaitGroup
			for range 2 {
				senders.Go(func() { f.probe(t, "udp", c.allowed+":9000", true) })
				senders.Go(func() { f.probe(t, "udp", third+":9000", false) })
			}
			senders.Go(func() { f.probe(t, "tcp", c.allowed+":80", true) })
			senders.Go(func() { f.probe(t, "tcp", third+":80", false) })
			for i := range replacements {
				f.awaitMore(t)
				a.Spec.Egress = c.sets[(i+1)%len(c.sets)]
				must(t, n.Restrict(a))
			}
			close(f.done)
			senders.Wait()
			t.Logf("%d probes during %d replacements", f.sent.Load(), replacements)
		})
	}
}

// flood sends until it is done.
type flood struct {
	ns   *namespace
	sent atomic.Int64
	done chan struct{}
}

// awaitMore returns once it has sent some more.
func (f *flood) awaitMore(t *testing.T) {
	t.Helper()
	for from, begun := f.sent.Load(), time.Now(); f.sent.Load() < from+20; time.Sleep(50 * time.Microsecond) {
		if time.Since(begun) > whileAnOkIsDue {
			t.Fatal("nothing is sent any more")
		}
	}
}

func (f *flood) probe(t *testing.T, protocol, address string, want bool) {
	// What is refused is told at once, but no more often than the kernel likes to.
	wait := whileAnOkIsDue
	if !want {
		wait = 5 * time.Millisecond
	}
	err := f.ns.enter(func() error {
		for f.sent.Add(1) <= probesMax {
			select {
			case <-f.done:
				return nil
			default:
			}
			answer, err := exchange(protocol, address, wait)
			if passed := err == nil && strings.HasPrefix(answer, "outside"); passed != want {
				return fmt.Errorf("%s to %s while rules are replaced: %q, %w, want passed %v", protocol, address, answer, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// What was allowed when it began goes on; what begins anew is refused.
func TestAConnectionOutlivesItsRule(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("outli"), Egress: Reject})
	a := mappedTo(0, 61001)
	a.Spec.Egress = rules(rangeOf("tcp", internet, internet))
	ns := w.attach(n, a)
	var listener net.Listener
	must(t, w.outside.enter(func() (err error) { listener, err = net.Listen("tcp", internet+":7000"); return err }))
	defer listener.Close()
	var client net.Conn
	must(t, ns.enter(func() (err error) { client, err = net.Dial("tcp", internet+":7000"); return err }))
	defer client.Close()
	server, err := listener.Accept()
	must(t, err)
	defer server.Close()

	a.Spec.Egress = nil
	must(t, n.Restrict(a))

	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		fmt.Fprint(way[0], "still here")
		way[1].SetDeadline(time.Now().Add(whileAnOkIsDue))
		buffer := make([]byte, 64)
		if count, err := way[1].Read(buffer); err != nil || string(buffer[:count]) != "still here" {
			t.Errorf("read %q, %v", buffer[:count], err)
		}
	}
	w.check([]attempt{{ns, "tcp", internet + ":80", reset_}})
}

// Whatever rules a container has had, nothing of them is left of it.
func TestReplacedRulesLeaveNothing(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("nolef"), Egress: Reject})
	a := mappedTo(0, 61001)
	ns := newNamespace(t)
	must(t, n.Attach(t.Context(), a, ns.file))
	every := rules(rangeOf("all", internet, internet), rangeOf("all", metadata, metadata),
		logged(rangeOf("all", "10.254.0.6", "10.254.0.6")))
	chains := func() (own []string) {
		for _, name := range w.chains(n.table) {
			if strings.HasSuffix(name, n.config.Plan.Link(a.Slot)) {
				own = append(own, name)
			}
		}
		return own
	}
	for _, set := range [][]isolation.EgressRule{every, nil, every, every[:1], every[1:], every} {
		a.Spec.Egress = set
		must(t, n.Restrict(a))
		must(t, n.Restrict(a)) // again is the same
		if got, want := len(chains()), len(n.table.chainsOf(a)); got != want {
			t.Errorf("%d rules have the chains %q, want %d", len(set), chains(), want)
		}
		if harm, err := n.Lacking([]Attachment{a}); err != nil || len(harm) > 0 {
			t.Errorf("they lack %v, %v", harm, err)
		}
	}
	must(t, n.Refuse(a))
	ns.end()
	a.Spec.Egress = nil // and whatever is on record
	must(t, n.Release(t.Context(), []Attachment{a}))
	if left := chains(); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
	for _, set := range []*nftables.Set{n.table.egress, n.table.nearby, n.table.local} {
		if left := w.elements(set); len(left) > 0 {
			t.Errorf("set %s has %d elements", set.Name, len(left))
		}
	}
}

// A wrong rule changes nothing, and is said by its number.
func TestAWrongReplacementChangesNothing(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("wrong"), Egress: Reject})
	a := mappedTo(0, 61001)
	a.Spec.Egress = rules(rangeOf("tcp", internet, internet))
	ns := w.attach(n, a)
	wrong := a
	wrong.Spec.Egress = rules(rangeOf("udp", third, third), rangeOf("udp", third, internet))
	if err := n.Restrict(wrong); err == nil || !strings.Contains(err.Error(), "egress rule 2") {
		t.Errorf("error is %v", err)
	}
	w.check([]attempt{{ns, "tcp", internet + ":80", "outside"}, {ns, "udp", third + ":9000", forbidden}})
	must(t, n.Remove())
	if err := n.Restrict(a); !errors.Is(err, ErrTable) {
		t.Errorf("without a table the error is %v, want ErrTable", err)
	}
}

// Somebody takes rules out of a container's chain: it is noticed, and mended.
func TestRulesThatWereTakenComeBack(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("taken"), Egress: Reject})
	a := mappedTo(0, 61001)
	a.Spec.Egress = rules(rangeOf("tcp", internet, internet, span(80, 80), span(81, 81)), logged(rangeOf("udp", third, third)))
	ns := w.attach(n, a)
	must(t, n.Restore([]Attachment{a}))
	for _, name := range []string{n.table.outlets(a)[0].name, n.table.logging(a)} {
		conn, err := nftables.New()
		must(t, err)
		conn.FlushChain(n.table.chainOf(name))
		must(t, conn.Flush())
		harm, err := n.TableHarm([]Attachment{a})
		if err != nil || len(harm[a.Slot]) != 1 || !strings.Contains(harm[a.Slot][0], "its egress rules in "+name) {
			t.Errorf("%s was emptied: %v, %v", name, harm, err)
		}
		must(t, n.change(n.table.admit(a)))
		if harm, err := n.TableHarm([]Attachment{a}); err != nil || len(harm) > 0 {
			t.Errorf("mended, it lacks %v, %v", harm, err)
		}
		w.check([]attempt{{ns, "tcp", internet + ":81", "outside"}, {ns, "udp", third + ":9000", "outside"}})
	}
}

// kernelLog is what the kernel's log gets from now on. The kernel keeps what is
// logged in other network namespaces than its first to itself unless it is told
// otherwise, and the test is in such a one.
type kernelLog struct {
	file  *os.File
	lines *bufio.Reader
}

func newKernelLog(t *testing.T) kernelLog {
	t.Helper()
	// Whoever made this namespace is still in the one that it came from (TestMain).
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	must(t, err)
	first := &namespace{t: t, file: file}
	t.Cleanup(func() { file.Close() })
	const setting = "/proc/sys/net/netfilter/nf_log_all_netns"
	var was []byte
	err = first.enter(func() (err error) { was, err = os.ReadFile(setting); return err })
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("SKIPPED: needs the machine's first network namespace, where the kernel's log is switched on for others")
	}
	must(t, err)
	set := func(value []byte) error { return first.enter(func() error { return os.WriteFile(setting, value, 0) }) }
	must(t, set([]byte("1")))
	t.Cleanup(func() { must(t, set(was)) })
	log, err := os.OpenFile("/dev/kmsg", os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { log.Close() })
	_, err = log.Seek(0, io.SeekEnd)
	must(t, err)
	return kernelLog{log, bufio.NewReaderSize(log, 1<<14)}
}

// with are the lines so far that have a text.
func (k kernelLog) with(text string) (lines []string) {
	k.file.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := k.lines.ReadString('\n')
		if err != nil {
			return lines
		}
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
}

// A connection by a rule that is logged is a line of the kernel's log, with the
// container's name. A flood of them is allowed, and the log is spared.
func TestTheLogNamesWhoConnectsAndIsSparedAFlood(t *testing.T) {
	w := newWorld(t)
	n := w.open(Config{Plan: testPlan("loggd"), Egress: Reject})
	a, other := mappedTo(0, 61001), mappedTo(1, 61002)
	a.Name, other.Name = "instance-loud", "instance-quiet"
	a.Spec.Egress = rules(rangeOf("tcp", internet, internet, span(81, 81)), logged(rangeOf("all", internet, internet)))
	other.Spec.Egress = rules(logged(rangeOf("all", internet, internet)))
	ns, quiet := w.attach(n, a), w.attach(n, other)
	k := newKernelLog(t)
	w.check([]attempt{
		{ns, "tcp", internet + ":80", "outside"}, {ns, "tcp", internet + ":81", "outside"},
		{ns, "tcp", third + ":80", reset_}, {ns, "icmp", internet, "pong"},
	})
	got := k.with("instance-loud ")
	if len(got) != 2 {
		t.Fatalf("%d lines, want one of tcp and one of icmp: %q", len(got), got)
	}
	for i, want := range []string{"PROTO=TCP", "PROTO=ICMP"} {
		if !strings.Contains(got[i], want) || !strings.Contains(got[i], "SRC=10.254.0.2 DST="+internet) {
			t.Errorf("line %d is %q", i+1, got[i])
		}
	}
	if !strings.Contains(got[0], "DPT=80") {
		t.Errorf("the line is %q", got[0])
	}

	const many = 3 * logBurst
	begun := time.Now()
	for range many {
		w.check([]attempt{{ns, "udp", internet + ":9000", "outside"}})
	}
	most := logBurst + logRate*int(1+time.Since(begun)/time.Second)
	w.check([]attempt{{quiet, "tcp", internet + ":80", "outside"}})
	var loud, heard int
	for _, line := range k.with("instance-") {
		if strings.Contains(line, "instance-quiet ") {
			heard++
		} else {
			loud++
		}
	}
	if loud < logBurst/2 || loud > most {
		t.Errorf("%d connections made %d lines, want at most %d", many, loud, most)
	}
	if heard != 1 {
		t.Errorf("the other container has %d lines, want 1", heard)
	}
}
