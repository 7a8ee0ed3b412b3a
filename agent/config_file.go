package agent

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
)

// ConfigError is everything that is wrong with a configuration file.
type ConfigError = settings.Error

// LoadConfig reads and checks the file at path. What is wrong with it comes as
// one *ConfigError that shows every fault with its source line.
func LoadConfig(path string) (Config, error) {
	src, err := settings.Load(path)
	if err != nil {
		return Config{}, fmt.Errorf("agent: read the configuration: %w", err)
	}
	return ParseConfig(path, src)
}

// ParseConfig checks src; name is what faults call it.
func ParseConfig(name string, src []byte) (config Config, err error) {
	warnings, err := settings.Parse(name, src, func(f *configFile, r *settings.Reader) { config = f.read(r) })
	if err != nil {
		return Config{}, err
	}
	config.Warnings = warnings
	return config, nil
}

// configFile is the shape of config.hcl. Attributes are kept as they were
// written, so that whatever is said of them later can show the line.
type configFile struct {
	Node      *nodeBlock      `hcl:"node,block"`
	NATS      *natsBlock      `hcl:"nats,block"`
	Resources *resourcesBlock `hcl:"resources,block"`
	Intervals *intervalsBlock `hcl:"intervals,block"`
	Instance  *instanceBlock  `hcl:"instance,block"`
	Hooks     *hooksBlock     `hcl:"hooks,block"`
	Runtimes  []*runtimeBlock `hcl:"runtime,block"`
	Binds     []*bindBlock    `hcl:"bind_mount,block"`
	Network   *networkBlock   `hcl:"network,block"`
	Disk      *diskBlock      `hcl:"disk,block"`
	Stacks    []*stackBlock   `hcl:"stack,block"`
	Log       *logBlock       `hcl:"log,block"`
	Warden    *wardenBlock    `hcl:"warden,block"`
	Chaos     *chaosBlock     `hcl:"chaos,block"`
	Directory *directoryBlock `hcl:"directory,block"`
	Status    *statusBlock    `hcl:"status,block"`
}

type nodeBlock struct {
	State           *hcl.Attribute `hcl:"state,optional"`
	ID              *hcl.Attribute `hcl:"id,optional"`
	Address         *hcl.Attribute `hcl:"address,optional"`
	Index           *hcl.Attribute `hcl:"index,optional"`
	Zone            *hcl.Attribute `hcl:"zone,optional"`
	UIDBase         *hcl.Attribute `hcl:"uid_base,optional"`
	OnTerm          *hcl.Attribute `hcl:"on_term,optional"`
	OnUSR2          *hcl.Attribute `hcl:"on_usr2,optional"`
	OnReboot        *hcl.Attribute `hcl:"on_reboot,optional"`
	ShutdownTimeout *hcl.Attribute `hcl:"shutdown_timeout,optional"`
	EvacuateWithin  *hcl.Attribute `hcl:"evacuate_within,optional"`
	Init            *hcl.Attribute `hcl:"init,optional"`
}

type natsBlock struct {
	Servers      *hcl.Attribute `hcl:"servers,optional"`
	User         *hcl.Attribute `hcl:"user,optional"`
	Password     *hcl.Attribute `hcl:"password,optional"`
	PasswordFile *hcl.Attribute `hcl:"password_file,optional"`
	Token        *hcl.Attribute `hcl:"token,optional"`
	NkeyFile     *hcl.Attribute `hcl:"nkey_file,optional"`
	CredsFile    *hcl.Attribute `hcl:"creds_file,optional"`
	TLS          *tlsBlock      `hcl:"tls,block"`
}

type tlsBlock struct {
	CA   *hcl.Attribute `hcl:"ca,optional"`
	Cert *hcl.Attribute `hcl:"cert,optional"`
	Key  *hcl.Attribute `hcl:"key,optional"`
}

type resourcesBlock struct {
	Memory           *hcl.Attribute `hcl:"memory,optional"`
	MemoryOvercommit *hcl.Attribute `hcl:"memory_overcommit,optional"`
	Disk             *hcl.Attribute `hcl:"disk,optional"`
	DiskOvercommit   *hcl.Attribute `hcl:"disk_overcommit,optional"`
}

type intervalsBlock struct {
	Heartbeat      *hcl.Attribute `hcl:"heartbeat,optional"`
	Advertise      *hcl.Attribute `hcl:"advertise,optional"`
	RouterRegister *hcl.Attribute `hcl:"router_register,optional"`
}

type instanceBlock struct {
	HealthCheckTimeout    *hcl.Attribute `hcl:"health_check_timeout,optional"`
	StopGrace             *hcl.Attribute `hcl:"stop_grace,optional"`
	MemoryToCPUShareRatio *hcl.Attribute `hcl:"memory_to_cpu_share_ratio,optional"`
	CPUSharesMin          *hcl.Attribute `hcl:"cpu_shares_min,optional"`
	CPUSharesMax          *hcl.Attribute `hcl:"cpu_shares_max,optional"`
	DiskInodes            *hcl.Attribute `hcl:"disk_inodes,optional"`
	Processes             *hcl.Attribute `hcl:"processes,optional"`
	CrashLifetime         *hcl.Attribute `hcl:"crash_lifetime,optional"`
	LogRate               *hcl.Attribute `hcl:"log_rate,optional"`
	LogLineMax            *hcl.Attribute `hcl:"log_line_max,optional"`
	SessionsMax           *hcl.Attribute `hcl:"sessions_max,optional"`
	OutputMax             *hcl.Attribute `hcl:"output_max,optional"`
	StartsMax             *hcl.Attribute `hcl:"starts_max,optional"`
	Spares                *hcl.Attribute `hcl:"spares,optional"`

	Bandwidth *bandwidthBlock `hcl:"bandwidth,block"`
}

type bandwidthBlock struct {
	Rate  *hcl.Attribute `hcl:"rate,optional"`
	Burst *hcl.Attribute `hcl:"burst,optional"`
}

type networkBlock struct {
	Pool         *hcl.Attribute `hcl:"pool,optional"`
	PortFirst    *hcl.Attribute `hcl:"port_first,optional"`
	PortLast     *hcl.Attribute `hcl:"port_last,optional"`
	MTU          *hcl.Attribute `hcl:"mtu,optional"`
	Egress       *hcl.Attribute `hcl:"egress,optional"`
	Denied       *hcl.Attribute `hcl:"denied,optional"`
	Allowed      *hcl.Attribute `hcl:"allowed,optional"`
	HostAccess   *hcl.Attribute `hcl:"host_access,optional"`
	ReleaseDelay *hcl.Attribute `hcl:"release_delay,optional"`
	DNS          *hcl.Attribute `hcl:"dns,optional"`
	Loopback     *hcl.Attribute `hcl:"loopback,optional"`
}

type diskBlock struct {
	Driver   *hcl.Attribute `hcl:"driver,optional"`
	PoolSize *hcl.Attribute `hcl:"pool_size,optional"`
}

type stackBlock struct {
	Name      string         `hcl:"name,label"`
	NameRange hcl.Range      `hcl:"name,label_range"`
	Path      *hcl.Attribute `hcl:"path,optional"`
}

type logBlock struct {
	Level  *hcl.Attribute `hcl:"level,optional"`
	Format *hcl.Attribute `hcl:"format,optional"`
	File   *hcl.Attribute `hcl:"file,optional"`
	Syslog *hcl.Attribute `hcl:"syslog,optional"`
}
