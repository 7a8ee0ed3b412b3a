package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/agent/settings"
)

// What stays with the machine when applications are promised its memory: a
// fixed part for the system and the agent, and a share for page tables, slab
// and whatever grows with the number of containers.
const (
	memoryReserveMiB   = 512
	memoryReserveShare = 20 // one part in
)

// Resolve fills in what the file leaves to the machine. The state folder must
// exist. The notes say what was chosen where somebody might wonder.
func (c Config) Resolve() (_ Config, notes []string, err error) {
	note := func(format string, facts ...any) { notes = append(notes, fmt.Sprintf(format, facts...)) }
	if c.Node.Init, err = initProgram(c.Node.Init); err != nil {
		return Config{}, nil, err
	}
	for _, s := range c.Stacks {
		if err := c.checkStack(s); err != nil {
			return Config{}, nil, err
		}
	}
	for _, b := range c.Binds {
		if err := b.check(); err != nil {
			return Config{}, nil, err
		}
	}
	if err := c.Hooks.load(); err != nil {
		return Config{}, nil, err
	}
	if c.Warden != nil {
		if err := c.Warden.check(); err != nil {
			return Config{}, nil, err
		}
	}
	if !c.Node.Address.IsValid() {
		address, ok := outwardAddress()
		if !ok {
			address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			note("the machine has no default route: mapped ports are announced at %s; "+
				"set node.address otherwise", address)
		}
		c.Node.Address = address
	}
	if len(c.Network.DNS) == 0 {
		var more []string
		c.Network.DNS, more = machineResolvers(resolverFiles)
		notes = append(notes, more...)
	}
	if c.Resources.MemoryMiB == 0 {
		if c.Resources.MemoryMiB, err = machineMemory("/proc/meminfo"); err != nil {
			return Config{}, nil, err
		}
	}
	if c.Resources.DiskMiB == 0 {
		if c.Resources.DiskMiB, err = c.machineDisk(); err != nil {
			return Config{}, nil, err
		}
	}
	return c, notes, nil
}

// initProgram finds deacon-init.
func initProgram(configured string) (string, error) {
	path := configured
	if path == "" {
		own, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("agent: find deacon-init: %w", err)
		}
		path = filepath.Join(filepath.Dir(own), "deacon-init")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("agent: there is no %s, the program that every container needs; "+
			"put it beside deacon, or set node.init", path)
	case err != nil:
		return "", fmt.Errorf("agent: find deacon-init: %w", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return "", fmt.Errorf("agent: %s is no program; see node.init", path)
	}
	return path, nil
}

func (c Config) checkStack(s Stack) error {
	if s.Path == "" {
		return nil
	}
	if err := checkFolder(s.Path); err != nil {
		if s.Path == c.madeAt(s.Name) {
			return fmt.Errorf("agent: stack %s: %w; make it: deacon rootfs build %s (or import, or pull), "+
				"or say where it is: path = \"/...\".%s", s.Name, err, s.Name, settings.Suggest(s.Name, []string{HostStack}))
		}
		return fmt.Errorf("agent: stack %s: %w; bring its root file system there, or leave the stack out", s.Name, err)
	}
	return nil
}

func checkFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s on this machine", path)
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no folder", path)
	}
	return err
}

// check looks for what the block names on this machine.
func (w *Warden) check() error {
	if w.Rootfs.Name == "" {
		if err := checkFolder(w.Rootfs.Path); err != nil {
			return fmt.Errorf("agent: warden.rootfs: %w; bring a root file system there, or have the machine's "+
				"own /usr: rootfs = %q", err, HostStack)
		}
	}
	// A number needs no group of that number.
	if _, err := strconv.ParseUint(w.Group, 10, 31); err == nil || w.Group == "" {
		return nil
	}
	if _, err := user.LookupGroup(w.Group); err != nil {
		return fmt.Errorf("agent: warden.group: %w", err)
	}
	return nil
}

// outwardAddress is the address that the machine speaks from by default.
func outwardAddress() (netip.Addr, bool) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, false
	}
	best, found := netlink.Route{}, false
	for _, route := range routes {
		isDefault := route.Dst == nil || route.Dst.IP.IsUnspecified() && zeroLength(route)
		if isDefault && route.Table == unix.RT_TABLE_MAIN && (!found || route.Priority < best.Priority) {
			best, found = route, true
		}
	}
	if !found {
		return netip.Addr{}, false
	}
	if address, ok := netip.AddrFromSlice(best.Src.To4()); ok {
		return address, true
	}
	return linkAddress(best.LinkIndex)
}

func zeroLength(r netlink.Route) bool {
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

func linkAddress(index int) (netip.Addr, bool) {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return netip.Addr{}, false
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addresses {
		if address, ok := netip.AddrFromSlice(a.IP.To4()); ok && a.Scope == int(netlink.SCOPE_UNIVERSE) {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// resolverFiles are looked at in turn. systemd-resolved keeps the real
// resolvers in the second, and a loopback address in the first.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// machineResolvers are the resolvers that a container can ask too.
func machineResolvers(files []string) (resolvers []netip.Addr, notes []string) {
	for _, name := range files {
		body, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		for _, server := range nameservers(body) {
			switch {
			case server.IsLoopback():
				notes = append(notes, fmt.Sprintf("%s names the resolver %s, which only the machine itself can ask; "+
					"containers don't get it", name, server))
			case !server.Is4():
				notes = append(notes, fmt.Sprintf("%s names the resolver %s, and containers have no IPv6; "+
					"they don't get it", name, server))
			default:
				resolvers = append(resolvers, server)
			}
		}
		if len(resolvers) > 0 {
			return resolvers, notes
		}
	}
	return nil, append(notes, "containers have no resolver: names can't be looked up inside; set network.dns")
}

// nameservers reads resolv.conf's form; what isn't an address is passed over,
// as the C library does.
func nameservers(body []byte) []netip.Addr {
	var servers []netip.Addr
	for line := range strings.Lines(string(body)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if server, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, server.Unmap())
		}
	}
	return servers
}

// machineMemory is what the machine has, in MiB, less the reserve.
func machineMemory(meminfo string) (int64, error) {
	body, err := os.ReadFile(meminfo)
	if err != nil {
		return 0, fmt.Errorf("agent: how much memory is there: %w", err)
	}
	var total int64
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &total); err == nil {
			break
		}
	}
	mib := total >> 10
	mib -= memoryReserveMiB + mib/memoryReserveShare
	if mib < memoryMin>>20 {
		return 0, fmt.Errorf("agent: the machine's %d MiB of memory leave nothing for applications; "+
			"say how much they may have: resources { memory = ... }", total>>10)
	}
	return mib, nil
}

// machineDisk is how much applications may be promised, in MiB: the size of
// the pool, or what is free beside what the pool takes already.
func (c Config) machineDisk() (int64, error) {
	switch {
	case c.Disk.Driver == "tmpfs":
		return c.Resources.MemoryMiB, nil
	case c.Disk.PoolBytes > 0:
		return c.Disk.PoolBytes >> 20, nil
	}
	var fsStat unix.Statfs_t
	if err := unix.Statfs(c.Node.State, &fsStat); err != nil {
		return 0, fmt.Errorf("agent: how much disk is free at %s: %w", c.Node.State, err)
	}
	free := int64(fsStat.Bavail) * fsStat.Bsize
	images, err := filepath.Glob(filepath.Join(c.Node.State, "disk", "*"))
	if err != nil {
		return 0, fmt.Errorf("agent: how large is the pool: %w", err)
	}
	for _, image := range images {
		var st unix.Stat_t
		if err := unix.Lstat(image, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			free += st.Blocks * 512
		}
	}
	return free >> 20, nil
}
