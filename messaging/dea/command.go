package dea

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/deacon-agent/deacon/messaging"
)

// EncodeCommand turns what may be asked of a node into a message, as any
// controller would send it. Only a start and an
// evacuation need the id of the node they are for.
func EncodeCommand(cmd messaging.Command, nodeID string) (subject string, body []byte, err error) {
	subject, message, err := encodeCommand(cmd, nodeID)
	if err == nil {
		body, err = marshal(message)
	}
	if err != nil {
		return "", nil, fmt.Errorf("dea: encode %T: %w", cmd, err)
	}
	return subject, body, nil
}

func encodeCommand(cmd messaging.Command, nodeID string) (subject string, message any, err error) {
	switch c := cmd.(type) {
	case messaging.StartInstance:
		return StartSubject(nodeID), start(c), CheckNodeID(nodeID)
	case messaging.StopInstances:
		return SubjectStop, filter(c.Filter), need("application", c.Filter.Application)
	case messaging.UpdateInstances:
		return SubjectUpdate, changes(c), need("application", c.Application)
	case messaging.FindInstances:
		m := findMessage{filterMessage: filter(c.Filter), IncludeStats: c.IncludeStats}
		if c.IncludePath {
			m.Path = cmp.Or(c.Path, "/")
		}
		return SubjectFind, m, need("application", c.Filter.Application)
	case messaging.LocateNodes:
		return SubjectLocate, struct{}{}, nil
	case messaging.DiscoverNodes:
		return SubjectDiscover, discoverMessage{c.Application, roomMessage{c.MemoryMiB, c.DiskMiB}, c.Runtime},
			need("application", c.Application)
	case messaging.DescribeNodes:
		return SubjectStatus, struct{}{}, nil
	case messaging.DescribeInstances:
		return SubjectDropletStatus, struct{}{}, nil
	case messaging.RouterStarted:
		return SubjectRouterStart, routerMessage{wholeSeconds(c.Interval)}, nil
	case messaging.HealthManagerStarted:
		return SubjectHealthManagerStart, struct{}{}, nil
	case messaging.EvacuateNode:
		return EvacuateSubject(nodeID), evacuateMessage{wholeSeconds(c.Within)}, CheckNodeID(nodeID)
	case messaging.DiscoverComponents:
		return SubjectComponents, struct{}{}, nil
	case messaging.ListActors:
		return SubjectActors, struct{}{}, nil
	case messaging.ListInstances:
		return SubjectPS, struct{}{}, nil
	case messaging.DescribeUsage:
		return SubjectUsage, struct{}{}, nil
	case messaging.TailLogs:
		return SubjectLogsTail, tailMessage{c.Application, c.Index, c.Lines}, need("application", c.Application)
	default:
		return "", nil, errors.New("no such command")
	}
}

func filter(f messaging.Filter) filterMessage {
	return filterMessage{f.Application, f.Version, f.Instances, f.Indices, f.States}
}

func start(c messaging.StartInstance) startMessage {
	m := startMessage{
		Partition:       c.Partition,
		Droplet:         c.Application,
		Index:           c.Index,
		Name:            c.Name,
		Version:         c.Version,
		URIs:            present(c.URIs),
		SHA1:            given(c.Droplet.SHA1),
		SHA256:          c.Droplet.SHA256,
		ExecutableURI:   given(c.Droplet.URI),
		Limits:          limitsMessage{c.Limits.MemoryMiB, c.Limits.DiskMiB, c.Limits.Files},
		Services:        []serviceMessage{},
		Env:             []string{},
		Stack:           c.Stack,
		StartCommand:    given(c.StartCommand),
		VCAPApplication: c.VCAPApplication,
		firstMessage:    first(c.First),
	}
	if s := wholeSeconds(c.HealthCheckTimeout); s != 0 {
		m.HealthCheckTimeout = &s
	}
	for _, s := range c.Services {
		m.Services = append(m.Services, serviceMessage{
			s.Name, s.Label, s.Tags, s.Plan, s.PlanOption, s.Vendor, s.Version, s.Type, s.SyslogDrainURL, s.Credentials,
		})
	}
	for _, v := range c.Environment {
		m.Env = append(m.Env, v.Name+"="+v.Value)
	}
	m.EgressNetworkRules = egressRules(c.Egress)
	return m
}

func changes(c messaging.UpdateInstances) updateMessage {
	m := updateMessage{Droplet: c.Application, URIs: present(c.URIs), Version: c.Version}
	if c.Egress != nil {
		m.EgressNetworkRules = new(egressRules(*c.Egress))
	}
	return m
}

func egressRules(rules []messaging.EgressRule) []egressMessage {
	all := []egressMessage{}
	for _, r := range rules {
		all = append(all, egress(r))
	}
	return all
}

func egress(r messaging.EgressRule) egressMessage {
	m := egressMessage{Protocol: r.Protocol, Destination: r.Destination, Ports: r.Ports, Log: r.Log}
	if r.Type >= 0 {
		m.Type = &r.Type
	}
	if r.Code >= 0 {
		m.Code = &r.Code
	}
	return m
}
