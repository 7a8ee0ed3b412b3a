package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// newWardensIn adds a block to the configuration. newWardens closes the last.
func newWardensIn(t *testing.T, block string) *wardens {
	t.Helper()
	return newWardens(t, "}\n"+strings.TrimSuffix(block, "}"))
}

// reaches says whether a container's TCP connection is taken.
func (w *wardens) reaches(handle, address string) bool {
	w.t.Helper()
	host, port, _ := strings.Cut(address, ":")
	script := fmt.Sprintf("timeout 2 bash -c 'exec 3<>/dev/tcp/%s/%s' 2>/dev/null && echo reached || echo not", host, port)
	_, out, _ := w.run(handle, script)
	return out == "reached\n"
}

// serve listens on TCP inside of a container and says name to everybody.
func (w *wardens) serve(handle, name string, port uint32) {
	w.t.Helper()
	w.begin(handle, fmt.Sprintf(`exec python3 -c '
import socket
l = socket.create_server(("0.0.0.0", %d))
open("up", "w").close()
while True:
    c, _ = l.accept()
    c.sendall(b"%s")
    c.close()
'`, port, name))
}

// hears is what is said at an address, from where dial dials.
func hears(dial func(network, address string) (net.Conn, error), address string) string {
	conn, err := dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	buffer := make([]byte, 64)
	n, _ := conn.Read(buffer)
	return string(buffer[:n])
}

func dialSoon(network, address string) (net.Conn, error) {
	return net.DialTimeout(network, address, 2*time.Second)
}

func TestPortsAreMappedToContainers(t *testing.T) {
	outside := rig.NewOutside(t)
	fromOutside := func(network, address string) (conn net.Conn, err error) {
		outside.Do(func() error { conn, err = dialSoon(network, address); return nil })
		return conn, err
	}
	w := newWardens(t, "")
	one, two := w.create(), w.create()
	in := func(handle string, host, inside *uint32) (uint32, uint32) {
		t.Helper()
		r, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &handle, HostPort: host, ContainerPort: inside})
		if err != nil {
			t.Fatal(err)
		}
		return r.GetHostPort(), r.GetContainerPort()
	}
	first, inside := in(one, nil, nil)
	if first == 0 || inside != first {
		t.Errorf("chosen by the node, %d leads to %d", first, inside)
	}
	chosen, inside := in(two, nil, proto.Uint32(8080))
	if chosen == first || inside != 8080 {
		t.Errorf("the second, %d, leads to %d", chosen, inside)
	}
	if host, inside := in(one, proto.Uint32(7000), nil); host != 7000 || inside != 7000 {
		t.Errorf("given, %d leads to %d", host, inside)
	}
	if host, inside := in(one, proto.Uint32(7001), proto.Uint32(8081)); host != 7001 || inside != 8081 {
		t.Errorf("given both, %d leads to %d", host, inside)
	}
	in(one, proto.Uint32(7001), proto.Uint32(8081)) // once more is the same
	// One that leads elsewhere is refused: the original took it, and led nowhere new.
	for _, other := range []*protocol.NetInRequest{
		{Handle: &two, HostPort: proto.Uint32(7001), ContainerPort: proto.Uint32(8080)},
		{Handle: &one, HostPort: proto.Uint32(7001), ContainerPort: proto.Uint32(8080)},
	} {
		if _, err := w.c.NetIn(w.ctx(), other); err == nil {
			t.Errorf("%v was taken", other)
		}
	}
	w.serve(one, "one", 8081)
	w.serve(two, "two", 8080)
	for what, dial := range map[string]func(string, string) (net.Conn, error){"the node": dialSoon, "outside": fromOutside} {
		for port, want := range map[uint32]string{7001: "one", chosen: "two"} {
			if got := hears(dial, fmt.Sprintf("%s:%d", rig.NodeAddress, port)); got != want {
				t.Errorf("from %s port %d of its address says %q, want %q", what, port, got, want)
			}
		}
	}
	if got := hears(dialSoon, fmt.Sprintf("127.0.0.1:%d", chosen)); got != "two" {
		t.Errorf("on loopback it says %q", got)
	}
	if got := hears(dialSoon, w.info(two).GetContainerIp()+":8080"); got != "two" {
		t.Errorf("by the container's address it says %q", got)
	}
	// Outbound traffic to a port of that number is the container's own.
	l := outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 7001))
	go answer(l)
	w.takes("net_out", &protocol.NetOutRequest{Handle: &two, Network: proto.String(rig.InternetAddress.String())})
	if !w.reaches(two, fmt.Sprintf("%s:7001", rig.InternetAddress)) {
		t.Error("a container can't reach a port whose number is mapped here")
	}
	w.destroy(one)
	if got := hears(dialSoon, fmt.Sprintf("%s:7001", rig.NodeAddress)); got == "one" {
		t.Error("the port answers after its container's end")
	}
	w.destroy(two)
}

func TestNetOutOpensWhatItSays(t *testing.T) {
	outside := rig.NewOutside(t)
	internet := rig.InternetAddress.String()
	for _, port := range []uint16{80, 443, 8085} {
		go answer(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, port)))
	}
	w := newWardens(t, "")
	other := w.create()
	w.serve(other, "other", 8080)
	out := func(change func(*protocol.NetOutRequest)) func(string) {
		return func(handle string) {
			r := &protocol.NetOutRequest{Handle: &handle}
			change(r)
			w.takes("net_out", r)
		}
	}
	for _, c := range []struct {
		what    string
		allow   func(handle string)
		reached string // of the ports 80, 443 and 8085
	}{
		{"nothing", func(string) {}, ""},
		{"an address", out(func(r *protocol.NetOutRequest) { r.Network = &internet }), "80 443 8085"},
		{"a network", out(func(r *protocol.NetOutRequest) { r.Network = proto.String("198.51.100.0/30") }), "80 443 8085"},
		{"addresses from to", out(func(r *protocol.NetOutRequest) { r.Network = proto.String("198.51.100.1-198.51.100.9") }), "80 443 8085"},
		{"another network", out(func(r *protocol.NetOutRequest) { r.Network = proto.String("203.0.113.0/24") }), ""},
		{"a port of all", out(func(r *protocol.NetOutRequest) { r.Port = proto.Uint32(443) }), "443"},
		{"a port of a network", out(func(r *protocol.NetOutRequest) { r.Network, r.Port = &internet, proto.Uint32(80) }), "80"},
		{"a range", out(func(r *protocol.NetOutRequest) { r.PortRange = proto.String("400:8085") }), "443 8085"},
		{"a range and a port", out(func(r *protocol.NetOutRequest) { r.PortRange, r.Port = proto.String("400:500"), proto.Uint32(80) }), "443"},
		{"UDP", out(func(r *protocol.NetOutRequest) { r.Network, r.Protocol = &internet, protocol.NetOutRequest_UDP.Enum() }), ""},
		{"ICMP", out(func(r *protocol.NetOutRequest) {
			r.Network, r.Protocol, r.IcmpType, r.IcmpCode = &internet, protocol.NetOutRequest_ICMP.Enum(), proto.Int32(-1), proto.Int32(-1)
		}), ""},
		{"all protocols", out(func(r *protocol.NetOutRequest) {
			r.Network, r.Protocol = &internet, protocol.NetOutRequest_ALL.Enum()
		}), "80 443 8085"},
		{"logged", out(func(r *protocol.NetOutRequest) { r.Network, r.Log = &internet, proto.Bool(true) }), "80 443 8085"},
		{"a protocol that is none", out(func(r *protocol.NetOutRequest) {
			r.Network, r.Protocol = &internet, protocol.NetOutRequest_Protocol(10).Enum()
		}), "80 443 8085"},
	} {
		handle := w.create()
		c.allow(handle)
		c.allow(handle) // twice is once
		var reached []string
		for _, port := range []string{"80", "443", "8085"} {
			if w.reaches(handle, internet+":"+port) {
				reached = append(reached, port)
			}
		}
		if got := strings.Join(reached, " "); got != c.reached {
			t.Errorf("%s: it reaches %q, want %q", c.what, got, c.reached)
		}
		if w.reaches(handle, w.info(other).GetContainerIp()+":8080") {
			t.Errorf("%s: it reaches another container", c.what)
		}
		w.destroy(handle)
	}
	w.destroy(other)
}

// By default a container reaches itself and nobody else.
func TestAWardensContainerReachesNobody(t *testing.T) {
	outside := rig.NewOutside(t)
	go answer(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80)))
	go answer(outside.Listen(t, netip.AddrPortFrom(rig.MetadataAddress, 80)))
	node, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go answer(node)
	port := node.Addr().(*net.TCPAddr).Port
	w := newWardens(t, "")
	handle, other := w.create(), w.create()
	w.serve(handle, "self", 8080)
	w.serve(other, "other", 8080)
	info := w.info(handle)
	for what, c := range map[string]struct {
		address string
		reached bool
	}{
		"itself":           {info.GetContainerIp() + ":8080", true},
		"its loopback":     {"127.0.0.1:8080", true},
		"its own host":     {fmt.Sprintf("%s:%d", info.GetHostIp(), port), false},
		"the node":         {fmt.Sprintf("%s:%d", rig.NodeAddress, port), false},
		"another":          {w.info(other).GetContainerIp() + ":8080", false},
		"another's host":   {fmt.Sprintf("%s:%d", w.info(other).GetHostIp(), port), false},
		"outside":          {rig.InternetAddress.String() + ":80", false},
		"the cloud's data": {rig.MetadataAddress.String() + ":80", false},
	} {
		begun := time.Now()
		if got := w.reaches(handle, c.address); got != c.reached {
			t.Errorf("%s, %s: reached is %v", what, c.address, got)
		}
		if took := time.Since(begun); took > time.Second && what != "the cloud's data" {
			t.Errorf("%s: it took %s to be refused", what, took)
		}
	}
	w.destroy(handle, other)
}

// What the configuration says of networks holds for Warden's containers.
func TestTheConfigurationsNetworkIsWardens(t *testing.T) {
	outside := rig.NewOutside(t)
	go answer(outside.Listen(t, netip.AddrPortFrom(rig.InternetAddress, 80)))
	node, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go answer(node)
	w := newWardensIn(t, `network {
  pool        = "10.77.0.0/24"
  mtu         = 1400
  allowed     = ["198.51.100.0/24"]
  host_access = true
  dns         = ["198.51.100.53", "192.0.2.7"]
}`)
	network := "10.77.0.43" // of the /30 that begins at 40
	handle, err := w.c.Create(w.ctx(), &protocol.CreateRequest{Network: &network, Handle: proto.String("chosen")})
	if err != nil {
		t.Fatal(err)
	}
	info := w.info(handle)
	if info.GetHostIp() != "10.77.0.41" || info.GetContainerIp() != "10.77.0.42" {
		t.Errorf("the addresses are %s and %s", info.GetHostIp(), info.GetContainerIp())
	}
	w.refused("the same network", &protocol.CreateRequest{Network: proto.String("10.77.0.40")}, "Could not acquire network: 10.77.0.40")
	if !w.reaches(handle, rig.InternetAddress.String()+":80") {
		t.Error("an allowed network is not reached")
	}
	if !w.reaches(handle, fmt.Sprintf("%s:%d", info.GetHostIp(), node.Addr().(*net.TCPAddr).Port)) {
		t.Error("the host is not reached")
	}
	id := strings.TrimSpace(info.GetContainerPath()[strings.LastIndex(info.GetContainerPath(), "/")+1:])
	for script, want := range map[string]string{
		"cat /etc/resolv.conf":        "nameserver 198.51.100.53\nnameserver 192.0.2.7\n",
		"grep -v : /etc/hosts":        "127.0.0.1 localhost\n10.77.0.42 " + id + "\n",
		"hostname; cat /etc/hostname": id + "\n" + id + "\n",
		"cat /sys/class/net/[!l]*/mtu 2>/dev/null || python3 -c 'import fcntl,socket,struct; s=socket.socket(); " +
			"print([struct.unpack(\"i\",fcntl.ioctl(s,0x8921,struct.pack(\"16si12x\",n.encode(),0))[16:20])[0] for _,n in " +
			"socket.if_nameindex() if n!=\"lo\"][0])'": "1400\n",
		"python3 -c 'import socket; print(len(socket.if_nameindex()))'": "2\n",
		"cut -f2,3 /proc/net/route | grep ^00000000":                    "00000000\t29004D0A\n",
	} {
		if _, out, stderr := w.run(handle, script); out != want {
			t.Errorf("%s: %q %q, want %q", script, out, stderr, want)
		}
	}
	w.destroy(handle)
}

func TestBandwidthIsToldAndKept(t *testing.T) {
	w := newWardens(t, "")
	handle := w.create()
	for _, c := range [][2]uint64{{2 << 20, 256 << 10}, {1 << 20, 128 << 10}} {
		r, err := w.c.LimitBandwidth(w.ctx(), &protocol.LimitBandwidthRequest{Handle: &handle, Rate: &c[0], Burst: &c[1]})
		if err != nil || r.GetRate() != c[0] || r.GetBurst() != c[1] {
			t.Errorf("limited to %v: %v, %v", c, r, err)
		}
		s := w.info(handle).GetBandwidthStat()
		if s.GetInRate() != c[0] || s.GetInBurst() != c[1] || s.GetOutRate() != c[0] || s.GetOutBurst() != c[1] {
			t.Errorf("limited to %v, info says %v", c, s)
		}
	}
	w.begin(handle, `exec python3 -c '
import socket
l = socket.create_server(("0.0.0.0", 8080))
open("up", "w").close()
c, _ = l.accept()
c.sendall(bytes(2 << 20))
'`)
	conn, err := dialSoon("tcp", w.info(handle).GetContainerIp()+":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun, total, buffer := time.Now(), 0, make([]byte, 1<<16)
	for total < 2<<20 {
		n, err := conn.Read(buffer)
		if total += n; err != nil {
			break
		}
	}
	if took := time.Since(begun); total != 2<<20 || took < 1500*time.Millisecond || took > 4*time.Second {
		t.Errorf("%d bytes at 1 MiB/s took %s", total, took)
	}
	w.destroy(handle)
}

// Networks rest before they are given again, and there may be none left.
func TestAPoolMayBeEmpty(t *testing.T) {
	w := newWardensIn(t, `network {
  pool          = "10.78.0.0/28"
  release_delay = "2s"
}`)
	var handles []string
	for range 16 {
		handle, err := w.c.Create(w.ctx(), &protocol.CreateRequest{})
		if err != nil {
			expectSaid(t, "create", err, "Could not acquire network")
			break
		}
		handles = append(handles, handle)
	}
	if len(handles) < 2 || len(handles) > 4 {
		t.Fatalf("a pool of four networks gave %d", len(handles))
	}
	w.destroy(handles...)
	w.refused("create while all rest", &protocol.CreateRequest{}, "Could not acquire network")
	begun, handle := time.Now(), ""
	w.until("a rested network", func() bool {
		var err error
		handle, err = w.c.Create(w.ctx(), &protocol.CreateRequest{})
		return err == nil
	})
	if took := time.Since(begun); took < 500*time.Millisecond || took > 10*time.Second {
		t.Errorf("a network rested for %s", took)
	}
	w.destroy(handle)
}

// The node's ports are given out in turn and given back.
func TestPortsOfThePoolRunOut(t *testing.T) {
	w := newWardensIn(t, `network {
  port_first = 21000
  port_last  = 21003
}`)
	handle := w.create()
	seen := map[uint32]bool{}
	for range 4 {
		r, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &handle})
		if err != nil {
			t.Fatal(err)
		}
		seen[r.GetHostPort()] = true
	}
	if len(seen) != 4 {
		t.Errorf("the ports are %v", seen)
	}
	w.refused("a fifth port", &protocol.NetInRequest{Handle: &handle}, "no port available")
	w.destroy(handle)
	again := w.create()
	w.until("a port that was given back", func() bool { // as soon as no packet can find its old container
		_, err := w.c.NetIn(w.ctx(), &protocol.NetInRequest{Handle: &again})
		return err == nil
	})
	w.destroy(again)
}
