package legacy

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Imported is a foreign configuration in deacon's words.
type Imported struct {
	HCL []byte
	// Notes are what was passed over and what has no counterpart, each with file
	// and line.
	Notes []string
}

// Import translates a Warden's configuration. What is wrong with it comes as
// one *ImportError; name is what faults and notes call the file.
func Import(name string, src []byte, m Machine) (Imported, error) {
	d := &document{name: name}
	w := d.readWarden(d.parse(src))
	d.addresses(&w)
	d.ports(&w, m)
	if w.rootfs.given() && m.HasFolder != nil && !m.HasFolder(w.rootfs.value) {
		d.note(w.rootfs.line, "%s: there is no folder %s on this machine, and no node starts without it; bring it there, "+
			"or write rootfs = \"host\" in the warden block, which is the machine's own /usr", w.rootfs.path, w.rootfs.value)
	}
	if err := d.err(); err != nil {
		return Imported{}, err
	}
	return Imported{HCL: d.write(w), Notes: d.told()}, nil
}

// What Warden takes where its configuration says nothing.
const (
	socketDefault      = "/tmp/warden.sock"
	modeDefault        = 0o755
	graceDefault       = 300
	outputLimitDefault = 10 << 20
	poolDefault        = "10.254.0.0/24"
	healthPortDefault  = 2345
	levelDefault       = "debug2"
	linuxClass         = "Warden::Container::Linux"
	insecureClass      = "Warden::Container::Insecure"
)

// Bounds that a value must keep to be one of deacon's.
const (
	socketPathMax  = 107
	outputLimitMax = 1 << 50
	mtuMin         = 576
	delayMax       = 3600
	uidsPerSlot    = 1 << 16
	uidMax         = math.MaxUint32 - 2*uidsPerSlot
)

// rlimitNames are those of container_rlimits.
var rlimitNames = []string{
	"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
	"sigpending", "stack",
}

// The keys of wire/warden.md h.
var (
	topKeys    = []string{"server", "health_check_server", "logging", "network", "port", "user"}
	serverKeys = []string{
		"unix_domain_path", "unix_domain_permissions", "container_klass", "container_rootfs_path",
		"container_depot_path", "container_grace_time", "container_rlimits", "job_output_limit", "quota",
		"allow_nested_warden", "pidfile", "syslog_socket",
	}
	quotaKeys   = []string{"disk_quota_enabled"}
	healthKeys  = []string{"port"}
	loggingKeys = []string{"level", "file", "syslog"}
	networkKeys = []string{
		"pool_network", "pool_start_address", "pool_size", "release_delay", "allow_networks", "allow_host_access",
		"mtu", "dns_servers",
	}
	portKeys = []string{"pool_start_port", "pool_size"}
	userKeys = []string{"pool_start_uid", "pool_size"}
)

// formerKeys are those of older Wardens that an operator may still count on.
var formerKeys = map[string]string{
	"container_limits_conf": "a key of older Wardens, with other units; say it as server.container_rlimits",
	"deny_networks": "a key of older Wardens; containers reach nothing but what allow_networks and their own " +
		"rules name",
}

// warden is what a Warden's configuration says.
type warden struct {
	socket, class, rootfs, depot, pidFile, syslogSocket setting[string]
	mode, outputLimit                                   setting[uint64]
	grace                                               setting[uint64]
	graceNever                                          int // line of the null; 0: none
	quota, nested                                       setting[bool]
	rlimits                                             []setting[uint64]

	healthPort                       setting[uint64]
	logLevel, logFile, logSyslog     setting[string]
	poolNetwork, poolStart           setting[string]
	poolSize, releaseDelay, mtu      setting[uint64]
	hostAccess                       setting[bool]
	allowNetworks, dnsServers        setting[[]string]
	portStart, portCount             setting[uint64]
	uidStart, uidCount               setting[uint64]
	pool                             netip.Prefix // from poolNetwork, or from poolStart and poolSize
	allowed                          []string     // networks, as deacon writes them
	portFirst, portLast, ephemeralTo uint64
}

func (d *document) readWarden(top mapping) warden {
	d.expect(top, topKeys, nil)
	var w warden
	d.readServer(top, &w)
	health := d.below(top, "health_check_server")
	d.expect(health, healthKeys, nil)
	w.healthPort = d.whole(health, "port", 1, math.MaxUint16)
	d.readLogging(top, &w)

	network := d.below(top, "network")
	d.expect(network, networkKeys, formerKeys)
	w.poolNetwork, w.poolStart = d.text(network, "pool_network"), d.text(network, "pool_start_address")
	w.poolSize = d.whole(network, "pool_size", 1, 1<<22)
	w.releaseDelay = d.whole(network, "release_delay", 0, delayMax)
	w.allowNetworks, w.hostAccess = d.texts(network, "allow_networks"), d.truth(network, "allow_host_access")
	w.mtu, w.dnsServers = d.whole(network, "mtu", mtuMin, math.MaxUint16), d.texts(network, "dns_servers")
	for _, server := range w.dnsServers.value {
		if a, err := netip.ParseAddr(server); err != nil || !a.Is4() {
			d.fault(w.dnsServers.line, "%s: %q is no IPv4 address", w.dnsServers.path, server)
		}
	}

	port := d.below(top, "port")
	d.expect(port, portKeys, nil)
	w.portStart = d.whole(port, "pool_start_port", 1, math.MaxUint16)
	w.portCount = d.whole(port, "pool_size", 1, math.MaxUint16)

	user := d.below(top, "user")
	d.expect(user, userKeys, nil)
	w.uidStart = d.whole(user, "pool_start_uid", 1, math.MaxUint32-1)
	w.uidCount = d.whole(user, "pool_size", 1, math.MaxUint32-1)
	return w
}

func (d *document) readServer(top mapping, w *warden) {
	server := d.below(top, "server")
	d.expect(server, serverKeys, formerKeys)
	w.socket = d.path(server, "unix_domain_path")
	if len(w.socket.value) > socketPathMax {
		d.fault(w.socket.line, "%s has %d bytes; the kernel takes a path of at most %d", w.socket.path,
			len(w.socket.value), socketPathMax)
	}
	w.mode = d.whole(server, "unix_domain_permissions", 0, math.MaxUint16)
	if w.mode.value > 0o777 {
		d.fault(w.mode.line, "%s is %#o in octal, and must be at most 0777; is a 0 missing in front?",
			w.mode.path, w.mode.value)
	}
	w.class = d.text(server, "container_klass")
	if c := w.class.value; c != "" && c != linuxClass && c != insecureClass {
		d.fault(w.class.line, "%s must be %s or %s", w.class.path, linuxClass, insecureClass)
	}
	w.rootfs, w.depot = d.path(server, "container_rootfs_path"), d.path(server, "container_depot_path")
	d.readGrace(server, w)
	rlimits := d.below(server, "container_rlimits")
	d.expect(rlimits, rlimitNames, nil)
	for _, name := range rlimitNames {
		if limit := d.whole(rlimits, name, 0, math.MaxUint64); limit.given() {
			w.rlimits = append(w.rlimits, limit)
		}
	}
	w.outputLimit = d.whole(server, "job_output_limit", 0, outputLimitMax)
	quota := d.below(server, "quota")
	d.expect(quota, quotaKeys, nil)
	w.quota = d.truth(quota, "disk_quota_enabled")
	w.nested = d.truth(server, "allow_nested_warden")
	w.pidFile, w.syslogSocket = d.path(server, "pidfile"), d.path(server, "syslog_socket")
}

const graceKey = "container_grace_time"

// readGrace reads the one setting in which null says something: never.
func (d *document) readGrace(server mapping, w *warden) {
	if s, ok := server.said[graceKey]; ok && kindOf(target(s.node)) == kindNull {
		w.graceNever = s.line
		return
	}
	w.grace = d.whole(server, graceKey, 0, math.MaxUint32)
}

// levels are Steno's in deacon's words.
var levels = map[string]string{
	"off": "error", "fatal": "error", "error": "error", "warn": "warn", "info": "info", "debug": "debug",
	"debug1": "debug", "debug2": "debug", "all": "trace",
}

var identForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func (d *document) readLogging(top mapping, w *warden) {
	logging := d.below(top, "logging")
	d.expect(logging, loggingKeys, nil)
	w.logLevel = d.text(logging, "level")
	if w.logLevel.given() && levels[w.logLevel.value] == "" {
		d.fault(w.logLevel.line, "%s: there is no level %q; there are off, fatal, error, warn, info, debug, debug1, "+
			"debug2 and all", w.logLevel.path, w.logLevel.value)
	}
	w.logFile, w.logSyslog = d.path(logging, "file"), d.text(logging, "syslog")
	if w.logSyslog.given() && !identForm.MatchString(w.logSyslog.value) {
		d.fault(w.logSyslog.line, "%s must have 1 to 64 letters, digits, dots, dashes and underscores", w.logSyslog.path)
	}
}

// path reads an absolute path. Warden takes others from wherever it was
// started, and that isn't known here.
func (d *document) path(m mapping, key string) setting[string] {
	p := d.text(m, key)
	if !p.given() {
		return p
	}
	if !filepath.IsAbs(p.value) || strings.ContainsRune(p.value, 0) {
		d.fault(p.line, "%s must be a path that begins with /", p.path)
		return p
	}
	p.value = filepath.Clean(p.value)
	return p
}

// Machine is what Warden asks the machine where its configuration says nothing,
// and what the configuration needs of it.
type Machine struct {
	EphemeralLast uint16                 // the highest port that the kernel gives to connections
	HasFolder     func(path string) bool // nil: nobody knows
}

// ThisMachine asks the one that this program runs on; what it doesn't tell is
// what kernels do by default.
func ThisMachine() Machine {
	m := Machine{EphemeralLast: 60999, HasFolder: func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}}
	body, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return m
	}
	var first, last uint16
	if scanned(string(body), &first, &last) {
		m.EphemeralLast = last
	}
	return m
}
