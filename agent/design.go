package agent

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/isolation/slot"
	"github.com/deacon-agent/deacon/messaging"
)

// What every container of Warden's clients finds (wire/warden.md c).
const (
	bash          = "/bin/bash"
	wardenUmask   = 0o022
	wardenShares  = 1024
	wardenPids    = 4096
	pathOfVcap    = "/bin:/usr/bin"
	pathOfRoot    = "/sbin:/bin:/usr/sbin:/usr/bin"
	languageThere = "en_US.UTF-8"
	// outputSlack is how much more of each stream is kept than may be written: the
	// first reader must find all that was written before the limit.
	outputSlack = 128 << 10
)

// DesignerConfig is what all containers of Warden's clients have in common.
type DesignerConfig struct {
	Warden Warden
	Plan   slot.Plan
	Rootfs StackRoot // of containers whose client names none
	DNS    []netip.Addr
}

// Designer turns what Warden's clients ask into what the kernel understands.
type Designer struct{ config DesignerConfig }

var _ actors.Designer = (*Designer)(nil)

// NewDesigner returns the node's designer.
func NewDesigner(config DesignerConfig) *Designer { return &Designer{config} }

// said is an error in the words that clients match (wire/warden.md a).
func said(format string, args ...any) error { return fmt.Errorf(format, args...) }

// Container says what a container is made of. What its client names on the node
// must be there.
func (d *Designer) Container(place actors.Placement, m messaging.CreateContainer) (isolation.Spec, error) {
	root, err := d.rootfs(m.Rootfs)
	if err != nil {
		return isolation.Spec{}, err
	}
	for _, bind := range m.Binds {
		if _, err := os.Stat(bind.Source); err != nil {
			return isolation.Spec{}, said("Source path for bind mount does not exist: %s", bind.Source)
		}
		if !filepath.IsAbs(bind.Target) {
			return isolation.Spec{}, said("Destination path for bind mount must be absolute: %s", bind.Target)
		}
		root.Binds = append(root.Binds, isolation.Bind{
			Source: bind.Source, Target: filepath.Clean(bind.Target), ReadOnly: bind.ReadOnly, Shifted: true,
		})
	}
	return isolation.Spec{
		ID: place.Container, Slot: place.Slot, Epoch: place.Epoch, Owner: isolation.OwnerWarden,
		Created: place.Started, Rootfs: root,
		Limits:  isolation.Limits{CPUShares: wardenShares, Pids: wardenPids},
		Network: isolation.Network{DNS: d.config.DNS, Default: "reject"},
	}, nil
}

func (d *Designer) rootfs(path string) (isolation.Rootfs, error) {
	if path == "" {
		return isolation.Rootfs{
			Layers: append([]string(nil), d.config.Rootfs.Layers...),
			Binds:  append([]isolation.Bind(nil), d.config.Rootfs.Binds...), Account: true,
		}, nil
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if info, statErr := os.Stat(resolved); err != nil || statErr != nil || !info.IsDir() {
		return isolation.Rootfs{}, said("rootfs %s not found", path)
	}
	return isolation.Rootfs{Layers: []string{resolved}, Account: true}, nil
}

// Job says how a script is run: by bash, from its stdin.
func (d *Designer) Job(number uint32, s messaging.Script) isolation.Job {
	user, path := userName, pathOfVcap
	if s.Privileged {
		user, path = "root", pathOfRoot
	}
	lang := os.Getenv("LANG")
	if lang == "" {
		lang = languageThere
	}
	return isolation.Job{
		Number: number, Argv: []string{bash}, Stdin: []byte(s.Text), User: isolation.User{Name: user}, Umask: wardenUmask,
		Env:     []string{"USER=" + user, "PATH=" + path, "LANG=" + lang},
		Rlimits: d.rlimits(s.Rlimits), Discard: s.Discard && s.LogTag == "",
		OutputMax: d.config.Warden.JobOutputLimit + outputSlack,
	}
}

// resources are Warden's names, and what a job gets where nobody says anything.
var resources = map[string]struct {
	number int
	value  uint64
}{
	"as": {unix.RLIMIT_AS, unix.RLIM_INFINITY}, "core": {unix.RLIMIT_CORE, 0},
	"cpu": {unix.RLIMIT_CPU, unix.RLIM_INFINITY}, "data": {unix.RLIMIT_DATA, unix.RLIM_INFINITY},
	"fsize": {unix.RLIMIT_FSIZE, unix.RLIM_INFINITY}, "locks": {unix.RLIMIT_LOCKS, unix.RLIM_INFINITY},
	"memlock": {unix.RLIMIT_MEMLOCK, 64 << 10}, "msgqueue": {unix.RLIMIT_MSGQUEUE, 819200},
	"nice": {unix.RLIMIT_NICE, 0}, "nofile": {unix.RLIMIT_NOFILE, 1024}, "nproc": {unix.RLIMIT_NPROC, 1024},
	"rss": {unix.RLIMIT_RSS, unix.RLIM_INFINITY}, "rtprio": {unix.RLIMIT_RTPRIO, 0},
	"sigpending": {unix.RLIMIT_SIGPENDING, 1024}, "stack": {unix.RLIMIT_STACK, 8 << 20},
}

// rlimits are the defaults, overridden by the configuration, and that by the
// request.
func (d *Designer) rlimits(asked []messaging.Rlimit) []isolation.Rlimit {
	values := map[string]uint64{}
	for name, resource := range resources {
		values[name] = resource.value
	}
	for _, limits := range [][]messaging.Rlimit{d.config.Warden.Rlimits, asked} {
		for _, limit := range limits {
			values[limit.Name] = limit.Value
		}
	}
	var rlimits []isolation.Rlimit
	for name, value := range values {
		rlimits = append(rlimits, isolation.Rlimit{Resource: resources[name].number, Value: value})
	}
	return rlimits
}

// Slot is that of the /30 which an address lies in.
func (d *Designer) Slot(network string) (uint32, error) {
	address, err := netip.ParseAddr(network)
	if err != nil {
		return 0, said("Could not acquire network: %s", network)
	}
	number, ok := d.config.Plan.SlotOf(address)
	if !ok {
		return 0, said("Could not acquire network: %s", netip.PrefixFrom(address, 30).Masked().Addr())
	}
	return number, nil
}

// unusable is what the original's firewall script comes to; the reason is for
// the log.
type unusable struct{ reason error }

func (unusable) Error() string   { return "command exited with failure" }
func (u unusable) Unwrap() error { return u.reason }

// Egress reads what net_out was given.
func (d *Designer) Egress(m messaging.AllowEgress) (isolation.EgressRule, error) {
	if m.Network == "" && m.Port == nil && m.PortRange == "" {
		return isolation.EgressRule{}, said("Please specify network, port, and/or port_range.")
	}
	rule := messaging.EgressRule{Protocol: m.Protocol, Destination: m.Network, Log: m.Log, Type: -1, Code: -1}
	if rule.Protocol == "" {
		rule.Protocol = "tcp"
	}
	if rule.Destination == "" {
		rule.Destination = "0.0.0.0/0"
	}
	switch first, last, ranged := strings.Cut(m.PortRange, ":"); {
	case ranged:
		a, errA := strconv.Atoi(first)
		b, errB := strconv.Atoi(last)
		if errA != nil || errB != nil || a >= b {
			return isolation.EgressRule{}, said("Port range maximum must be greater than minimum")
		}
		rule.Ports = first + "-" + last
	case m.PortRange != "":
		rule.Ports = m.PortRange
	case m.Port != nil:
		rule.Ports = strconv.FormatUint(uint64(*m.Port), 10)
	}
	if rule.Protocol == "icmp" {
		rule.Ports = ""
		if m.Type != nil && *m.Type >= 0 {
			rule.Type = int(*m.Type)
			if m.Code != nil {
				rule.Code = int(*m.Code)
			}
		}
	}
	read, err := readEgress(rule)
	if err != nil {
		return isolation.EgressRule{}, unusable{err}
	}
	return read, nil
}

// OutputMax is the limit on a job's output.
func (d *Designer) OutputMax() int64 { return d.config.Warden.JobOutputLimit }

// DiskQuota is as configured.
func (d *Designer) DiskQuota() bool { return d.config.Warden.DiskQuota }

// Grace is the configured grace time.
func (d *Designer) Grace() time.Duration {
	if d.config.Warden.Grace == nil {
		return -1
	}
	return *d.config.Warden.Grace
}
