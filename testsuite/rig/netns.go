package rig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv marks the copy of the test binary that runs inside.
const insideEnv = "DEACON_RIG_INSIDE"

// The stand-in addresses. 198.51.100.0/24 is TEST-NET-2, never routed.
var (
	NodeAddress     = netip.MustParseAddr("198.51.100.2")
	InternetAddress = netip.MustParseAddr("198.51.100.1")
	MetadataAddress = netip.MustParseAddr("169.254.169.254")
)

// Main is a package's TestMain: it runs the tests in a child process inside a
// new network namespace, so that the node, its NATS server and the test are
// alone on their network. Without root it says so and runs nothing.
func Main(m *testing.M) {
	if os.Getenv(insideEnv) != "" {
		if err := prepareInside(); err != nil {
			fmt.Fprintln(os.Stderr, "rig: prepare the node's namespace:", err)
			os.Exit(1)
		}
		code := m.Run()
		removeBinaries()
		os.Exit(code)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "SKIPPED: whole-node tests need root (namespaces, cgroups, mounts)")
		os.Exit(0)
	}
	os.Exit(runInside())
}

func runInside() int {
	self := exec.Command("/proc/self/exe", os.Args[1:]...)
	self.Env = append(os.Environ(), insideEnv+"=1")
	self.Stdin, self.Stdout, self.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The mount namespace lets /sys show the new network namespace's links.
	// A test run that is killed takes the tests with it.
	self.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL,
	}
	runtime.LockOSThread() // the signal is sent when the thread ends that started it
	err := self.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig: run the tests inside:", err)
		return 1
	}
	return 0
}

func prepareInside() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// Outside is the stand-in for everything beyond the node.
type Outside struct{ ns *os.File }

// NewOutside makes the outside namespace and wires the node to it. It is gone
// with the test.
func NewOutside(t testing.TB) *Outside {
	t.Helper()
	o := &Outside{}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		var err error
		o.ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		t.Fatal("rig: make the outside:", err)
	}
	t.Cleanup(func() { o.ns.Close() })
	if err := o.wire(); err != nil {
		t.Fatal("rig: wire the outside:", err)
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName("uplink"); err == nil {
			netlink.LinkDel(link)
		}
	})
	return o
}

func (o *Outside) wire() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: "node0", PeerNamespace: netlink.NsFd(o.ns.Fd())}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	if err := addressUp("uplink", netip.PrefixFrom(NodeAddress, 24)); err != nil {
		return err
	}
	gateway := &netlink.Route{Gw: net.IP(InternetAddress.AsSlice())}
	if err := o.Do(func() error {
		if err := addressUp("lo", netip.PrefixFrom(MetadataAddress, 32)); err != nil {
			return err
		}
		return addressUp("node0", netip.PrefixFrom(InternetAddress, 24))
	}); err != nil {
		return err
	}
	return netlink.RouteAdd(gateway)
}

func addressUp(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	ip := net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &ip}); err != nil {
		return fmt.Errorf("address %s: %w", name, err)
	}
	return netlink.LinkSetUp(link)
}

// Listen opens a TCP listener in the outside namespace.
func (o *Outside) Listen(t testing.TB, address netip.AddrPort) net.Listener {
	t.Helper()
	var l net.Listener
	err := o.Do(func() (err error) {
		l, err = net.Listen("tcp", address.String())
		return err
	})
	if err != nil {
		t.Fatalf("rig: listen outside on %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Do runs f on a thread inside the outside namespace.
func (o *Outside) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(o.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the outside: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on an OS thread that is thrown away afterwards: it is
// never unlocked, so a thread in the wrong namespace serves nobody else. The
// first thread can't be thrown away, and it is what /proc/self shows: where the
// scheduler gives us that one, it is held while another does the work.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			done <- onOwnThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}
