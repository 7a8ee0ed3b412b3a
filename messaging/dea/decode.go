package dea

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// InvalidError says why a message was refused. Neither part quotes a value
// that could be a secret.
type InvalidError struct {
	Subject string
	Reason  string // begins with the field: "limits.mem: want ..."
}

func (e *InvalidError) Error() string { return fmt.Sprintf("dea: invalid %s: %s", e.Subject, e.Reason) }

// decoders of every subject but those that have a node's id inside.
var decoders = map[string]func(body []byte) (messaging.Command, error){
	SubjectStop:               decodeStop,
	SubjectUpdate:             decodeUpdate,
	SubjectFind:               decodeFind,
	SubjectLocate:             decodeLocate,
	SubjectDiscover:           decodeDiscover,
	SubjectStatus:             decodeStatus,
	SubjectDropletStatus:      decodeDropletStatus,
	SubjectRouterStart:        decodeRouterStart,
	SubjectHealthManagerStart: decodeHealthManagerStart,
	SubjectComponents:         decodeDiscoverComponents,
	SubjectPS:                 decodePS,
	SubjectActors:             decodeListActors,
	SubjectLogsTail:           decodeLogsTail,
	SubjectUsage:              decodeUsage,
}

// Decode turns one message into one Command. It touches no network, keeps no
// state, keeps nothing of body and never panics; the fuzz tests hold it to
// that. ReplyTo is left empty: only the bus knows it. Every error is an
// *InvalidError.
func Decode(subject string, body []byte) (messaging.Command, error) {
	decode, ok := decoders[subject]
	switch {
	case isStart(subject):
		decode, ok = decodeStart, true
	case isEvacuate(subject):
		decode, ok = decodeEvacuate, true
	}
	if !ok {
		return nil, &InvalidError{subject, "there is no such command"}
	}
	cmd, err := decode(body)
	if err != nil {
		return nil, &InvalidError{subject, err.Error()}
	}
	return cmd, nil
}

// The upper ends are no policy, only what can be reckoned with: a start that
// asks for more than the node has is answered by droplet.exited.
var (
	mebibytes    = span{"an integer number of MiB", 1, 1 << 40}
	openFiles    = span{"an integer number of files", 1, 1<<31 - 1}
	indices      = span{"an integer", 0, 1<<31 - 1}
	checkSeconds = span{"an integer number of seconds", 0, 24 * 60 * 60}
	icmpNumber   = span{"an integer", -1, 255}
	anySeconds   = span{"an integer number of seconds", 0, 1<<31 - 1}
)

func decodeStart(body []byte) (messaging.Command, error) {
	m := open(body)
	m.require("droplet", "index", "name", "version")
	limits := m.object("limits")
	if !ofFirst(m) {
		m.require("cc_partition", "limits")
		limits.require("mem", "disk", "fds")
	}
	start := messaging.StartInstance{
		Partition:   m.short("cc_partition", idMax),
		Application: m.application("droplet"),
		Name:        m.short("name", nameMax),
		Version:     m.id("version"),
		Index:       int(m.integer("index", indices, 0)),
		URIs:        m.texts("uris"),
		Droplet: messaging.Droplet{
			URI:    m.text("executableUri"),
			SHA1:   m.hex("sha1", 40),
			SHA256: m.hex("sha256", 64),
		},
		Limits: messaging.ApplicationLimits{
			MemoryMiB: limits.integer("mem", mebibytes, memoryDefault),
			DiskMiB:   limits.integer("disk", mebibytes, diskDefault),
			Files:     uint64(limits.integer("fds", openFiles, filesDefault)),
		},
		Services:           decodeServices(m),
		Environment:        decodeEnvironment(m),
		Stack:              m.short("stack", idMax),
		StartCommand:       m.text("start_command"),
		HealthCheckTimeout: time.Duration(m.integer("health_check_timeout", checkSeconds, 0)) * time.Second,
		VCAPApplication:    decodeVCAPApplication(m),
		Egress:             decodeEgress(m),
		First:              decodeFirst(m),
	}
	return start, m.in.wrong
}

func decodeServices(m object) []messaging.Service {
	var services []messaging.Service
	for _, s := range m.objects("services") {
		s.require("name", "label")
		if _, ok := s.field("credentials"); !ok {
			s.refuse("credentials", "missing")
		}
		services = append(services, messaging.Service{
			Name:           s.text("name"),
			Label:          s.text("label"),
			Tags:           s.texts("tags"),
			Plan:           s.text("plan"),
			PlanOption:     s.text("plan_option"),
			Vendor:         s.text("vendor"),
			Version:        s.text("version"),
			Type:           s.text("type"),
			SyslogDrainURL: s.text("syslog_drain_url"),
			Credentials:    s.json("credentials"),
		})
	}
	return services
}

// decodeEnvironment splits at the first "=". A text without one is a variable
// without a value, as in the DEA.
func decodeEnvironment(m object) []messaging.Variable {
	var variables []messaging.Variable
	for i, text := range m.texts("env") {
		name, value, _ := strings.Cut(text, "=")
		if name == "" {
			m.refuse(element("env", i), "has no name before the =")
		}
		variables = append(variables, messaging.Variable{Name: name, Value: value})
	}
	return variables
}

func decodeVCAPApplication(m object) []byte {
	raw := m.json("vcap_application")
	if len(raw) > 0 && raw[0] != '{' {
		m.refuse("vcap_application", "want an object, got %s", kind(raw))
	}
	return raw
}

// decodeEgress checks shapes only. A rule that makes no sense is the
// application's failure to start, not a message to drop (wire/dea.md a.9).
func decodeEgress(m object) []messaging.EgressRule {
	var rules []messaging.EgressRule
	for _, r := range m.objects("egress_network_rules") {
		r.require("protocol")
		rules = append(rules, messaging.EgressRule{
			Protocol:    r.text("protocol"),
			Destination: r.text("destination"),
			Ports:       r.text("ports"),
			Type:        int(r.integer("type", icmpNumber, -1)),
			Code:        int(r.integer("code", icmpNumber, -1)),
			Log:         r.flag("log"),
		})
	}
	return rules
}

func decodeStop(body []byte) (messaging.Command, error) {
	m := open(body)
	stop := messaging.StopInstances{Filter: decodeFilter(m)}
	return stop, m.in.wrong
}

// decodeUpdate takes what may change of an instance that runs: a controller of the
// first era sends all of a start. Without uris nobody knows what was meant.
func decodeUpdate(body []byte) (messaging.Command, error) {
	m := open(body)
	m.require("droplet", "uris")
	update := messaging.UpdateInstances{
		Application: m.application("droplet"),
		Version:     m.id("version"),
		URIs:        m.texts("uris"),
	}
	if _, given := m.given("egress_network_rules"); given {
		update.Egress = new(decodeEgress(m))
	}
	return update, m.in.wrong
}

func decodeFind(body []byte) (messaging.Command, error) {
	m := open(body)
	_, path := m.field("path")
	find := messaging.FindInstances{
		Filter:       decodeFilter(m),
		IncludeStats: m.flag("include_stats"),
		IncludePath:  path,
		Path:         m.short("path", pathMax),
	}
	return find, m.in.wrong
}

func decodeFilter(m object) messaging.Filter {
	m.require("droplet")
	f := messaging.Filter{
		Application: m.application("droplet"),
		// An empty version must not turn into "any version".
		Version:   m.id("version"),
		Instances: m.texts("instances"),
	}
	for _, id := range m.texts("instance_ids") {
		if !slices.Contains(f.Instances, id) {
			f.Instances = append(f.Instances, id)
		}
	}
	for i, raw := range m.list("indices", "integers") {
		f.Indices = append(f.Indices, int(m.integerOf(element("indices", i), raw, indices)))
	}
	for i, state := range m.texts("states") {
		upper := strings.ToUpper(state)
		if !slices.Contains(states, messaging.State(upper)) {
			m.refuse(element("states", i), "there is no state %.32q", state)
		}
		f.States = append(f.States, upper)
	}
	return f
}

// states are all that a filter may name, those of later features too.
var states = []messaging.State{
	messaging.Born, messaging.Starting, messaging.Running, messaging.Stopping,
	messaging.Stopped, messaging.Crashed, messaging.Evacuating, "RESUMING",
}

func decodeLocate(body []byte) (messaging.Command, error) {
	return messaging.LocateNodes{}, openOrEmpty(body).in.wrong
}

// decodeDiscover takes only what the answer hangs on: the flag for production is
// of an era whose starts say it again.
func decodeDiscover(body []byte) (messaging.Command, error) {
	m := open(body)
	m.require("droplet")
	limits := m.object("limits")
	discover := messaging.DiscoverNodes{
		Application: m.application("droplet"),
		MemoryMiB:   limits.integer("mem", mebibytes, memoryDefault),
		DiskMiB:     limits.integer("disk", mebibytes, diskDefault),
		Runtime:     m.short("runtime", idMax),
	}
	return discover, m.in.wrong
}

func decodeStatus(body []byte) (messaging.Command, error) {
	return messaging.DescribeNodes{}, openOrEmpty(body).in.wrong
}

func decodeDropletStatus(body []byte) (messaging.Command, error) {
	return messaging.DescribeInstances{}, openOrEmpty(body).in.wrong
}

// decodeRouterStart looks at fields that nothing is made of too: a router that
// garbles its greeting would garble the answers as well.
func decodeRouterStart(body []byte) (messaging.Command, error) {
	m := openOrEmpty(body)
	m.text("id")
	m.texts("hosts")
	seconds := m.integer("minimumRegisterIntervalInSeconds", anySeconds, 0)
	m.integer("pruneThresholdInSeconds", anySeconds, 0)
	return messaging.RouterStarted{Interval: time.Duration(seconds) * time.Second}, m.in.wrong
}

func decodeHealthManagerStart(body []byte) (messaging.Command, error) {
	return messaging.HealthManagerStarted{}, openOrEmpty(body).in.wrong
}

var evacuateSeconds = span{"an integer number of seconds", 1, 7 * 24 * 60 * 60}

func decodeEvacuate(body []byte) (messaging.Command, error) {
	m := openOrEmpty(body)
	seconds := m.integer("within_seconds", evacuateSeconds, 0)
	return messaging.EvacuateNode{Within: time.Duration(seconds) * time.Second}, m.in.wrong
}

func decodePS(body []byte) (messaging.Command, error) {
	return messaging.ListInstances{}, openOrEmpty(body).in.wrong
}

const linesDefault = 100

var (
	indexOrAll = span{"an index or -1 for all", -1, 1<<31 - 1}
	tailLines  = span{"an integer number of lines", 1, 10000}
)

func decodeLogsTail(body []byte) (messaging.Command, error) {
	m := open(body)
	m.require("application")
	tail := messaging.TailLogs{
		Application: m.id("application"),
		Index:       int(m.integer("index", indexOrAll, -1)),
		Lines:       int(m.integer("lines", tailLines, linesDefault)),
	}
	return tail, m.in.wrong
}
