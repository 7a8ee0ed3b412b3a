package agent

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/output"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/staging/stack"
)

// What other programs of the wire put up with (wire/dea.md a.6, a.8, a.10).
const (
	heartbeatMax      = 10 * time.Second // three make the 30 s after which the health manager forgets a node
	advertiseMax      = 9 * time.Second  // the cloud controller forgets an offer after 10 s
	routerRegisterMax = 110 * time.Second
	intervalMin       = time.Second
)

// Bounds of what is configured freely.
const (
	indexMax     = 1 << 20
	timeoutMax   = time.Hour
	graceMax     = 10 * time.Minute
	evacuateMax  = 7 * 24 * time.Hour
	crashKeptMax = 30 * 24 * time.Hour
	// A slot that rests is a container fewer.
	releaseDelayMax = time.Hour
	overcommitMin   = 0.1
	overcommitMax   = 100
	sizeMax         = 1 << 50
	memoryMin       = 64 << 20
	diskMin         = 64 << 20
	poolSizeMin     = 256 << 20
	outputMin       = 64 << 10
	rateMin         = 1 << 10
	rateMax         = 1 << 40
	burstShare      = 10     // of a second: the burst that a rate has where none is given
	sharesMax       = 262144 // the kernel's
	processesMin    = 8
	countMax        = 1 << 40
	startsMost      = 1024
	sessionsMost    = 1024
	logRateMost     = 1 << 20
	logLineMin      = 256
	portMin         = 1024
	mtuMin          = 576 // what every IPv4 host must take
	nameMax         = 64
)

// read turns the file into a configuration, starting from the default one.
func (f *configFile) read(r *settings.Reader) Config {
	c := DefaultConfig()
	readBlock(f.Node, func(b *nodeBlock) { b.read(r, &c.Node) })
	readBlock(f.NATS, func(b *natsBlock) { b.read(r, &c.NATS) })
	readBlock(f.Resources, func(b *resourcesBlock) { b.read(r, &c.Resources) })
	readBlock(f.Intervals, func(b *intervalsBlock) { b.read(r, &c.Intervals) })
	readBlock(f.Instance, func(b *instanceBlock) { b.read(r, &c.Instance) })
	readBlock(f.Hooks, func(b *hooksBlock) { b.read(r, &c.Hooks) })
	c.Runtimes = readRuntimes(r, f.Runtimes)
	c.Binds = readBinds(r, f.Binds)
	readBlock(f.Network, func(b *networkBlock) { b.read(r, &c.Network) })
	readBlock(f.Disk, func(b *diskBlock) {
		settings.Choice(r, b.Driver, &c.Disk.Driver, "auto", "btrfs", "tmpfs", "none")
		r.Size(b.PoolSize, &c.Disk.PoolBytes, poolSizeMin, sizeMax)
		if b.PoolSize != nil && (c.Disk.Driver == "tmpfs" || c.Disk.Driver == "none") {
			r.Warn(b.PoolSize, "disk.pool_size has no effect with the driver %q", c.Disk.Driver)
		}
	})
	readBlock(f.Log, func(b *logBlock) {
		settings.Choice(r, b.Level, &c.Log.Level, "trace", "debug", "info", "warn", "error")
		settings.Choice(r, b.Format, &c.Log.Format, "text", "json")
		r.Path(b.File, &c.Log.File)
		r.Text(b.Syslog, &c.Log.Syslog)
		if b.Syslog != nil && !identForm.MatchString(c.Log.Syslog) {
			r.Fault(b.Syslog, "Not a name for syslog", "\"syslog\" has 1 to 64 letters, digits, dots, dashes and underscores.")
		}
	})
	if len(f.Stacks) > 0 {
		c.Stacks = readStacks(r, f.Stacks, c.Node.State)
	}
	readBlock(f.Warden, func(b *wardenBlock) { c.Warden = b.read(r, c.Stacks) })
	readBlock(f.Status, func(b *statusBlock) { b.read(r, &c.Status) })
	readBlock(f.Chaos, func(b *chaosBlock) { b.read(r, &c.Chaos) })
	readBlock(f.Directory, func(b *directoryBlock) { c.Directory = b.read(r, c.Network) })
	f.compare(r, c)
	return c
}

func readBlock[B any](block *B, read func(*B)) {
	if block != nil {
		read(block)
	}
}

// compare looks at what belongs to more than one block.
func (f *configFile) compare(r *settings.Reader, c Config) {
	if f.Node != nil && f.Node.ShutdownTimeout != nil && c.Node.ShutdownTimeout < c.Instance.StopGrace {
		r.Warn(f.Node.ShutdownTimeout, "node.shutdown_timeout is shorter than instance.stop_grace: "+
			"a shutdown kills applications before their grace is over")
	}
	if f.Node != nil && f.Node.Address != nil && c.Network.Pool.Contains(c.Node.Address) {
		r.Fault(f.Node.Address, "The node's address is in the containers' pool",
			"%s is one of network.pool's %s, which are given to containers.", c.Node.Address, c.Network.Pool)
	}
	if w := f.Warden; w != nil && w.DiskQuota != nil && c.Warden.DiskQuota && c.Disk.Driver == "none" {
		r.Warn(w.DiskQuota, "warden.disk_quota has no effect with the disk driver %q", c.Disk.Driver)
	}
}

// tokenForm is what may stand in a subject: a dot or a wildcard in it would
// subscribe to something else.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// identForm is what syslog's readers take for a name as a whole.
var identForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (b *nodeBlock) read(r *settings.Reader, n *Node) {
	r.Path(b.State, &n.State)
	r.Text(b.ID, &n.ID)
	if b.ID != nil && n.ID != "" && !tokenForm.MatchString(n.ID) {
		r.Fault(b.ID, "Not an id", "\"id\" becomes a part of subjects: "+
			"it has 1 to 64 letters, digits, dashes and underscores. Leave it out to have one chosen.")
	}
	r.Address(b.Address, &n.Address)
	settings.Whole(r, b.Index, &n.Index, 0, indexMax)
	r.Text(b.Zone, &n.Zone)
	if b.Zone != nil && (n.Zone == "" || len(n.Zone) > nameMax) {
		r.Fault(b.Zone, "Not a zone", "\"zone\" has 1 to %d characters.", nameMax)
	}
	settings.Whole(r, b.UIDBase, &n.UIDBase, slot.UIDsPerSlot, math.MaxUint32-2*slot.UIDsPerSlot)
	settings.Choice(r, b.OnTerm, &n.OnTerm, Detach, Shutdown, Evacuate)
	settings.Choice(r, b.OnUSR2, &n.OnUSR2, Evacuate, Detach)
	settings.Choice(r, b.OnReboot, &n.OnReboot, StartAgain, Report)
	r.Duration(b.ShutdownTimeout, &n.ShutdownTimeout, time.Second, timeoutMax)
	r.Duration(b.EvacuateWithin, &n.EvacuateWithin, time.Second, evacuateMax)
	r.Path(b.Init, &n.Init)
}

func (b *natsBlock) read(r *settings.Reader, n *NATS) {
	if servers, ok := r.Texts(b.Servers); ok {
		n.Servers = servers
		b.checkServers(r, servers)
	}
	r.Text(b.User, &n.User)
	r.Text(b.Password, &n.Password)
	r.Path(b.PasswordFile, &n.PasswordFile)
	r.Text(b.Token, &n.Token)
	r.Path(b.NkeyFile, &n.NkeyFile)
	r.Path(b.CredsFile, &n.CredsFile)
	readBlock(b.TLS, func(t *tlsBlock) { t.read(r, &n.TLS) })
	b.checkLogin(r)
}

// checkServers never quotes an URL as it was given: there may be a password in it.
func (b *natsBlock) checkServers(r *settings.Reader, servers []string) {
	if len(servers) == 0 {
		r.Fault(b.Servers, "No server", "\"servers\" must name at least one, such as \"nats://127.0.0.1:4222\".")
	}
	for i, server := range servers {
		u, err := url.Parse(server)
		switch {
		case !strings.Contains(server, "://") && !strings.Contains(server, "@"):
			r.Fault(b.Servers, "Not a server", "Server %d has no scheme. Did you mean %q?", i+1, "nats://"+server)
		case err != nil:
			r.Fault(b.Servers, "Not a server", "Server %d is no URL such as \"nats://127.0.0.1:4222\".", i+1)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			r.Fault(b.Servers, "Not a server", "Server %d has the scheme %q; there are nats, tls, ws and wss.%s",
				i+1, u.Scheme, settings.Suggest(u.Scheme, []string{"nats", "tls"}))
		case u.Hostname() == "":
			r.Fault(b.Servers, "Not a server", "Server %d has no host name.", i+1)
		}
	}
}

func (b *natsBlock) checkLogin(r *settings.Reader) {
	if b.Password != nil && b.PasswordFile != nil {
		r.Fault(b.PasswordFile, "Two passwords", "There is \"password\" too; only one of the two can hold.")
	}
	if b.User == nil {
		if a := given(b.Password, b.PasswordFile); a != nil {
			r.Fault(a, "A password without a user", "%q needs \"user\" beside it.", a.Name)
		}
	}
	var first *hcl.Attribute
	for _, a := range []*hcl.Attribute{b.Token, b.User, b.NkeyFile, b.CredsFile} {
		switch {
		case a == nil:
		case first == nil:
			first = a
		default:
			r.Fault(a, "Two ways to log in", "There is %q too; choose one of user, token, nkey_file and creds_file.",
				first.Name)
		}
	}
}

func (b *tlsBlock) read(r *settings.Reader, t *TLS) {
	r.Path(b.CA, &t.CA)
	r.Path(b.Cert, &t.Cert)
	r.Path(b.Key, &t.Key)
	checkPair(r, b.Cert, b.Key)
}

func (b *resourcesBlock) read(r *settings.Reader, n *Resources) {
	const mib = 1 << 20
	memory, disk := n.MemoryMiB*mib, n.DiskMiB*mib
	r.Size(b.Memory, &memory, memoryMin, sizeMax)
	r.Size(b.Disk, &disk, diskMin, sizeMax)
	n.MemoryMiB, n.DiskMiB = memory/mib, disk/mib
	r.Factor(b.MemoryOvercommit, &n.MemoryOvercommit, overcommitMin, overcommitMax)
	r.Factor(b.DiskOvercommit, &n.DiskOvercommit, overcommitMin, overcommitMax)
}

func (b *intervalsBlock) read(r *settings.Reader, n *Intervals) {
	r.Duration(b.Heartbeat, &n.Heartbeat, intervalMin, heartbeatMax)
	r.Duration(b.Advertise, &n.Advertise, intervalMin, advertiseMax)
	r.Duration(b.RouterRegister, &n.RouterRegister, intervalMin, routerRegisterMax)
}

func (b *instanceBlock) read(r *settings.Reader, n *Instance) {
	r.Duration(b.HealthCheckTimeout, &n.HealthCheckTimeout, time.Second, timeoutMax)
	r.Duration(b.StopGrace, &n.StopGrace, 0, graceMax)
	settings.Whole(r, b.MemoryToCPUShareRatio, &n.MemoryToCPUShareRatio, 1, countMax)
	settings.Whole(r, b.CPUSharesMin, &n.CPUSharesMin, 1, sharesMax)
	settings.Whole(r, b.CPUSharesMax, &n.CPUSharesMax, 1, sharesMax)
	settings.Whole(r, b.DiskInodes, &n.DiskInodes, 1000, countMax)
	settings.Whole(r, b.Processes, &n.Processes, processesMin, 1<<22)
	r.Duration(b.CrashLifetime, &n.CrashLifetime, 0, crashKeptMax)
	settings.Whole(r, b.LogRate, &n.LogRate, 0, logRateMost)
	r.Size(b.LogLineMax, &n.LogLineMaxBytes, logLineMin, output.LineMax)
	settings.Whole(r, b.SessionsMax, &n.Sessions, 0, sessionsMost)
	r.Size(b.OutputMax, &n.OutputMaxBytes, outputMin, sizeMax)
	settings.Whole(r, b.StartsMax, &n.StartsMax, 1, startsMost)
	settings.Whole(r, b.Spares, &n.Spares, 0, startsMost)
	if n.CPUSharesMin > n.CPUSharesMax {
		r.Fault(given(b.CPUSharesMin, b.CPUSharesMax), "Bounds crossed", "cpu_shares_min %d is above cpu_shares_max %d.",
			n.CPUSharesMin, n.CPUSharesMax)
	}
	readBlock(b.Bandwidth, func(l *bandwidthBlock) { l.read(r, &n.Bandwidth) })
}

func (b *bandwidthBlock) read(r *settings.Reader, n *isolation.Bandwidth) {
	if b.Rate == nil {
		if b.Burst != nil {
			r.Fault(b.Burst, "A burst without a rate", "\"burst\" needs \"rate\" beside it.")
		}
		return
	}
	var rate int64
	r.Size(b.Rate, &rate, rateMin, rateMax)
	burst := min(rate/burstShare, math.MaxUint32)
	r.Size(b.Burst, &burst, 0, math.MaxUint32)
	*n = isolation.Bandwidth{Rate: uint64(rate), Burst: uint64(burst)}
}

// given is the first of the attributes that the file has: where a fault of two
// values is shown.
func given(attributes ...*hcl.Attribute) *hcl.Attribute {
	for _, a := range attributes {
		if a != nil {
			return a
		}
	}
	return nil
}

func (b *networkBlock) read(r *settings.Reader, n *Network) {
	r.Prefix(b.Pool, &n.Pool)
	settings.Whole(r, b.PortFirst, &n.PortFirst, portMin, math.MaxUint16)
	settings.Whole(r, b.PortLast, &n.PortLast, portMin, math.MaxUint16)
	if b.MTU != nil {
		n.MTU = mtuMin
		settings.Whole(r, b.MTU, &n.MTU, mtuMin, math.MaxUint16)
	}
	settings.Choice(r, b.Egress, &n.Egress, network.Allow, network.Reject)
	r.Prefixes(b.Denied, &n.Denied)
	r.Prefixes(b.Allowed, &n.Allowed)
	r.Truth(b.HostAccess, &n.HostAccess)
	r.Duration(b.ReleaseDelay, &n.ReleaseDelay, 0, releaseDelayMax)
	r.Addresses(b.DNS, &n.DNS)
	r.Truth(b.Loopback, &n.Loopback)
	b.checkPool(r, *n)
	b.checkAllowed(r, *n)
	b.checkPorts(r, *n)
}

// readStacks reads the stacks of a node with a state folder: what has no path is
// where deacon rootfs makes it.
func readStacks(r *settings.Reader, blocks []*stackBlock, state string) []Stack {
	var stacks []Stack
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		s := Stack{Name: b.Name}
		r.Path(b.Path, &s.Path)
		fault := func(summary, detail string) { r.FaultAt(b.NameRange, summary, "%s", detail) }
		earlier, twice := first[b.Name]
		switch {
		case b.Name == "" || len(b.Name) > nameMax:
			fault("Not a stack's name", "A stack's name has 1 to 64 characters.")
		case twice:
			fault("Stack given twice", "The stack "+b.Name+" is already given at "+earlier.String()+".")
		case b.Name == HostStack && b.Path != nil:
			r.Fault(b.Path, "The stack host has no path",
				"It is generated from the machine's own /usr. Give the stack another name to use a folder.")
		case b.Name != HostStack && b.Path == nil && !stack.ValidName(b.Name):
			fault("Not a name for a stack without a path",
				"Without a path, a stack is the one that deacon rootfs makes, whose name has 1 to 64 letters, digits, "+
					"dots, dashes and underscores. Give this one another name, or a path = \"/...\".")
		case b.Name != HostStack && b.Path == nil:
			s.Path = stack.TreePath(stacksFolder(state), b.Name)
		}
		first[b.Name] = b.NameRange
		stacks = append(stacks, s)
	}
	return stacks
}
