package box

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// half is half a second's worth at the rate that these tests limit to.
const half = 2_000_000

// hello is a server inside, on port 8080: it takes all that is sent, and says
// hello at the end.
const hello = `exec python3 -c 'import socket
s=socket.create_server(("0.0.0.0",8080)); print("up",flush=True)
while True:
  c,_=s.accept()
  while c.recv(1<<16): pass
  c.sendall(b"hello"); c.close()'`

// says is what the server says that an address leads to, or the error.
func says(address string, size int) string {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, size)); err != nil {
		return err.Error()
	}
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// serving creates a container with the server and waits until it serves.
func (m *machine) serving(b *Box, spec isolation.Spec) isolation.Status {
	m.t.Helper()
	status, err := b.Create(m.t.Context(), spec, shell(1, hello))
	if err != nil {
		m.t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); b.text(spec.ID, 1, stdoutFile) == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatal("no server:", b.text(spec.ID, 1, stderrFile))
		}
	}
	return status
}

func TestAPortIsMappedToALivingContainer(t *testing.T) {
	rig.NewOutside(t)
	m := newMachine(t)
	b, _ := m.open()
	first, second := m.spec(0, 61001), m.spec(1)
	m.serving(b, first)
	m.serving(b, second)
	port := isolation.PortMap{Host: 61002, Container: 8080}

	for range 2 {
		if err := b.Map(t.Context(), first.ID, port); err != nil {
			t.Fatal(err)
		}
	}
	reached := func() {
		t.Helper()
		for _, address := range []string{"127.0.0.1:61002", fmt.Sprint(rig.NodeAddress, ":61002")} {
			if got := says(address, 0); got != "hello" {
				t.Errorf("%s says %q", address, got)
			}
		}
	}
	reached()

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, _ = m.open() // the successor
	defer m.end(b)
	reached()
	if err := b.Destroy(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if got := says("127.0.0.1:61002", 0); !strings.Contains(got, "refused") {
		t.Errorf("the port of a destroyed container says %q", got)
	}
	if err := b.Map(t.Context(), first.ID, isolation.PortMap{Host: 61004, Container: 1}); !errors.Is(err, isolation.ErrGone) {
		t.Errorf("error is %v, want ErrGone", err)
	}
	if err := b.Release(t.Context(), []string{first.ID}); err != nil {
		t.Fatal(err)
	}
	if err := b.Map(t.Context(), first.ID, port); !errors.Is(err, isolation.ErrUnknown) {
		t.Errorf("error is %v, want ErrUnknown", err)
	}
	if err := b.Map(t.Context(), second.ID, port); err != nil {
		t.Error(err)
	}
	reached()
}

// A port that is refused changes no record.
func TestATakenPortIsNamed(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	defer m.end(b)
	first, second := m.spec(0, 61002), m.spec(1, 61003)
	for _, s := range []isolation.Spec{first, second} {
		if _, err := b.Create(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}

	for id, taken := range map[string]isolation.PortMap{second.ID: {Host: 61002, Container: 61002},
		first.ID: {Host: 61002, Container: 9090}} {
		err := b.Map(t.Context(), id, taken)
		if !errors.Is(err, network.ErrPortTaken) || !strings.Contains(err.Error(), "61002") {
			t.Errorf("error is %v, want ErrPortTaken", err)
		}
	}
	if err := b.Map(t.Context(), second.ID, isolation.PortMap{Host: 61004}); err == nil {
		t.Error("port 0 is mapped")
	}

	want := map[string]string{first.ID: "[{61002 61002}]", second.ID: "[{61003 61003}]"}
	specs, err := b.Containers(t.Context())
	for _, s := range specs {
		if got := fmt.Sprint(s.Network.Ports); err != nil || got != want[s.ID] {
			t.Errorf("on record are %s, %v, want %s", got, err, want[s.ID])
		}
	}
}

// An agent that dies between the record and the kernel: its successor makes what
// is on record. Where two have a port on record, none was told yet but the first.
func TestASuccessorMakesWhatIsOnRecord(t *testing.T) {
	m := newMachine(t)
	b, _ := m.open()
	first, second := m.spec(0), m.spec(1)
	m.serving(b, first)
	m.serving(b, second)
	port := isolation.PortMap{Host: 61002, Container: 8080}
	if err := b.Map(t.Context(), second.ID, port); err != nil {
		t.Fatal(err)
	}
	for _, p := range []isolation.PortMap{port, {Host: 61003, Container: 8080}} {
		recordOnly := func(s *isolation.Spec) error { s.Network.Ports = append(s.Network.Ports, p); return nil }
		if err := b.amend(t.Context(), first.ID, recordOnly, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, specs := m.open()
	defer m.end(b)
	for _, s := range specs {
		if s.ID == first.ID && fmt.Sprint(s.Network.Ports) != "[{61003 8080}]" {
			t.Errorf("a successor finds %v", s.Network.Ports)
		}
	}
	if got := says("127.0.0.1:61003", 0); got != "hello" {
		t.Errorf("the port on record says %q", got)
	}
	if err := b.Destroy(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Release(t.Context(), []string{first.ID}); err != nil {
		t.Fatal(err)
	}
	if got := says("127.0.0.1:61002", 0); got != "hello" {
		t.Errorf("the other's port says %q", got)
	}
}

// connects is a job that says how a connection came out.
const connects = `python3 -c 'import socket
try: socket.create_connection(("%s",80),5).close(); print("open")
except ConnectionRefusedError: print("refused")'`

// connecting is a check of how a container's connection to the outside comes out,
// which that takes and closes; the box may be a successor's by then.
func (m *machine) connecting(current **Box) func(id, want string) {
	number := uint32(0)
	return func(id, want string) {
		m.t.Helper()
		b := *current
		number++
		if err := b.Spawn(m.t.Context(), id, *shell(number, fmt.Sprintf(connects, rig.InternetAddress))); err != nil {
			m.t.Fatal(err)
		}
		if _, err := b.Wait(m.t.Context(), id, number); err != nil {
			m.t.Fatal(err)
		}
		if got := strings.TrimSpace(b.text(id, number, stdoutFile)); got != want {
			m.t.Errorf("the connection is %q, want %q; %s", got, want, b.text(id, number, stderrFile))
		}
	}
}

func takesAll(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

func TestALivingContainerIsAllowedMore(t *testing.T) {
	outside := rig.NewOutside(t)
	go takesAll(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80)))
	m := newMachine(t)
	b, _ := m.open()
	spec, other := m.spec(0), m.spec(1)
	spec.Network.Default = "reject"
	for _, s := range []isolation.Spec{spec, other} {
		if _, err := b.Create(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	check := m.connecting(&b)
	check(spec.ID, "refused")
	check(other.ID, "open") // the node's default
	web := isolation.EgressRule{Protocol: "tcp", First: rig.InternetAddress, Last: rig.InternetAddress, Log: true,
		Ports: []isolation.PortSpan{{First: 80, Last: 81}}}
	ping := isolation.EgressRule{Protocol: "icmp", First: rig.InternetAddress, Last: rig.InternetAddress,
		ICMPType: -1, ICMPCode: -1, Ports: []isolation.PortSpan{}}
	for _, rule := range []isolation.EgressRule{web, web, ping, ping, web} {
		if err := b.Allow(t.Context(), spec.ID, rule); err != nil {
			t.Fatal(err)
		}
	}
	check(spec.ID, "open")
	bad := web
	bad.Protocol = "sctp"
	if err := b.Allow(t.Context(), spec.ID, bad); err == nil || !strings.Contains(err.Error(), "sctp") {
		t.Errorf("error is %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, found := m.open()
	defer m.end(b)
	for _, s := range found {
		if s.ID == spec.ID && (len(s.Network.Egress) != 2 || !sameRule(s.Network.Egress[0], web)) {
			t.Errorf("a successor finds %+v", s.Network.Egress)
		}
	}
	check(spec.ID, "open")
	check(other.ID, "open")
}

func TestALivingContainerIsHeldToARate(t *testing.T) {
	outside := rig.NewOutside(t)
	m := newMachine(t)
	b, _ := m.open()
	spec := m.spec(0)
	status := m.serving(b, spec)
	if _, _, set, err := b.Shaped(t.Context(), spec.ID); err != nil || set {
		t.Errorf("without a limit: %v, %v", set, err)
	}
	if err := b.Shape(t.Context(), spec.ID, isolation.Bandwidth{Burst: 1000}); !errors.Is(err, network.ErrRate) {
		t.Errorf("error is %v, want ErrRate", err)
	}
	limit := isolation.Bandwidth{Rate: 4_000_000, Burst: 100_000}
	for _, l := range []isolation.Bandwidth{{Rate: 10_000, Burst: 5000}, limit} {
		if err := b.Shape(t.Context(), spec.ID, l); err != nil {
			t.Fatal(err)
		}
	}
	address := netip.AddrPortFrom(status.PeerIP, 8080).String()
	heldTo(t, "received", limit, func() time.Duration { return sends(address) })
	listener := outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 7000))
	number := uint32(1)
	heldTo(t, "sent", limit, func() time.Duration {
		number++
		return m.upload(b, number, listener)
	})

	// The container's root can't take its end's off.
	number++
	job := shell(number, "tc qdisc del dev eth0 root")
	job.User, job.Dir, job.Env = isolation.User{}, "/", []string{"PATH=/usr/sbin:/usr/bin"}
	if err := b.Spawn(t.Context(), spec.ID, *job); err != nil {
		t.Fatal(err)
	}
	if exit, err := b.Wait(t.Context(), spec.ID, number); err != nil || exit.Code != 2 {
		t.Errorf("tc: %+v, %v", exit, err)
	}
	if text := b.text(spec.ID, number, stderrFile); !strings.Contains(text, "not permitted") {
		t.Errorf("tc says %q", text)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b, _ = m.open()
	defer m.end(b)
	in, out, set, err := b.Shaped(t.Context(), spec.ID)
	if err != nil || !set || in != limit || out != limit {
		t.Errorf("a successor reads %v in, %v out, %v, %v", in, out, set, err)
	}
	heldTo(t, "received by a successor's", limit, func() time.Duration { return sends(address) })
}

// heldTo measures how fast so much goes. A busy machine can make it slow, so
// that is tried again; nothing can make it fast.
func heldTo(t *testing.T, way string, limit isolation.Bandwidth, act func() time.Duration) {
	t.Helper()
	rate := float64(limit.Rate)
	var got float64
	for range 3 {
		got = float64(half-int(limit.Burst)) / act().Seconds()
		t.Logf("%s: %.2f MB/s", way, got/1e6)
		if got > 0.7*rate {
			break
		}
	}
	if got < 0.7*rate || got > 1.3*rate {
		t.Errorf("%s: %.0f bytes/s, want %.0f", way, got, rate)
	}
}

// sends is how long it takes to send half to the server inside.
func sends(address string) time.Duration {
	begun := time.Now()
	says(address, half)
	return time.Since(begun)
}

// upload has the container send half to the outside, and returns how long that
// takes from the connection on.
func (m *machine) upload(b *Box, job uint32, listener net.Listener) time.Duration {
	m.t.Helper()
	send := fmt.Sprintf(`exec python3 -c 'import socket
s=socket.create_connection(("%s",7000)); s.sendall(b"x"*%d)'`, rig.InternetAddress, half)
	specs, err := b.Containers(m.t.Context())
	if err == nil {
		err = b.Spawn(m.t.Context(), specs[0].ID, *shell(job, send))
	}
	if err != nil {
		m.t.Fatal(err)
	}
	conn, err := listener.Accept()
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	if n, err := io.Copy(io.Discard, conn); err != nil || n != half {
		m.t.Fatalf("%d bytes, %v", n, err)
	}
	return time.Since(begun)
}
