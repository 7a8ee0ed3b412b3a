package agent

import (
	"io/fs"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/messaging"
)

// Warden is how the clients of the old Warden are served: by its socket, in
// its words (wire/warden.md), with the containers that the node has anyway.
type Warden struct {
	Socket string      // absolute path, short enough for the kernel
	Mode   fs.FileMode // of the socket: who may write to it is let in
	Group  string      // of the socket, a name or a number; empty: the agent's own
	// Rootfs is for containers whose client names no other: a stack of the
	// node's, or a folder, which has a Path and no Name.
	Rootfs Stack
	// Grace is how long a container without a client lives on where its client
	// said nothing; nil: for ever.
	Grace          *time.Duration
	JobOutputLimit int64              // bytes that a job may write, both streams together
	Rlimits        []messaging.Rlimit // of jobs, in the names' order, where the client's request says nothing
	DiskQuota      bool               // false: limit_disk limits nothing and answers nothing
	PIDFile        string             // empty: none
	HealthCheck    netip.AddrPort     // where HTTP is answered with 200; invalid: nowhere
	SyslogSocket   string             // where the lines of jobs with a log_tag go
}

// DefaultWarden is the configuration of an empty warden block, but for Rootfs:
// that is the node's first stack.
func DefaultWarden() Warden {
	grace := 5 * time.Minute
	return Warden{
		Socket: "/tmp/warden.sock", Mode: 0o755, Grace: &grace, JobOutputLimit: 10 << 20, DiskQuota: true,
		SyslogSocket: "/dev/log",
	}
}

type wardenBlock struct {
	Socket         *hcl.Attribute `hcl:"socket,optional"`
	Mode           *hcl.Attribute `hcl:"mode,optional"`
	Group          *hcl.Attribute `hcl:"group,optional"`
	Rootfs         *hcl.Attribute `hcl:"rootfs,optional"`
	GraceTime      *hcl.Attribute `hcl:"grace_time,optional"`
	JobOutputLimit *hcl.Attribute `hcl:"job_output_limit,optional"`
	DiskQuota      *hcl.Attribute `hcl:"disk_quota,optional"`
	AllowNested    *hcl.Attribute `hcl:"allow_nested,optional"`
	PIDFile        *hcl.Attribute `hcl:"pid_file,optional"`
	HealthCheck    *hcl.Attribute `hcl:"health_check,optional"`
	SyslogSocket   *hcl.Attribute `hcl:"syslog_socket,optional"`
	Rlimits        *rlimitsBlock  `hcl:"rlimits,block"`
}

// rlimitsBlock has Warden's names, in its order.
type rlimitsBlock struct {
	As         *hcl.Attribute `hcl:"as,optional"`
	Core       *hcl.Attribute `hcl:"core,optional"`
	CPU        *hcl.Attribute `hcl:"cpu,optional"`
	Data       *hcl.Attribute `hcl:"data,optional"`
	Fsize      *hcl.Attribute `hcl:"fsize,optional"`
	Locks      *hcl.Attribute `hcl:"locks,optional"`
	Memlock    *hcl.Attribute `hcl:"memlock,optional"`
	Msgqueue   *hcl.Attribute `hcl:"msgqueue,optional"`
	Nice       *hcl.Attribute `hcl:"nice,optional"`
	Nofile     *hcl.Attribute `hcl:"nofile,optional"`
	Nproc      *hcl.Attribute `hcl:"nproc,optional"`
	Rss        *hcl.Attribute `hcl:"rss,optional"`
	Rtprio     *hcl.Attribute `hcl:"rtprio,optional"`
	Sigpending *hcl.Attribute `hcl:"sigpending,optional"`
	Stack      *hcl.Attribute `hcl:"stack,optional"`
}

const (
	socketPathMax = 107 // the kernel's 108 bytes, less the terminating zero
	graceTimeMax  = math.MaxUint32 * time.Second
	othersWrite   = 0o002
)

// groupForm is what the tools that make groups allow, or a number.
var groupForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)

func (b *wardenBlock) read(r *settings.Reader, stacks []Stack) *Warden {
	w := DefaultWarden()
	w.Rootfs = stacks[0]
	r.Path(b.Socket, &w.Socket)
	if len(w.Socket) > socketPathMax {
		r.Fault(b.Socket, "Too long for a socket", "\"socket\" has %d bytes; the kernel takes a path of at most %d.",
			len(w.Socket), socketPathMax)
	}
	b.readMode(r, &w.Mode)
	r.Text(b.Group, &w.Group)
	if b.Group != nil && !groupForm.MatchString(w.Group) {
		r.Fault(b.Group, "Not a group", "\"group\" must be the name or the number of a group of this machine.")
	}
	b.readRootfs(r, &w.Rootfs, stacks)
	b.readGrace(r, &w.Grace)
	r.Size(b.JobOutputLimit, &w.JobOutputLimit, 0, sizeMax)
	r.Truth(b.DiskQuota, &w.DiskQuota)
	nested := false
	if r.Truth(b.AllowNested, &nested); nested {
		r.Fault(b.AllowNested, "Not built", "Containers inside of containers are not built: a container may use "+
			"the few devices that every one has, and no other. Leave \"allow_nested\" out.")
	}
	r.Path(b.PIDFile, &w.PIDFile)
	b.readHealthCheck(r, &w.HealthCheck)
	r.Path(b.SyslogSocket, &w.SyslogSocket)
	readBlock(b.Rlimits, func(b *rlimitsBlock) { w.Rlimits = b.read(r) })
	return &w
}

// readMode takes the digits as chmod does.
func (b *wardenBlock) readMode(r *settings.Reader, into *fs.FileMode) {
	v, ok := r.Word(b.Mode, `a string of octal digits such as "0770"`)
	if !ok {
		return
	}
	mode, err := strconv.ParseUint(v, 8, 16)
	if err != nil || mode > 0o777 {
		r.Fault(b.Mode, "Not a mode", "\"mode\" must be octal digits from \"0000\" to \"0777\", such as \"0770\".")
		return
	}
	if *into = fs.FileMode(mode); mode&othersWrite != 0 {
		r.Warn(b.Mode, "warden.mode is %04o: every user of this machine is let in, with the power of root", mode)
	}
}

func (b *wardenBlock) readRootfs(r *settings.Reader, into *Stack, stacks []Stack) {
	v, ok := r.Word(b.Rootfs, "a folder, or a stack's name")
	if !ok {
		return
	}
	given := v
	if strings.HasPrefix(given, "/") {
		var path string
		r.Path(b.Rootfs, &path)
		*into = Stack{Path: path}
		return
	}
	var names []string
	for _, s := range stacks {
		if s.Name == given {
			*into = s
			return
		}
		names = append(names, s.Name)
	}
	r.Fault(b.Rootfs, "No such stack", "\"rootfs\" must be a folder, \"/...\", or one of this file's stacks: %s.%s",
		strings.Join(names, ", "), settings.Suggest(given, names))
}

func (b *wardenBlock) readGrace(r *settings.Reader, into **time.Duration) {
	const never = "never"
	v, ok := r.Word(b.GraceTime, `a duration such as "5m", or "never"`)
	switch {
	case !ok:
	case v == never:
		*into = nil
	case settings.Suggest(v, []string{never}) != "":
		r.Fault(b.GraceTime, "Not a duration", "\"grace_time\" must be a duration such as \"5m\", or \"never\".%s",
			settings.Suggest(v, []string{never}))
	default:
		grace := **into
		r.Duration(b.GraceTime, &grace, 0, graceTimeMax)
		*into = &grace
	}
}

func (b *wardenBlock) readHealthCheck(r *settings.Reader, into *netip.AddrPort) {
	v, ok := r.Word(b.HealthCheck, "an address and a port")
	if !ok {
		return
	}
	at, err := netip.ParseAddrPort(v)
	if err != nil || !at.Addr().Is4() || at.Port() == 0 {
		suggestion := ""
		if port, err := strconv.ParseUint(strings.TrimPrefix(v, ":"), 10, 16); err == nil && port > 0 {
			suggestion = " Did you mean \"127.0.0.1:" + strconv.FormatUint(port, 10) + "\"?"
		}
		r.Fault(b.HealthCheck, "Not an address and a port",
			"\"health_check\" must be an IPv4 address and a port, as in \"127.0.0.1:2345\".%s", suggestion)
		return
	}
	*into = at
}

func (b *rlimitsBlock) read(r *settings.Reader) []messaging.Rlimit {
	var limits []messaging.Rlimit
	for _, a := range []*hcl.Attribute{
		b.As, b.Core, b.CPU, b.Data, b.Fsize, b.Locks, b.Memlock, b.Msgqueue, b.Nice, b.Nofile, b.Nproc, b.Rss,
		b.Rtprio, b.Sigpending, b.Stack,
	} {
		if value, ok := readRlimit(r, a); ok {
			limits = append(limits, messaging.Rlimit{Name: a.Name, Value: value})
		}
	}
	return limits
}

// readRlimit reads what setrlimit(2) takes: any number of 64 bits, of which the
// highest means that there is no limit.
func readRlimit(r *settings.Reader, a *hcl.Attribute) (uint64, bool) {
	const wanted, unlimited = `a whole number, or "unlimited"`, "unlimited"
	v, ok := r.Word(a, wanted)
	if !ok {
		return 0, false
	}
	if v == unlimited {
		return math.MaxUint64, true
	}
	value, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		r.Fault(a, "Not a limit", "%q must be %s.%s", a.Name, wanted, settings.Suggest(v, []string{unlimited}))
		return 0, false
	}
	return value, true
}
