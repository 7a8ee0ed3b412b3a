package dea

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deacon-agent/deacon/messaging"
)

// Encode turns one event into one message. Answers go to the subject that the
// question named. An event that would harm whoever hears it, such as a
// heartbeat of nobody or a route to port 0, is an error.
func Encode(event messaging.Event) (subject string, body []byte, err error) {
	subject, message, err := encode(event)
	if err == nil {
		body, err = marshal(message)
	}
	if err != nil {
		return "", nil, fmt.Errorf("dea: encode %T: %w", event, err)
	}
	return subject, body, nil
}

// encode chooses subject and shape.
func encode(event messaging.Event) (subject string, message any, err error) {
	switch e := event.(type) {
	case messaging.NodeStarted:
		return SubjectStarted, hello(e.Node), need("node id", e.Node.ID)
	case messaging.RoutersGreeted:
		return SubjectGreet, struct{}{}, nil
	case messaging.NodeStopped:
		return SubjectShutdown, goodbyeMessage{hello(e.Node), counts(e.ApplicationCount)}, need("node id", e.Node.ID)
	case messaging.Advertised:
		return SubjectAdvertise, advertise(e), need("node id", e.NodeID)
	case messaging.Beat:
		return SubjectHeartbeat, beat(e), need("node id", e.NodeID)
	case messaging.InstanceExited:
		return SubjectExited, exited(e), need("instance", e.Instance)
	case messaging.RouteRegistered:
		return SubjectRegister, route(e.Route), checkRoute(e.Route)
	case messaging.RouteUnregistered:
		return SubjectUnregister, route(e.Route), checkRoute(e.Route)
	case messaging.NodeDiscovered:
		return e.ReplyTo, hello(e.Node), cmp.Or(need("node id", e.Node.ID), checkReply(e.ReplyTo))
	case messaging.NodeDescribed:
		return e.ReplyTo, statusMessage{hello(e.Node), e.Capacity, e.Promised, e.Used, nil},
			cmp.Or(need("node id", e.Node.ID), checkReply(e.ReplyTo))
	case messaging.InstanceDescribed:
		return e.ReplyTo, stats(e.Stats), checkReply(e.ReplyTo)
	case messaging.ComponentAnnounced:
		return SubjectAnnounce, component(e.Component), checkComponent(e.Component)
	case messaging.ComponentDiscovered:
		return e.ReplyTo, discoveredMessage{component(e.Component), Uptime(e.Uptime)},
			cmp.Or(checkComponent(e.Component), checkReply(e.ReplyTo))
	case messaging.InstanceFound:
		return e.ReplyTo, found(e), checkReply(e.ReplyTo)
	default:
		return encodeOwn(event)
	}
}

// marshal leaves <, > and & as they are: they cost six bytes each otherwise,
// and what came in as JSON goes out as it came.
func marshal(message any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func need(what, text string) error {
	if text == "" {
		return fmt.Errorf("no %s", what)
	}
	return nil
}

func checkReply(subject string) error {
	if !Replyable(subject) {
		return fmt.Errorf("an answer may not go to %.64q", subject)
	}
	return nil
}

// checkRoute refuses what a router would take for a route to something else:
// it looks endpoints up by host and port alone.
func checkRoute(r messaging.Route) error {
	if r.Port == 0 {
		return errors.New("no port")
	}
	if !r.Host.IsValid() {
		return errors.New("no host")
	}
	if r.Application == "" {
		return nil
	}
	return need("node id", r.NodeID)
}

func hello(n messaging.Node) helloMessage {
	return helloMessage{ID: n.ID, IP: n.Address, Version: n.Version}
}

func advertise(e messaging.Advertised) advertiseMessage {
	return advertiseMessage{
		ID:                  e.NodeID,
		Stacks:              present(e.Stacks),
		AvailableMemory:     e.MemoryMiB,
		AvailableDisk:       e.DiskMiB,
		ApplicationCount:    counts(e.ApplicationCount),
		PlacementProperties: placement{Zone: e.Zone},
		Runtimes:            e.Runtimes,
	}
}

// beat leaves out the states that a DEA doesn't report: the health manager
// knows no word for an instance that isn't yet or is no longer meant to run,
// and counts as gone whatever is missing here, which is what it should do
// with those.
func beat(e messaging.Beat) beatMessage {
	m := beatMessage{DEA: e.NodeID, Droplets: make([]beatRow, 0, len(e.Instances))}
	for _, i := range e.Instances {
		if !reported(i.State) {
			continue
		}
		m.Droplets = append(m.Droplets, beatRow{
			Partition:      i.Partition,
			Droplet:        i.Application,
			Version:        i.Version,
			Instance:       i.Instance,
			Index:          i.Index,
			State:          i.State,
			StateTimestamp: seconds(i.Since),
		})
	}
	return m
}

func reported(s messaging.State) bool {
	return s == messaging.Starting || s == messaging.Running || s == messaging.Crashed || s == messaging.Evacuating
}

func exited(e messaging.InstanceExited) exitedMessage {
	m := exitedMessage{
		Partition:       e.Partition,
		Droplet:         e.Application,
		Version:         e.Version,
		Instance:        e.Instance,
		Index:           e.Index,
		Reason:          e.Reason,
		ExitStatus:      e.ExitStatus,
		ExitDescription: e.Description,
	}
	if e.Reason == messaging.Crash && !e.CrashedAt.IsZero() {
		m.CrashTimestamp = new(e.CrashedAt.Unix())
	}
	return m
}

// route leaves out what only an application has.
func route(r messaging.Route) any {
	if r.Application == "" {
		return serverRouteMessage{
			URIs: present(r.URIs), Host: r.Host, Port: r.Port, Tags: routeTags{Component: r.ComponentTag},
		}
	}
	return routeMessage{
		DEA:             r.NodeID,
		App:             r.Application,
		URIs:            present(r.URIs),
		Host:            r.Host,
		Port:            r.Port,
		Tags:            routeTags{Component: r.ComponentTag},
		PrivateInstance: r.PrivateInstance,
	}
}

func found(e messaging.InstanceFound) foundMessage {
	m := foundMessage{
		DEA:            e.NodeID,
		Droplet:        e.Application,
		Version:        e.Version,
		Instance:       e.Instance,
		Index:          e.Index,
		State:          e.State,
		StateTimestamp: seconds(e.Since),
		Staged:         "/" + e.Instance,
		FileURI:        e.FileURI,
	}
	m.DebugIP, m.DebugPort = place(e.DebugAt)
	m.ConsoleIP, m.ConsolePort = place(e.ConsoleAt)
	if e.Stats != nil {
		m.Stats = new(stats(*e.Stats))
	}
	return m
}

func stats(s messaging.InstanceStats) statsMessage {
	return statsMessage{
		Name:      s.Name,
		URIs:      present(s.URIs),
		Host:      s.Host,
		Port:      s.Port,
		Uptime:    wholeSeconds(s.Uptime),
		MemQuota:  s.MemQuota,
		DiskQuota: s.DiskQuota,
		FDsQuota:  s.FilesQuota,
		Usage: usageMessage{
			Time: s.MeasuredAt.Format(usageTime), CPU: s.CPU, Mem: s.MemBytes, Disk: s.DiskBytes,
		},
	}
}
