package agent

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/slot"
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
	sharesMax       = 262144 // the kernel's
	processesMin    = 8
	countMax        = 1 << 40
	startsMost      = 1024
	portMin         = 1024
	mtuMin          = 576 // what every IPv4 host must take
	nameMax         = 64
)

// read turns the file into a configuration, starting from the default one.
func (f *configFile) read(r *attributeReader) Config {
	c := DefaultConfig()
	readBlock(f.Node, func(b *nodeBlock) { b.read(r, &c.Node) })
	readBlock(f.NATS, func(b *natsBlock) { b.read(r, &c.NATS) })
	readBlock(f.Resources, func(b *resourcesBlock) { b.read(r, &c.Resources) })
	readBlock(f.Intervals, func(b *intervalsBlock) { b.read(r, &c.Intervals) })
	readBlock(f.Instance, func(b *instanceBlock) { b.read(r, &c.Instance) })
	readBlock(f.Network, func(b *networkBlock) { b.read(r, &c.Network) })
	readBlock(f.Disk, func(b *diskBlock) {
		choice(r, b.Driver, &c.Disk.Driver, "auto", "btrfs", "tmpfs", "none")
		r.size(b.PoolSize, &c.Disk.PoolBytes, poolSizeMin, sizeMax)
		if b.PoolSize != nil && (c.Disk.Driver == "tmpfs" || c.Disk.Driver == "none") {
			r.warn(b.PoolSize, "disk.pool_size has no effect with the driver %q", c.Disk.Driver)
		}
	})
	readBlock(f.Log, func(b *logBlock) {
		choice(r, b.Level, &c.Log.Level, "trace", "debug", "info", "warn", "error")
		choice(r, b.Format, &c.Log.Format, "text", "json")
		r.path(b.File, &c.Log.File)
		r.text(b.Syslog, &c.Log.Syslog)
		if b.Syslog != nil && !identForm.MatchString(c.Log.Syslog) {
			r.fault(b.Syslog, "Not a name for syslog", "\"syslog\" has 1 to 64 letters, digits, dots, dashes and underscores.")
		}
	})
	if len(f.Stacks) > 0 {
		c.Stacks = readStacks(r, f.Stacks)
	}
	readBlock(f.Warden, func(b *wardenBlock) { c.Warden = b.read(r, c.Stacks) })
	readBlock(f.Chaos, func(b *chaosBlock) { b.read(r, &c.Chaos) })
	f.compare(r, c)
	return c
}

func readBlock[B any](block *B, read func(*B)) {
	if block != nil {
		read(block)
	}
}

// compare looks at what belongs to more than one block.
func (f *configFile) compare(r *attributeReader, c Config) {
	if f.Node != nil && f.Node.ShutdownTimeout != nil && c.Node.ShutdownTimeout < c.Instance.StopGrace {
		r.warn(f.Node.ShutdownTimeout, "node.shutdown_timeout is shorter than instance.stop_grace: "+
			"a shutdown kills applications before their grace is over")
	}
	if f.Node != nil && f.Node.Address != nil && c.Network.Pool.Contains(c.Node.Address) {
		r.fault(f.Node.Address, "The node's address is in the containers' pool",
			"%s is one of network.pool's %s, which are given to containers.", c.Node.Address, c.Network.Pool)
	}
	if w := f.Warden; w != nil && w.DiskQuota != nil && c.Warden.DiskQuota && c.Disk.Driver == "none" {
		r.warn(w.DiskQuota, "warden.disk_quota has no effect with the disk driver %q", c.Disk.Driver)
	}
}

// tokenForm is what may stand in a subject: a dot or a wildcard in it would
// subscribe to something else.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// identForm is what syslog's readers take for a name as a whole.
var identForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (b *nodeBlock) read(r *attributeReader, n *Node) {
	r.path(b.State, &n.State)
	r.text(b.ID, &n.ID)
	if b.ID != nil && n.ID != "" && !tokenForm.MatchString(n.ID) {
		r.fault(b.ID, "Not an id", "\"id\" becomes a part of subjects: "+
			"it has 1 to 64 letters, digits, dashes and underscores. Leave it out to have one chosen.")
	}
	r.address(b.Address, &n.Address)
	whole(r, b.Index, &n.Index, 0, indexMax)
	r.text(b.Zone, &n.Zone)
	if b.Zone != nil && (n.Zone == "" || len(n.Zone) > nameMax) {
		r.fault(b.Zone, "Not a zone", "\"zone\" has 1 to %d characters.", nameMax)
	}
	whole(r, b.UIDBase, &n.UIDBase, slot.UIDsPerSlot, math.MaxUint32-2*slot.UIDsPerSlot)
	choice(r, b.OnTerm, &n.OnTerm, Detach, Shutdown)
	b.readOnUSR2(r, n)
	choice(r, b.OnReboot, &n.OnReboot, StartAgain, Report)
	r.duration(b.ShutdownTimeout, &n.ShutdownTimeout, time.Second, timeoutMax)
	r.path(b.Init, &n.Init)
}

// readOnUSR2 knows the word for what a later version does, so that nobody looks
// for a misspelling.
func (b *nodeBlock) readOnUSR2(r *attributeReader, n *Node) {
	const evacuate = OnTerm("evacuate")
	var wanted OnTerm
	choice(r, b.OnUSR2, &wanted, Detach, evacuate)
	if wanted == evacuate {
		r.fault(b.OnUSR2, "Not built yet", "Evacuating, which has other nodes start the applications first, "+
			"is not built yet. \"on_usr2\" can be \"detach\"; left out, the signal does nothing.")
		return
	}
	n.OnUSR2 = wanted
}

func (b *natsBlock) read(r *attributeReader, n *NATS) {
	if servers, ok := r.texts(b.Servers); ok {
		n.Servers = servers
		b.checkServers(r, servers)
	}
	r.text(b.User, &n.User)
	r.text(b.Password, &n.Password)
	r.path(b.PasswordFile, &n.PasswordFile)
	r.text(b.Token, &n.Token)
	r.path(b.NkeyFile, &n.NkeyFile)
	r.path(b.CredsFile, &n.CredsFile)
	readBlock(b.TLS, func(t *tlsBlock) { t.read(r, &n.TLS) })
	b.checkLogin(r)
}

// checkServers never quotes an URL as it was given: there may be a password in it.
func (b *natsBlock) checkServers(r *attributeReader, servers []string) {
	if len(servers) == 0 {
		r.fault(b.Servers, "No server", "\"servers\" must name at least one, such as \"nats://127.0.0.1:4222\".")
	}
	for i, server := range servers {
		u, err := url.Parse(server)
		switch {
		case !strings.Contains(server, "://") && !strings.Contains(server, "@"):
			r.fault(b.Servers, "Not a server", "Server %d has no scheme. Did you mean %q?", i+1, "nats://"+server)
		case err != nil:
			r.fault(b.Servers, "Not a server", "Server %d is no URL such as \"nats://127.0.0.1:4222\".", i+1)
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			r.fault(b.Servers, "Not a server", "Server %d has the scheme %q; there are nats, tls, ws and wss.%s",
				i+1, u.Scheme, suggest(u.Scheme, []string{"nats", "tls"}))
		case u.Hostname() == "":
			r.fault(b.Servers, "Not a server", "Server %d has no host name.", i+1)
		}
	}
}

func (b *natsBlock) checkLogin(r *attributeReader) {
	if b.Password != nil && b.PasswordFile != nil {
		r.fault(b.PasswordFile, "Two passwords", "There is \"password\" too; only one of the two can hold.")
	}
	if b.User == nil {
		if a := given(b.Password, b.PasswordFile); a != nil {
			r.fault(a, "A password without a user", "%q needs \"user\" beside it.", a.Name)
		}
	}
	var first *hcl.Attribute
	for _, a := range []*hcl.Attribute{b.Token, b.User, b.NkeyFile, b.CredsFile} {
		switch {
		case a == nil:
		case first == nil:
			first = a
		default:
			r.fault(a, "Two ways to log in", "There is %q too; choose one of user, token, nkey_file and creds_file.",
				first.Name)
		}
	}
}

func (b *tlsBlock) read(r *attributeReader, t *TLS) {
	r.path(b.CA, &t.CA)
	r.path(b.Cert, &t.Cert)
	r.path(b.Key, &t.Key)
	switch {
	case b.Cert != nil && b.Key == nil:
		r.fault(b.Cert, "A certificate without its key", "\"cert\" needs \"key\" beside it.")
	case b.Key != nil && b.Cert == nil:
		r.fault(b.Key, "A key without its certificate", "\"key\" needs \"cert\" beside it.")
	}
}

func (b *resourcesBlock) read(r *attributeReader, n *Resources) {
	const mib = 1 << 20
	memory, disk := n.MemoryMiB*mib, n.DiskMiB*mib
	r.size(b.Memory, &memory, memoryMin, sizeMax)
	r.size(b.Disk, &disk, diskMin, sizeMax)
	n.MemoryMiB, n.DiskMiB = memory/mib, disk/mib
	r.factor(b.MemoryOvercommit, &n.MemoryOvercommit, overcommitMin, overcommitMax)
	r.factor(b.DiskOvercommit, &n.DiskOvercommit, overcommitMin, overcommitMax)
}

func (b *intervalsBlock) read(r *attributeReader, n *Intervals) {
	r.duration(b.Heartbeat, &n.Heartbeat, intervalMin, heartbeatMax)
	r.duration(b.Advertise, &n.Advertise, intervalMin, advertiseMax)
	r.duration(b.RouterRegister, &n.RouterRegister, intervalMin, routerRegisterMax)
}

func (b *instanceBlock) read(r *attributeReader, n *Instance) {
	r.duration(b.HealthCheckTimeout, &n.HealthCheckTimeout, time.Second, timeoutMax)
	r.duration(b.StopGrace, &n.StopGrace, 0, graceMax)
	whole(r, b.MemoryToCPUShareRatio, &n.MemoryToCPUShareRatio, 1, countMax)
	whole(r, b.CPUSharesMin, &n.CPUSharesMin, 1, sharesMax)
	whole(r, b.CPUSharesMax, &n.CPUSharesMax, 1, sharesMax)
	whole(r, b.DiskInodes, &n.DiskInodes, 1000, countMax)
	whole(r, b.Processes, &n.Processes, processesMin, 1<<22)
	r.duration(b.CrashLifetime, &n.CrashLifetime, 0, crashKeptMax)
	r.size(b.OutputMax, &n.OutputMaxBytes, outputMin, sizeMax)
	whole(r, b.StartsMax, &n.StartsMax, 1, startsMost)
	whole(r, b.Spares, &n.Spares, 0, startsMost)
	if n.CPUSharesMin > n.CPUSharesMax {
		r.fault(given(b.CPUSharesMin, b.CPUSharesMax), "Bounds crossed", "cpu_shares_min %d is above cpu_shares_max %d.",
			n.CPUSharesMin, n.CPUSharesMax)
	}
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

func (b *networkBlock) read(r *attributeReader, n *Network) {
	r.prefix(b.Pool, &n.Pool)
	whole(r, b.PortFirst, &n.PortFirst, portMin, math.MaxUint16)
	whole(r, b.PortLast, &n.PortLast, portMin, math.MaxUint16)
	if b.MTU != nil {
		n.MTU = mtuMin
		whole(r, b.MTU, &n.MTU, mtuMin, math.MaxUint16)
	}
	choice(r, b.Egress, &n.Egress, network.Allow, network.Reject)
	r.prefixes(b.Denied, &n.Denied)
	r.prefixes(b.Allowed, &n.Allowed)
	r.truth(b.HostAccess, &n.HostAccess)
	r.duration(b.ReleaseDelay, &n.ReleaseDelay, 0, releaseDelayMax)
	r.addresses(b.DNS, &n.DNS)
	r.truth(b.Loopback, &n.Loopback)
	b.checkPool(r, *n)
	b.checkAllowed(r, *n)
	b.checkPorts(r, *n)
}

func readStacks(r *attributeReader, blocks []*stackBlock) []Stack {
	var stacks []Stack
	first := map[string]hcl.Range{}
	for _, b := range blocks {
		s := Stack{Name: b.Name}
		r.path(b.Path, &s.Path)
		fault := func(summary, detail string) { r.say(hcl.DiagError, b.NameRange, summary, detail) }
		earlier, twice := first[b.Name]
		switch {
		case b.Name == "" || len(b.Name) > nameMax:
			fault("Not a stack's name", "A stack's name has 1 to 64 characters.")
		case twice:
			fault("Stack given twice", "The stack "+b.Name+" is already given at "+earlier.String()+".")
		case b.Name == HostStack && b.Path != nil:
			r.fault(b.Path, "The stack host has no path",
				"It is generated from the machine's own /usr. Give the stack another name to use a folder.")
		case b.Name != HostStack && b.Path == nil:
			fault("A stack without a path",
				"Where is its root file system? Only \"host\" is generated; others need path = \"/...\"."+
					suggest(b.Name, []string{HostStack}))
		}
		first[b.Name] = b.NameRange
		stacks = append(stacks, s)
	}
	return stacks
}
