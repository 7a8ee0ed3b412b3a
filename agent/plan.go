package agent

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/rootfs"
	"github.com/deacon-agent/deacon/messaging"
)

// What every application finds, whatever the message says.
const (
	home         = "/home/" + userName
	appFolder    = home + "/app"
	userName     = "vcap"
	language     = "C.UTF-8"
	searchPath   = "/usr/local/bin:/usr/bin:/bin"
	ownUmask     = 0o077
	filesDefault = 1024 // where the message has none
)

// StackRoot is a stack as it was prepared on this machine.
type StackRoot struct {
	Name   string
	Layers []string // read-only folders, topmost first
	Binds  []isolation.Bind
}

// PlannerConfig is what all plans of a node have in common.
type PlannerConfig struct {
	Instance Instance
	Hooks    Hooks
	Binds    []BindMount
	Runtimes []Runtime
	Address  netip.Addr   // of the node
	DNS      []netip.Addr // of the containers
	Stacks   []StackRoot  // the first is for those that name none
}

// Planner turns what was asked into what a container is made of.
type Planner struct{ config PlannerConfig }

var _ actors.Planner = (*Planner)(nil)

// NewPlanner returns the node's planner. There must be a stack.
func NewPlanner(config PlannerConfig) *Planner { return &Planner{config} }

// Plan says what container and what job an instance becomes. The error is
// actors.ErrNoStartCommand where nothing says what to run.
func (p *Planner) Plan(place actors.Placement, start messaging.StartInstance, d actors.Droplet) (
	isolation.Spec, isolation.Job, error,
) {
	spec, err := p.spec(place, start, d)
	if err != nil {
		return isolation.Spec{}, isolation.Job{}, fmt.Errorf("agent: plan %s: %w", place.Instance, err)
	}
	job, err := p.job(place, start, d)
	if err != nil {
		return isolation.Spec{}, isolation.Job{}, fmt.Errorf("agent: plan %s: %w", place.Instance, err)
	}
	return spec, job, nil
}

func (p *Planner) spec(place actors.Placement, start messaging.StartInstance, d actors.Droplet) (
	isolation.Spec, error,
) {
	stack, err := p.stack(start.Stack)
	if err != nil {
		return isolation.Spec{}, err
	}
	limits, err := p.limits(start.Limits)
	if err != nil {
		return isolation.Spec{}, err
	}
	egress, err := planEgress(start.Egress)
	if err != nil {
		return isolation.Spec{}, err
	}
	spec := isolation.Spec{
		ID: place.Container, Slot: place.Slot, Epoch: place.Epoch,
		Owner: isolation.OwnerInstance, Tenant: place.Instance, Created: place.Started,
		Hostname: hostnameOf(place.Instance),
		Rootfs: isolation.Rootfs{
			Layers: append([]string{d.Layer}, stack.Layers...),
			Binds:  bindsOf(stack, p.config.Binds),
		},
		Limits:  limits,
		Network: isolation.Network{DNS: p.config.DNS, Egress: egress},
	}
	for _, port := range []uint16{place.Port, place.DebugPort, place.ConsolePort} {
		if port != 0 {
			spec.Network.Ports = append(spec.Network.Ports, isolation.PortMap{Host: port, Container: port})
		}
	}
	return spec, nil
}

func (p *Planner) stack(name string) (StackRoot, error) {
	if name == "" {
		return p.config.Stacks[0], nil
	}
	names := make([]string, 0, len(p.config.Stacks))
	for _, s := range p.config.Stacks {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return StackRoot{}, fmt.Errorf("there is no stack %q, there are: %s", name, strings.Join(names, ", "))
}

// limits turns the wire's limits into the kernel's (wire/dea.md h). Zero is no
// limit to the kernel, and on the wire it would be a mistake.
func (p *Planner) limits(l messaging.ApplicationLimits) (isolation.Limits, error) {
	const mib = 1 << 20
	for name, value := range map[string]int64{"mem": l.MemoryMiB, "disk": l.DiskMiB} {
		if value < 1 || value > sizeMax/mib {
			return isolation.Limits{}, fmt.Errorf("limits.%s: %d MiB is not between 1 and %d", name, value, sizeMax/mib)
		}
	}
	c := p.config.Instance
	shares := uint64(l.MemoryMiB / c.MemoryToCPUShareRatio)
	return isolation.Limits{
		MemoryBytes: l.MemoryMiB * mib,
		CPUShares:   min(max(shares, c.CPUSharesMin), c.CPUSharesMax),
		Pids:        c.Processes,
		DiskBytes:   l.DiskMiB * mib,
		DiskInodes:  c.DiskInodes,
		Bandwidth:   c.Bandwidth,
	}, nil
}

// hostForm is one label of a host name.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// hostnameOf names the container as routers, heartbeats and `deacon ps` name
// its tenant, so that a host name in an application's log can be looked up.
// Empty, the box calls it by its id.
func hostnameOf(instance string) string {
	if hostForm.MatchString(instance) {
		return instance
	}
	return ""
}

func (p *Planner) job(place actors.Placement, start messaging.StartInstance, d actors.Droplet) (isolation.Job, error) {
	system, err := systemEnvironment(place, start, p.config.Address)
	if err != nil {
		return isolation.Job{}, err
	}
	if err := checkTexts(start); err != nil {
		return isolation.Job{}, err
	}
	runtime, err := p.runtimeOf(start)
	if err != nil {
		return isolation.Job{}, err
	}
	how, err := order{
		system: system, user: runtime.variables(start), command: start.StartCommand,
		postSetup: p.config.Hooks.PostSetup, runtime: runtime, port: place.Port,
	}.launch(d)
	if err != nil {
		return isolation.Job{}, err
	}
	job := isolation.Job{
		Number: 1, Argv: how.argv, Fallback: how.fallback, Env: how.env, Dir: how.dir, PidFile: how.pidFile,
		User:  isolation.User{UID: rootfs.VcapID, GID: rootfs.VcapID},
		Umask: ownUmask, Files: filesOf(start), Procs: uint64(p.config.Instance.Processes),
		OutputMax: p.config.Instance.OutputMaxBytes,
	}
	return job, nil
}

func filesOf(start messaging.StartInstance) uint64 {
	if start.Limits.Files == 0 {
		return filesDefault
	}
	return start.Limits.Files
}

// checkTexts refuses what no process can be given. The value isn't shown: it
// may be a secret.
func checkTexts(start messaging.StartInstance) error {
	for _, v := range start.Environment {
		if strings.ContainsRune(v.Value, 0) || strings.ContainsRune(v.Name, 0) {
			return fmt.Errorf("the environment variable %q has a zero byte", v.Name)
		}
		if size := len(v.Name) + len("=") + len(v.Value); size > argumentMax {
			return fmt.Errorf("the environment variable %q takes %d bytes; "+
				"the kernel allows %d", v.Name, size, argumentMax)
		}
	}
	return nil
}
