package agent

import (
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/network"
	"github.com/deacon-agent/deacon/isolation/output"
)

// Config is the node's configuration: read from config.hcl once, checked
// there, typed ever after. What the file leaves to the machine is zero until
// Resolve has looked.
type Config struct {
	Node      Node
	NATS      NATS
	Resources Resources
	Intervals Intervals
	Instance  Instance
	Hooks     Hooks
	Binds     []BindMount // in every application's container, in their order
	Runtimes  []Runtime   // of the first era, by name
	Network   Network
	Disk      Disk
	Stacks    []Stack // at least one; the first is the default
	Log       Log
	Warden    *Warden // nil: nobody is let in by Warden's socket
	Chaos     Chaos
	Directory *Directory // nil: files are served to nobody
	Status    Status
	// Warnings are what is allowed but odd, each with file and line.
	Warnings []string
}

// Node is who and where the node is.
type Node struct {
	State           string     // absolute path of the state folder
	ID              string     // empty: chosen once and kept in the state folder
	Address         netip.Addr // where mapped ports are reached; zero: the default route's
	Index           int        // of the component, for router tags
	Zone            string     // for placement
	UIDBase         uint32     // first user id of the first container
	OnTerm          OnTerm     // what SIGTERM does
	OnUSR2          OnTerm     // what SIGUSR2 does: Evacuate or Detach
	OnReboot        OnReboot   // what becomes of instances whose machine was restarted
	ShutdownTimeout time.Duration
	EvacuateWithin  time.Duration // then an evacuated node stops what nobody has replaced
	Init            string        // path of deacon-init; empty: beside the running program
}

// OnReboot is what becomes of what ran when the machine ended.
type OnReboot string

// To be started again, or to be told of as crashed: who placed it here decides.
const (
	StartAgain OnReboot = "start"
	Report     OnReboot = "report"
)

// OnTerm is what a signal that ends the agent does to the node.
type OnTerm string

// Detaching leaves the applications to the next agent, shutting down stops them,
// evacuating does so once others have started them elsewhere.
const (
	Detach   OnTerm = "detach"
	Shutdown OnTerm = "shutdown"
	Evacuate OnTerm = "evacuate"
)

// NATS is how the message bus is reached.
type NATS struct {
	Servers      []string
	User         string
	Password     string
	PasswordFile string // instead of Password
	Token        string
	NkeyFile     string // file of an nkey seed
	CredsFile    string // file of a JWT and its nkey
	TLS          TLS
}

// TLS is empty where the servers' certificates are checked by the machine's
// own authorities and none is shown to them.
type TLS struct{ CA, Cert, Key string }

// ReadPassword returns the password, wherever it was configured to be.
func (n NATS) ReadPassword() (string, error) {
	if n.PasswordFile == "" {
		return n.Password, nil
	}
	return readSecret(n.PasswordFile)
}

func readSecret(file string) (string, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(body), "\r\n"), nil
}

// Resources is what the node promises to applications.
type Resources struct {
	MemoryMiB        int64 // zero: the machine's, less a reserve
	MemoryOvercommit float64
	DiskMiB          int64 // zero: what is free where the state folder is
	DiskOvercommit   float64
}

// Intervals are between periodic messages.
type Intervals struct {
	Heartbeat      time.Duration
	Advertise      time.Duration
	RouterRegister time.Duration
}

// Instance is what holds for every application's instance.
type Instance struct {
	HealthCheckTimeout    time.Duration // where the start message says none
	StopGrace             time.Duration // between SIGTERM and SIGKILL
	MemoryToCPUShareRatio int64         // MiB of memory for one cpu share
	CPUSharesMin          uint64
	CPUSharesMax          uint64
	DiskInodes            int64
	Processes             int64
	CrashLifetime         time.Duration       // how long a crashed instance is remembered
	Sessions              int                 // of deacon exec at a time; 0: none
	LogRate               int                 // lines that are published a second; 0: any
	LogLineMaxBytes       int64               // of one line
	OutputMaxBytes        int64               // kept of each of a job's output files
	StartsMax             int                 // starts in flight at once
	Spares                int                 // PID 1s that wait for the next starts
	Bandwidth             isolation.Bandwidth // each way; no rate: no limit
}

// Network is the containers' network.
type Network struct {
	Pool      netip.Prefix // cut into /30s, one a container
	PortFirst uint16       // ports of the node that are mapped to containers
	PortLast  uint16
	MTU       int             // of the links; zero: Ethernet's
	Egress    network.Verdict // what no rule of an application allows
	Denied    []netip.Prefix  // refused where no rule and not Allowed opens it
	Allowed   []netip.Prefix  // reached without a rule
	// HostAccess lets containers reach the node itself, where Denied says nothing else.
	HostAccess bool
	// ReleaseDelay is how long the addresses of a container that is gone rest at
	// least before another one gets them.
	ReleaseDelay time.Duration
	DNS          []netip.Addr // empty: the machine's resolvers
	Loopback     bool         // mapped ports answer on 127.0.0.1 too
}

// Disk is how containers' disk limits are enforced.
type Disk struct {
	Driver    string // auto, btrfs, tmpfs or none
	PoolBytes int64  // size of the btrfs pool; zero: what is free
}

// Stack is a root file system that applications can ask for by name.
type Stack struct {
	Name string
	// Path is of its root file system. Empty: generated from the machine, which
	// only HostStack is.
	Path string
}

// HostStack is the stack that is generated from the machine's own /usr.
const HostStack = "host"

// Log is what the agent says of itself.
type Log struct {
	Level  string // trace, debug, info, warn or error
	Format string // text or json
	File   string // appended to; empty: standard error, unless Syslog is set
	Syslog string // by which name syslog gets it too; empty: it doesn't
}

// DefaultConfig is the configuration of an empty file.
func DefaultConfig() Config {
	return Config{
		Node: Node{
			State: "/var/lib/deacon", Zone: "default", UIDBase: 1_000_000,
			OnTerm: Detach, OnUSR2: Evacuate, OnReboot: StartAgain,
			ShutdownTimeout: time.Minute, EvacuateWithin: 10 * time.Minute,
		},
		NATS:      NATS{Servers: []string{"nats://127.0.0.1:4222"}},
		Resources: Resources{MemoryOvercommit: 1, DiskOvercommit: 1},
		Intervals: Intervals{Heartbeat: 10 * time.Second, Advertise: 5 * time.Second, RouterRegister: 20 * time.Second},
		Instance: Instance{
			HealthCheckTimeout: time.Minute, StopGrace: 10 * time.Second,
			MemoryToCPUShareRatio: 8, CPUSharesMin: 1, CPUSharesMax: 256,
			DiskInodes: 200_000, Processes: 512, CrashLifetime: time.Hour,
			OutputMaxBytes: 16 << 20, StartsMax: 16, Spares: 8, Sessions: 64, LogRate: 10_000, LogLineMaxBytes: output.LineMax,
		},
		Hooks: Hooks{Timeout: 10 * time.Second},
		Network: Network{
			Pool: netip.MustParsePrefix("10.254.0.0/16"), PortFirst: 20000, PortLast: 29999,
			Egress: network.Allow, Loopback: true,
		},
		Disk:   Disk{Driver: "auto"},
		Stacks: []Stack{{Name: HostStack}},
		Log:    Log{Level: "info", Format: "text"},
	}
}
