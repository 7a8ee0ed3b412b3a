package agent

import (
	"net/netip"
	"regexp"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/agent/settings"
)

// Directory is how the files of instances are served, and what is kept of those
// that crashed.
type Directory struct {
	Domain   string     // the server's name is a label below it that no other node has
	Listen   netip.Addr // where it listens; zero: at the node's address
	Port     uint16
	Protocol string // of links: what the router in front speaks
	// StreamingTimeout is how long who follows a file waits for more of it.
	StreamingTimeout time.Duration
	URLLifetime      time.Duration // of links
	CrashLogsMax     int64         // bytes kept of a crashed instance's logs
	// CrashDiskUsedMax and CrashInodesUsedMax are the shares of the state's file
	// system that may be in use before the oldest logs of crashes go.
	CrashDiskUsedMax, CrashInodesUsedMax float64
}

// DefaultDirectory is the configuration of a directory block that has only a domain.
func DefaultDirectory() Directory {
	return Directory{
		Port: 5678, Protocol: "http", StreamingTimeout: time.Minute, URLLifetime: time.Hour,
		CrashLogsMax: 64 << 20, CrashDiskUsedMax: 0.8, CrashInodesUsedMax: 0.8,
	}
}

type directoryBlock struct {
	Domain             *hcl.Attribute `hcl:"domain,optional"`
	Listen             *hcl.Attribute `hcl:"listen,optional"`
	Port               *hcl.Attribute `hcl:"port,optional"`
	Protocol           *hcl.Attribute `hcl:"protocol,optional"`
	StreamingTimeout   *hcl.Attribute `hcl:"streaming_timeout,optional"`
	URLLifetime        *hcl.Attribute `hcl:"url_lifetime,optional"`
	CrashLogsMax       *hcl.Attribute `hcl:"crash_logs_max,optional"`
	CrashDiskUsedMax   *hcl.Attribute `hcl:"crash_disk_used_max,optional"`
	CrashInodesUsedMax *hcl.Attribute `hcl:"crash_inodes_used_max,optional"`
}

const (
	urlLifetimeMin = time.Minute
	urlLifetimeMax = 24 * time.Hour
	crashLogsMin   = 64 << 10
	usedMin        = 0.01
	// domainMax leaves room for the label of 32 digits and its dot.
	domainMax = 253 - 33
)

var domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func (b *directoryBlock) read(r *settings.Reader, n Network) *Directory {
	d := DefaultDirectory()
	if b.Domain == nil {
		r.Lack("No domain", "The directory block needs a \"domain\": links to files have a name below it, "+
			"by which routers find this node.")
	}
	r.Text(b.Domain, &d.Domain)
	if b.Domain != nil && (!domainForm.MatchString(d.Domain) || len(d.Domain) > domainMax) {
		r.Fault(b.Domain, "Not a domain", "\"domain\" must be a name such as \"apps.example.com\", in small letters.")
	}
	r.Address(b.Listen, &d.Listen)
	settings.Whole(r, b.Port, &d.Port, 1, 65535)
	if d.Port >= n.PortFirst && d.Port <= n.PortLast {
		at := b.Port
		if at == nil {
			r.Lack("A port that applications get", "directory.port's 5678 is one of network.port_first to network.port_last.")
		} else {
			r.Fault(at, "A port that applications get", "%d is one of network.port_first to network.port_last, %d to %d.",
				d.Port, n.PortFirst, n.PortLast)
		}
	}
	settings.Choice(r, b.Protocol, &d.Protocol, "http", "https")
	r.Duration(b.StreamingTimeout, &d.StreamingTimeout, time.Second, timeoutMax)
	r.Duration(b.URLLifetime, &d.URLLifetime, urlLifetimeMin, urlLifetimeMax)
	r.Size(b.CrashLogsMax, &d.CrashLogsMax, crashLogsMin, sizeMax)
	r.Factor(b.CrashDiskUsedMax, &d.CrashDiskUsedMax, usedMin, 1)
	r.Factor(b.CrashInodesUsedMax, &d.CrashInodesUsedMax, usedMin, 1)
	return &d
}
