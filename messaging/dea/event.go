package dea

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// DecodeEvent is the other side of Encode, for the command line and for tests:
// it reads what a node tells. Every error is an *InvalidError.
func DecodeEvent(subject string, body []byte) (messaging.Event, error) {
	decode, ok := eventDecoders[subject]
	if strings.HasPrefix(subject, logsPrefix) {
		decode, ok = decodeLine, true
	}
	return decodeWith(decode, ok, subject, body)
}

// DecodeReply reads an answer to what was asked on the subject question.
func DecodeReply(question string, body []byte) (messaging.Event, error) {
	decode, ok := replyDecoders[question]
	if isEvacuate(question) {
		decode, ok = decodeEvacuating, true
	}
	return decodeWith(decode, ok, question, body)
}

type eventDecoder func(body []byte) (messaging.Event, error)

var eventDecoders = map[string]eventDecoder{
	SubjectStarted:    decodeStarted,
	SubjectGreet:      decodeGreet,
	SubjectShutdown:   decodeShutdown,
	SubjectAdvertise:  decodeAdvertise,
	SubjectHeartbeat:  decodeBeat,
	SubjectExited:     decodeExited,
	SubjectRegister:   decodeRegister,
	SubjectUnregister: decodeUnregister,
	SubjectAnnounce:   decodeAnnounced,
	SubjectInstance:   decodeChanged,
	SubjectUpdated:    decodeUpdated,
	SubjectActor:      decodeGaveUp,
	SubjectAsked:      decodeAsked,
}

var replyDecoders = map[string]eventDecoder{
	SubjectDiscover:   decodeDiscovered,
	SubjectComponents: decodeComponent,
	SubjectStatus:     decodeDescribed,
	SubjectFind:       decodeFound,
	SubjectPS:         decodeListed,
	SubjectActors:     decodeActors,
	SubjectLogsTail:   decodeTailed,

	SubjectDropletStatus: decodeDropletDescribed,
	SubjectUsage:         decodeUsageDescribed,
}

func decodeWith(decode eventDecoder, ok bool, subject string, body []byte) (messaging.Event, error) {
	if !ok {
		return nil, &InvalidError{subject, "there is no such event"}
	}
	err := check(body)
	if err == nil {
		var event messaging.Event
		if event, err = decode(body); err == nil {
			return event, nil
		}
	}
	return nil, &InvalidError{subject, err.Error()}
}

// read is encoding/json's reading of a message, which is all that what our own
// nodes say needs.
func read[M any](body []byte) (M, error) {
	var m M
	err := json.Unmarshal(body, &m)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("%s: want %s, got %s", wrong.Field, wrong.Type, wrong.Value)
	}
	return m, err
}

func (m helloMessage) node() messaging.Node {
	return messaging.Node{ID: m.ID, Address: m.IP, Version: m.Version}
}

func decodeStarted(body []byte) (messaging.Event, error) {
	m, err := read[helloMessage](body)
	return messaging.NodeStarted{Node: m.node()}, cmp.Or(err, missing("id", m.ID))
}

func decodeShutdown(body []byte) (messaging.Event, error) {
	m, err := read[goodbyeMessage](body)
	return messaging.NodeStopped{Node: m.node(), ApplicationCount: m.ApplicationCount},
		cmp.Or(err, missing("id", m.ID))
}

func decodeDiscovered(body []byte) (messaging.Event, error) {
	m, err := read[helloMessage](body)
	return messaging.NodeDiscovered{Node: m.node()}, cmp.Or(err, missing("id", m.ID))
}

func decodeDescribed(body []byte) (messaging.Event, error) {
	m, err := read[statusMessage](body)
	return messaging.NodeDescribed{
		Node: m.node(), Capacity: m.MaxMemory, Promised: m.ReservedMemory, Used: m.UsedMemory,
	}, cmp.Or(err, missing("id", m.ID))
}

func decodeAdvertise(body []byte) (messaging.Event, error) {
	m, err := read[advertiseMessage](body)
	return messaging.Advertised{
		NodeID:           m.ID,
		Stacks:           m.Stacks,
		MemoryMiB:        m.AvailableMemory,
		DiskMiB:          m.AvailableDisk,
		ApplicationCount: m.ApplicationCount,
		Zone:             m.PlacementProperties.Zone,
		Runtimes:         m.Runtimes,
	}, cmp.Or(err, missing("id", m.ID))
}

func decodeBeat(body []byte) (messaging.Event, error) {
	m, err := read[beatMessage](body)
	beat := messaging.Beat{NodeID: m.DEA}
	for i, row := range m.Droplets {
		if err == nil && !reported(row.State) {
			err = fmt.Errorf("droplets[%d].state: %.32q is not for heartbeats", i, string(row.State))
		}
		beat.Instances = append(beat.Instances, messaging.BeatInstance{
			Partition:   row.Partition,
			Application: row.Droplet,
			Version:     row.Version,
			Instance:    row.Instance,
			Index:       row.Index,
			State:       row.State,
			Since:       time.Time(row.StateTimestamp),
		})
	}
	return beat, cmp.Or(err, missing("dea", m.DEA))
}

func decodeExited(body []byte) (messaging.Event, error) {
	m, err := read[exitedMessage](body)
	e := messaging.InstanceExited{
		Partition:   m.Partition,
		Application: m.Droplet,
		Version:     m.Version,
		Instance:    m.Instance,
		Index:       m.Index,
		Reason:      m.Reason,
		ExitStatus:  m.ExitStatus,
		Description: m.ExitDescription,
	}
	if at := m.CrashTimestamp; at != nil && e.Reason == string(messaging.Crashed) {
		if *at < 0 || *at > secondsMax {
			err = cmp.Or(err, fmt.Errorf("crash_timestamp: %d is out of range", *at))
		}
		e.CrashedAt = time.Unix(*at, 0).UTC()
	}
	return e, cmp.Or(err, missing("instance", m.Instance))
}

func decodeRegister(body []byte) (messaging.Event, error) {
	r, err := decodeRoute(body)
	return messaging.RouteRegistered{Route: r}, err
}

func decodeUnregister(body []byte) (messaging.Event, error) {
	r, err := decodeRoute(body)
	return messaging.RouteUnregistered{Route: r}, err
}

func decodeRoute(body []byte) (messaging.Route, error) {
	m, err := read[routeMessage](body)
	r := messaging.Route{
		NodeID:          m.DEA,
		Application:     m.App,
		URIs:            m.URIs,
		Host:            m.Host,
		Port:            m.Port,
		ComponentTag:    m.Tags.Component,
		PrivateInstance: m.PrivateInstance,
	}
	return r, cmp.Or(err, checkRoute(r))
}

func decodeFound(body []byte) (messaging.Event, error) {
	m, err := read[foundMessage](body)
	e := messaging.InstanceFound{
		NodeID:      m.DEA,
		Application: m.Droplet,
		Version:     m.Version,
		Instance:    m.Instance,
		Index:       m.Index,
		State:       m.State,
		Since:       time.Time(m.StateTimestamp),
		FileURI:     m.FileURI,
	}
	if err == nil {
		e.DebugAt, err = placeOf("debug", m.DebugIP, m.DebugPort)
	}
	if err == nil {
		e.ConsoleAt, err = placeOf("console", m.ConsoleIP, m.ConsolePort)
	}
	if err == nil && m.Stats != nil {
		e.Stats, err = m.Stats.stats()
	}
	return e, cmp.Or(err, missing("instance", m.Instance))
}

func decodeDropletDescribed(body []byte) (messaging.Event, error) {
	m, err := read[statsMessage](body)
	if err != nil {
		return nil, err
	}
	stats, err := m.stats()
	if err != nil {
		return nil, err
	}
	return messaging.InstanceDescribed{Stats: *stats}, missing("name", m.Name)
}

func decodeGreet([]byte) (messaging.Event, error) { return messaging.RoutersGreeted{}, nil }

// uptimeMax keeps a duration from overflowing; no machine is up for 100 years.
const uptimeMax = 100 * 365 * 24 * 60 * 60

func (m *statsMessage) stats() (*messaging.InstanceStats, error) {
	at, err := time.Parse(usageTime, m.Usage.Time)
	if err != nil {
		return nil, fmt.Errorf("stats.usage.time: want a time like %q", usageTime)
	}
	if m.Uptime < 0 || m.Uptime > uptimeMax {
		return nil, fmt.Errorf("stats.uptime: %d s is out of range", m.Uptime)
	}
	return &messaging.InstanceStats{
		Name:       m.Name,
		URIs:       m.URIs,
		Host:       m.Host,
		Port:       m.Port,
		Uptime:     time.Duration(m.Uptime) * time.Second,
		MemQuota:   m.MemQuota,
		DiskQuota:  m.DiskQuota,
		FilesQuota: m.FDsQuota,
		MeasuredAt: at,
		CPU:        m.Usage.CPU,
		MemBytes:   m.Usage.Mem,
		DiskBytes:  m.Usage.Disk,
	}, nil
}

func decodeListed(body []byte) (messaging.Event, error) {
	m, err := read[listedMessage](body)
	e := messaging.InstancesListed{NodeID: m.NodeID, Files: m.Files}
	for _, row := range m.Instances {
		e.Instances = append(e.Instances, messaging.InstanceRow(row))
	}
	return e, cmp.Or(err, missing("node", m.NodeID))
}

func decodeTailed(body []byte) (messaging.Event, error) {
	m, err := read[tailedMessage](body)
	var e messaging.LogsTailed
	for _, l := range m.Lines {
		e.Lines = append(e.Lines, l.line())
	}
	return e, err
}

func decodeLine(body []byte) (messaging.Event, error) {
	m, err := read[lineMessage](body)
	if err == nil && m.Index < 0 {
		err = fmt.Errorf("index: %d is negative", m.Index)
	}
	return m.line(), cmp.Or(err, missing("application", m.Application))
}

func decodeChanged(body []byte) (messaging.Event, error) {
	m, err := read[changedMessage](body)
	return messaging.InstanceChanged(m), cmp.Or(err, missing("instance", m.Instance))
}

func decodeUpdated(body []byte) (messaging.Event, error) {
	m, err := read[updatedMessage](body)
	return messaging.InstanceUpdated(m), cmp.Or(err, missing("instance", m.Instance))
}

func decodeEvacuating(body []byte) (messaging.Event, error) {
	m, err := read[evacuatingMessage](body)
	return messaging.NodeEvacuating{NodeID: m.NodeID, Instances: m.Instances, By: m.By},
		cmp.Or(err, missing("node", m.NodeID))
}

func decodeGaveUp(body []byte) (messaging.Event, error) {
	m, err := read[gaveUpMessage](body)
	return messaging.ActorGaveUp(m), cmp.Or(err, missing("actor", m.Actor))
}

func missing(key, text string) error {
	if text == "" {
		return fmt.Errorf("%s: missing", key)
	}
	return nil
}
