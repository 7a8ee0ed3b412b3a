package doctor

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/deacon-agent/deacon/agent"
)

// Verdict is what came of a check.
type Verdict string

// The verdicts. What is Weak works, with something less than it could have; what is
// Missing has to be mended before a node can run; what is Unknown could not be
// looked at, mostly for want of root.
const (
	Good    Verdict = "good"
	Weak    Verdict = "weak"
	Missing Verdict = "missing"
	Unknown Verdict = "unknown"
)

// Finding is the answer to one check.
type Finding struct {
	Check   string
	Verdict Verdict
	What    string // as it is here
	Remedy  string // for what is weak or missing
}

func good(format string, facts ...any) Finding {
	return Finding{Verdict: Good, What: fmt.Sprintf(format, facts...)}
}

func weak(remedy, format string, facts ...any) Finding {
	return Finding{Verdict: Weak, What: fmt.Sprintf(format, facts...), Remedy: remedy}
}

func missing(remedy, format string, facts ...any) Finding {
	return Finding{Verdict: Missing, What: fmt.Sprintf(format, facts...), Remedy: remedy}
}

// patient is the machine that is looked at, with the configuration of its node.
type patient struct {
	config  agent.Config
	program string // this one, to be run again in a namespace of its own
}

// check is one thing that a node needs or makes use of.
type check struct {
	name string
	root bool // only root can see
	look func(context.Context, *patient) Finding
}

var checks = []check{
	{"kernel", false, kernel},
	{"namespaces", true, namespaces},
	{"cgroups", false, cgroups},
	{"mounts", true, mounts},
	{"system call filter", false, filters},
	{"disk limits", true, diskLimits},
	{"state folder", false, stateFolder},
	{"firewall", true, firewall},
	{"forwarding", false, forwarding},
	{"connection tracking", false, tracking},
	{"pool of addresses", false, addresses},
	{"ports", false, ports},
	{"open files", false, openFiles},
	{"pressure", false, pressure},
	{"what the configuration names", false, configured},
	{"NATS", false, nats},
	{"clock", false, clock},
}

// Examine makes every check. One that panics or hangs is Unknown, and keeps no other
// from being made.
func Examine(ctx context.Context, config agent.Config) []Finding {
	p := &patient{config: config, program: "/proc/self/exe"}
	findings := make([]Finding, 0, len(checks))
	for _, c := range checks {
		findings = append(findings, c.make(ctx, p))
	}
	return findings
}

func (c check) make(ctx context.Context, p *patient) (f Finding) {
	defer func() {
		if fault := recover(); fault != nil {
			f = Finding{Verdict: Unknown, What: fmt.Sprint("the check itself failed: ", fault)}
		}
		f.Check = c.name
	}()
	if c.root && os.Geteuid() != 0 {
		return Finding{Verdict: Unknown, What: "only root can see that", Remedy: "run deacon doctor as root"}
	}
	return c.look(ctx, p)
}

// reasonOf is an error in a line.
func reasonOf(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
