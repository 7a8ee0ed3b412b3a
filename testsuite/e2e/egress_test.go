package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// rule is one of egress_network_rules as a controller writes it.
type rule map[string]any

// listenOutside takes TCP connections to ports of an address, and closes them.
func listenOutside(t *testing.T, outside *rig.Outside, address netip.Addr, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		go answer(outside.Listen(t, netip.AddrPortFrom(address, port)))
	}
}

// echoOutside answers each datagram to a port with itself.
func echoOutside(t *testing.T, outside *rig.Outside, address netip.Addr, port uint16) {
	t.Helper()
	var conn net.PacketConn
	err := outside.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(address, port).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 64)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			conn.WriteTo(buffer[:n], from)
		}
	}()
}

// reaches says whether an application gets through, by tcp or udp.
func (i *instance) reaches(protocol, address string) bool {
	i.s.t.Helper()
	if protocol == "tcp" {
		return i.ask("/dial", "addr", address) == "connected"
	}
	host, port, _ := strings.Cut(address, ":")
	return i.ask("/run", "sh", fmt.Sprintf(`python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect(("%s", %s))
try: s.send(b"?"); print(s.recv(9).decode(), end="")
except OSError: pass'`, host, port)) == "?"
}

// What a start message's rules say is what its instance reaches, and nothing beside.
func TestTheRulesOfAStartMessageAreKept(t *testing.T) {
	outside := rig.NewOutside(t)
	listenOutside(t, outside, rig.InternetAddress, 80, 81, 443)
	listenOutside(t, outside, rig.MetadataAddress, 80)
	echoOutside(t, outside, rig.InternetAddress, 53)
	s := newStage(t, "network {\n  egress = \"reject\"\n}\n")
	const internet, metadata = "198.51.100.1", "169.254.169.254"
	for name, c := range map[string]struct {
		rules   []rule
		allowed []string
		refused []string
	}{
		"none": {nil, nil, []string{"tcp " + internet + ":80", "udp " + internet + ":53"}},
		"ports": {[]rule{{"protocol": "tcp", "destination": internet + "/32", "ports": "80,440-450"}},
			[]string{"tcp " + internet + ":80", "tcp " + internet + ":443"},
			[]string{"tcp " + internet + ":81", "udp " + internet + ":53"}},
		"range": {[]rule{{"protocol": "udp", "destination": "198.51.100.0-198.51.100.9", "log": true}},
			[]string{"udp " + internet + ":53"}, []string{"tcp " + internet + ":80"}},
		"icmp": {[]rule{{"protocol": "icmp", "destination": "0.0.0.0/0", "type": 8, "code": 0}},
			nil, []string{"tcp " + internet + ":80", "udp " + internet + ":53"}},
		"all": {[]rule{{"protocol": "all", "destination": "0.0.0.0/0"}},
			[]string{"tcp " + internet + ":81", "udp " + internet + ":53"},
			[]string{"tcp " + metadata + ":80", "tcp " + rig.NodeAddress.String() + ":22"}},
		"metadata": {[]rule{{"protocol": "tcp", "destination": metadata, "ports": "80"}},
			[]string{"tcp " + metadata + ":80"}, []string{"tcp " + internet + ":80"}},
	} {
		app := s.running(name, map[string]any{"egress_network_rules": c.rules})
		for want, attempts := range map[bool][]string{true: c.allowed, false: c.refused} {
			for _, attempt := range attempts {
				protocol, address, _ := strings.Cut(attempt, " ")
				if got := app.reaches(protocol, address); got != want {
					t.Errorf("%s: %s: reached %v, want %v", name, attempt, got, want)
				}
			}
		}
	}
}

// A rule that is none fails the start, in the wire's words, whatever else there is.
func TestAStartWithAWrongRuleFails(t *testing.T) {
	s := newStage(t, "")
	offer := s.offer()
	good := rule{"protocol": "tcp", "destination": "10.0.0.0/8", "ports": "80"}
	for name, bad := range map[string]rule{
		"protocol":           {"protocol": "sctp", "destination": "10.0.0.1"},
		"upper-case":         {"protocol": "TCP", "destination": "10.0.0.1"},
		"no-protocol":        {"protocol": "", "destination": "10.0.0.1"},
		"no-destination":     {"protocol": "all", "destination": ""},
		"host-name":          {"protocol": "all", "destination": "example.org"},
		"long-network":       {"protocol": "tcp", "destination": "10.0.0.0/33"},
		"reversed-range":     {"protocol": "tcp", "destination": "10.0.0.9-10.0.0.1"},
		"half-a-range":       {"protocol": "tcp", "destination": "10.0.0.1-"},
		"ipv6":               {"protocol": "all", "destination": "::/0"},
		"ipv6-range":         {"protocol": "all", "destination": "fd00::1-fd00::2"},
		"port-0":             {"protocol": "tcp", "destination": "10.0.0.1", "ports": "0"},
		"port-65536":         {"protocol": "udp", "destination": "10.0.0.1", "ports": "80,65536"},
		"reversed-ports":     {"protocol": "udp", "destination": "10.0.0.1", "ports": "9000-8000"},
		"a-word-for-a-port":  {"protocol": "udp", "destination": "10.0.0.1", "ports": "http"},
		"an-empty-port":      {"protocol": "udp", "destination": "10.0.0.1", "ports": "80,,443"},
		"ports-of-icmp":      {"protocol": "icmp", "destination": "10.0.0.1", "ports": "80"},
		"ports-of-all":       {"protocol": "all", "destination": "10.0.0.1", "ports": "80"},
		"an-order-to-kernel": {"protocol": "tcp; reboot", "destination": "10.0.0.1"},
	} {
		s.start(name, s.serve, map[string]any{"egress_network_rules": []rule{good, bad}})
		expectEnd(t, s.crashed(name, soon), -1, "failed to start")
	}
	s.ctl.ExpectNone("router.register", 50*time.Millisecond)
	s.atRest(offer)
}

// The most rules that there may be are kept to the last; ten times as many fail
// their start at once, and nobody else's.
func TestManyRulesHoldUpNobody(t *testing.T) {
	outside := rig.NewOutside(t)
	listenOutside(t, outside, rig.InternetAddress, 80, 81)
	s := newStage(t, "network {\n  egress = \"reject\"\n}\n")
	many := func(count int) (all []rule) {
		for i := range count - 1 {
			all = append(all, rule{"protocol": "tcp", "destination": fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), "ports": "443"})
		}
		return append(all, rule{"protocol": "tcp", "destination": rig.InternetAddress.String(), "ports": "80"})
	}
	s.start("too-many", s.serve, map[string]any{"egress_network_rules": many(10_000)})
	s.start("bystander", s.serve, nil)
	s.registered("bystander").ask("/")
	expectEnd(t, s.crashed("too-many", soon), -1, "failed to start")

	app := s.running("the-most", map[string]any{"egress_network_rules": many(1000)})
	if !app.reaches("tcp", fmt.Sprint(rig.InternetAddress, ":80")) {
		t.Error("the last of 1000 rules is not kept")
	}
	if app.reaches("tcp", fmt.Sprint(rig.InternetAddress, ":81")) {
		t.Error("1000 rules allow what none of them says")
	}
}
