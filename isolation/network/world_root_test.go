package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/isolation/slot"
)

// The whole test program runs in a network namespace of its own, which is the
// node; what lies outside of it is another namespace. No packet can leave.
const insideVariable = "DEACON_TEST_NODE_NAMESPACE"

func TestMain(m *testing.M) {
	if os.Getuid() != 0 || os.Getenv(insideVariable) != "" {
		os.Exit(m.Run())
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.Env = append(os.Environ(), insideVariable+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // the signal is sent when the thread ends that started it
	err := again.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run in a namespace:", err)
		os.Exit(1)
	}
}

// namespace is a network namespace, held open.
type namespace struct {
	t       testing.TB
	file    *os.File
	link    *netlink.Handle
	servers []func()
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	opened := make(chan *os.File, 1)
	go func() {
		defer close(opened)
		runtime.LockOSThread() // and never unlocked: the thread goes with the goroutine
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			return
		}
		if file, err := os.Open("/proc/thread-self/ns/net"); err == nil {
			opened <- file
		}
	}()
	file := <-opened
	if file == nil {
		t.Fatal("no namespace could be made")
	}
	ns := &namespace{t: t, file: file}
	t.Cleanup(func() { file.Close() })
	must(t, ns.enter(func() (err error) {
		ns.link, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	}))
	t.Cleanup(ns.link.Close)
	ns.bringUp("lo")
	return ns
}

// enter calls f on a thread inside; a nil namespace is the node.
func (ns *namespace) enter(f func() error) error {
	if ns == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (ns *namespace) bringUp(name string) {
	ns.t.Helper()
	link, err := ns.link.LinkByName(name)
	must(ns.t, err)
	must(ns.t, ns.link.LinkSetUp(link))
}

func (ns *namespace) give(name string, addresses ...string) {
	ns.t.Helper()
	giveAddresses(ns.t, ns.link, name, addresses...)
}

func giveAddresses(t testing.TB, h *netlink.Handle, name string, addresses ...string) {
	t.Helper()
	link, err := h.LinkByName(name)
	must(t, err)
	for _, a := range addresses {
		address, err := netlink.ParseAddr(a)
		must(t, err)
		address.Flags = unix.IFA_F_NODAD
		must(t, h.AddrAdd(link, address))
	}
}

func (ns *namespace) route(gateway string) {
	ns.t.Helper()
	must(ns.t, ns.link.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Addresses of the stand-in internet.
const (
	internet   = "198.51.100.1"
	neighbour  = "198.51.100.2"
	third      = "198.51.100.3"
	metadata   = "169.254.169.254"
	resolver   = "169.254.169.253"
	uplink     = "198.51.100.254" // the node's own, outward
	uplinkName = "dcnup0"
)

// world is the node with its outside.
type world struct {
	t       testing.TB
	node    *netlink.Handle
	outside *namespace
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root, for network namespaces")
	}
	w := &world{t: t, outside: newNamespace(t)}
	var err error
	w.node, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(w.node.Close)
	lo, err := w.node.LinkByName("lo")
	must(t, err)
	must(t, w.node.LinkSetUp(lo))
	// Errors by ICMP are not to be rationed while it is tested who gets them.
	must(t, os.WriteFile("/proc/sys/net/ipv4/icmp_ratelimit", []byte("0"), 0))

	pair := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: "outer",
		PeerNamespace: netlink.NsFd(w.outside.file.Fd())}
	pair.Name = uplinkName
	must(t, w.node.LinkAdd(pair))
	t.Cleanup(func() { w.node.LinkDel(pair) })
	must(t, w.node.LinkSetUp(pair))
	giveAddresses(t, w.node, uplinkName, uplink+"/24", "fd00::fe/64")
	w.outside.bringUp("outer")
	w.outside.give("outer", internet+"/24", neighbour+"/24", third+"/24", "fd00::1/64")
	w.outside.give("outer", metadata+"/32", resolver+"/32")
	must(t, w.node.RouteAdd(&netlink.Route{Gw: net.ParseIP(internet)}))
	w.outside.route(uplink)

	for _, address := range []string{internet, neighbour, third, metadata, resolver} {
		w.serve(w.outside, "outside", address, 53, 80, 81, 8080, 9000)
	}
	w.serve(nil, "node", "", 22)
	w.serve(nil, "node", uplink, 53)
	w.serve(nil, "node", "127.0.0.1", 6000)
	return w
}

// serve answers on TCP and UDP with a name and with who asked.
func (w *world) serve(ns *namespace, name, address string, ports ...int) {
	w.t.Helper()
	for _, port := range ports {
		var tcp net.Listener
		var udp net.PacketConn
		must(w.t, ns.enter(func() (err error) {
			if tcp, err = net.Listen("tcp", fmt.Sprint(address, ":", port)); err != nil {
				return err
			}
			udp, err = net.ListenPacket("udp4", fmt.Sprint(address, ":", port))
			return err
		}))
		stop := func() { tcp.Close(); udp.Close() }
		w.t.Cleanup(stop)
		if ns != nil {
			ns.servers = append(ns.servers, stop)
		}
		go func() {
			for {
				conn, err := tcp.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				fmt.Fprintf(conn, "%s to %s", name, host)
				conn.Close()
			}
		}()
		go func() {
			buffer := make([]byte, 64)
			for {
				_, from, err := udp.ReadFrom(buffer)
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(from.String())
				udp.WriteTo(fmt.Appendf(nil, "%s to %s", name, host), from)
			}
		}()
	}
}

// testPlan is a pool of 64 slots; each test has a tag of its own.
func testPlan(tag string) slot.Plan {
	return slot.Plan{Tag: tag, Pool: netip.MustParsePrefix("10.254.0.0/24"), UIDBase: 1 << 20}
}

// open opens a network that leaves no trace.
func (w *world) open(config Config, live ...Attachment) *Network {
	w.t.Helper()
	if config.Egress == "" {
		config.Egress = Allow
	}
	n, _, err := Open(config)
	must(w.t, err)
	must(w.t, n.Restore(live))
	t := w.t
	t.Cleanup(func() {
		// By now the containers' namespaces are let go. The next test has the
		// same addresses, as a slot's next tenant would.
		links, err := n.Links()
		err = errors.Join(err, n.awaitGone(context.Background(), links))
		if err := errors.Join(err, n.Remove(), n.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// attach makes a container's namespace as PID 1 would finish it, with a server
// on port 8080.
func (w *world) attach(n *Network, a Attachment) *namespace {
	w.t.Helper()
	ns := newNamespace(w.t)
	must(w.t, n.Attach(context.Background(), a, ns.file))
	ns.settle(n.config.Plan, a.Slot)
	w.serve(ns, a.Slot.String(), "", 8080)
	return ns
}

// end is what happens to a container's namespace when its processes are dead:
// nothing holds it any more.
func (ns *namespace) end() {
	for _, stop := range ns.servers {
		stop()
	}
	ns.link.Close()
	ns.file.Close()
}

func (ns *namespace) settle(p slot.Plan, s slot.Slot) {
	ns.t.Helper()
	inside := InsideOf(p, s)
	ns.bringUp(inside.Name)
	ns.give(inside.Name, inside.Address.String())
	ns.route(inside.Gateway.String())
}

// What may become of an attempt to reach somebody.
const (
	reset_         = "reset"      // TCP was refused
	forbidden      = "prohibited" // ICMP says "administratively prohibited"
	silence        = "silence"
	patience       = 250 * time.Millisecond // until silence is silence
	whileAnOkIsDue = 5 * time.Second
)

// reach tries a protocol to an address and says who answered, or how not.
func (ns *namespace) reach(protocol, address string, wait time.Duration) (outcome string) {
	err := ns.enter(func() (err error) {
		switch protocol {
		case "icmp":
			outcome, err = ping(address, 8, 0, wait)
		case "icmp-timestamp":
			outcome, err = ping(address, 13, 0, wait)
		default:
			outcome, err = exchange(protocol, address, wait)
		}
		return err
	})
	switch {
	case err == nil:
		return outcome
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return reset_
	case errors.Is(err, unix.EHOSTUNREACH):
		return forbidden
	case errors.Is(err, os.ErrDeadlineExceeded):
		return silence
	}
	return err.Error()
}

func exchange(protocol, address string, wait time.Duration) (string, error) {
	conn, err := net.DialTimeout(protocol, address, wait)
	if err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return "", os.ErrDeadlineExceeded
		}
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	if protocol == "udp" {
		if _, err := conn.Write([]byte("?")); err != nil {
			return "", err
		}
		buffer := make([]byte, 64)
		n, err := conn.Read(buffer)
		return string(buffer[:n]), err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// ping sends one ICMP query and waits for its answer or for an error about it.
func ping(address string, kind, code byte, wait time.Duration) (string, error) {
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	query := make([]byte, 20) // as long as a timestamp query
	query[0], query[1], query[4], query[5] = kind, code, 0xde, 0xac
	sum := uint32(0)
	for i := 0; i < len(query); i += 2 {
		sum += uint32(query[i])<<8 | uint32(query[i+1])
	}
	sum = sum>>16 + sum&0xffff
	query[2], query[3] = byte(^sum>>8), byte(^sum)
	to := &net.IPAddr{IP: net.ParseIP(address)}
	if _, err := conn.WriteTo(query, to); err != nil {
		return "", err
	}
	conn.SetReadDeadline(time.Now().Add(wait))
	buffer := make([]byte, 256)
	for {
		n, from, err := conn.ReadFrom(buffer)
		switch {
		case err != nil:
			return "", err
		case n >= 8 && buffer[0] == 3 && buffer[1] == 13:
			return "", unix.EHOSTUNREACH
		case n >= 8 && buffer[0] == kind+1 || buffer[0] == 0 && kind == 8:
			return "pong from " + from.String(), nil
		}
	}
}

// listen opens a socket inside.
func (ns *namespace) listen(network, address string) net.PacketConn {
	ns.t.Helper()
	var conn net.PacketConn
	must(ns.t, ns.enter(func() (err error) { conn, err = net.ListenPacket(network, address); return err }))
	ns.servers = append(ns.servers, func() { conn.Close() })
	ns.t.Cleanup(func() { conn.Close() })
	return conn
}

// heard is the next packet, empty when none comes for so long.
func heard(conn net.PacketConn, wait time.Duration) string {
	conn.SetReadDeadline(time.Now().Add(wait))
	buffer := make([]byte, 256)
	n, _, _ := conn.ReadFrom(buffer)
	return string(buffer[:n])
}

// attempt is one line of a matrix of who reaches whom.
type attempt struct {
	from     *namespace // nil: the node
	protocol string
	to       string
	want     string // how the outcome begins
}

func (w *world) check(attempts []attempt) {
	w.t.Helper()
	for _, a := range attempts {
		wait := whileAnOkIsDue
		if a.want == silence {
			wait = patience
		}
		if got := a.from.reach(a.protocol, a.to, wait); !strings.HasPrefix(got, a.want) {
			w.t.Errorf("%s to %s: got %q, want %q", a.protocol, a.to, got, a.want)
		}
	}
}
