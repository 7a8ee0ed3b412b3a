package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// What an application may reach, and what it may not, each as one dial.
func TestWhatAContainerReaches(t *testing.T) {
	outside := rig.NewOutside(t)
	internet := outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80))
	metadata := outside.Listen(t, netip.AddrPortFrom(rig.MetadataAddress, 80))
	for _, l := range []net.Listener{internet, metadata} {
		go answer(l)
	}
	s := newStage(t, "")
	app, other := s.running("app", nil), s.running("other", nil)
	node, err := net.Listen("tcp", "0.0.0.0:0") // a service of the node's own
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go answer(node)
	nodePort := node.Addr().(*net.TCPAddr).Port
	natsPort := s.nats.URL[strings.LastIndex(s.nats.URL, ":")+1:]
	gateway := strings.TrimSpace(app.ask("/run", "sh", "ip route 2>/dev/null | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'"))
	ownAddress := strings.TrimSpace(app.ask("/run", "sh", "hostname -I"))
	otherAddress := strings.TrimSpace(other.ask("/run", "sh", "hostname -I"))
	if gateway == "" || ownAddress == "" || otherAddress == "" || ownAddress == otherAddress {
		t.Fatalf("gateway %q, addresses %q and %q", gateway, ownAddress, otherAddress)
	}
	for _, c := range []struct {
		what, address string
		reached       bool
	}{
		{"the internet", fmt.Sprint(rig.InternetAddress, ":80"), true},
		{"the metadata address", fmt.Sprint(rig.MetadataAddress, ":80"), false},
		{"another container", fmt.Sprintf("%s:%d", otherAddress, other.port), false},
		{"another container by its mapped port", fmt.Sprintf("%s:%d", rig.NodeAddress, other.port), false},
		{"the node by its address", fmt.Sprintf("%s:%d", rig.NodeAddress, nodePort), false},
		{"the node by the gateway", fmt.Sprintf("%s:%d", gateway, nodePort), false},
		{"the agent's NATS by the gateway", gateway + ":" + natsPort, false},
		{"itself", fmt.Sprintf("127.0.0.1:%d", app.port), true},
		{"the node's loopback", "127.0.0.1:" + natsPort, false},
	} {
		said := app.ask("/dial", "addr", c.address)
		if reached := said == "connected"; reached != c.reached {
			t.Errorf("%s (%s): %s; want reached %v", c.what, c.address, said, c.reached)
		}
	}
}

func answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		conn.Close()
	}
}

func TestWhatAContainerSees(t *testing.T) {
	s := newStage(t, "")
	app := s.running("app", nil)
	secret := filepath.Join(s.node.State, "secret")
	if err := os.WriteFile(secret, []byte("the node's"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ sh, want string }{
		"the node's files":       {"cat " + secret + " 2>/dev/null || echo hidden", "hidden\n"},
		"the node's /etc/shadow": {"cat /etc/shadow 2>/dev/null || echo hidden", "hidden\n"},
		"the node's /root":       {"ls /root 2>/dev/null || echo hidden", "hidden\n"},
		"the agent's process":    {fmt.Sprintf("test -e /proc/%d && echo seen || echo hidden", s.node.PID()), "hidden\n"},
		"more processes":         {"ls /proc | grep -c '^[0-9][0-9][0-9][0-9]' ; true", "0\n"},
		"the node's mounts":      {"grep -c " + s.node.State + " /proc/self/mounts; true", "0\n"},
		"writing to /usr":        {"touch /usr/x 2>/dev/null && echo written || echo refused", "refused\n"},
		"writing at home":        {"touch /home/vcap/app/x && echo written", "written\n"},
		"who it is":              {"id -un", "vcap\n"},
		"block devices":          {"ls /dev | grep -c -e '^sd' -e '^vd' -e loop; true", "0\n"},
		"the kernel's log":       {"dmesg >/dev/null 2>&1 && echo read || echo refused", "refused\n"},
		"cgroups":                {"ls /sys/fs/cgroup 2>/dev/null | wc -l", "0\n"},
	} {
		if got := app.ask("/run", "sh", c.sh); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}
