package dea

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// The messages of the DEA's wire as encoding/json sees them: names, types and
// order of wire/dea.md. Those of deacon's own wire are in own.go.

type helloMessage struct {
	ID      string     `json:"id"`
	IP      netip.Addr `json:"ip"`
	Version string     `json:"version"`
}

type goodbyeMessage struct {
	helloMessage
	ApplicationCount map[string]int `json:"app_id_to_count"`
}

type statusMessage struct {
	helloMessage
	MaxMemory      int64 `json:"max_memory"` // MiB, as the others
	ReservedMemory int64 `json:"reserved_memory"`
	UsedMemory     int64 `json:"used_memory"`
	Clients        *int  `json:"num_clients"` // null since the second generation
}

type advertiseMessage struct {
	ID                  string         `json:"id"`
	Stacks              []string       `json:"stacks"`
	AvailableMemory     int64          `json:"available_memory"`
	AvailableDisk       int64          `json:"available_disk"`
	ApplicationCount    map[string]int `json:"app_id_to_count"`
	PlacementProperties placement      `json:"placement_properties"`
	Runtimes            []string       `json:"runtimes,omitempty"` // the first era's
}

type placement struct {
	Zone string `json:"zone"`
}

type beatMessage struct {
	DEA      string    `json:"dea"`
	Droplets []beatRow `json:"droplets"`
}

type beatRow struct {
	Partition      string          `json:"cc_partition"`
	Droplet        string          `json:"droplet"`
	Version        string          `json:"version"`
	Instance       string          `json:"instance"`
	Index          int             `json:"index"`
	State          messaging.State `json:"state"`
	StateTimestamp seconds         `json:"state_timestamp"`
}

type exitedMessage struct {
	Partition       string `json:"cc_partition"`
	Droplet         string `json:"droplet"`
	Version         string `json:"version"`
	Instance        string `json:"instance"`
	Index           int    `json:"index"`
	Reason          string `json:"reason"`
	ExitStatus      int    `json:"exit_status"`
	ExitDescription string `json:"exit_description"`
	CrashTimestamp  *int64 `json:"crash_timestamp,omitempty"` // whole seconds, only when CRASHED
}

type routeMessage struct {
	DEA             string     `json:"dea"`
	App             string     `json:"app"`
	URIs            []string   `json:"uris"`
	Host            netip.Addr `json:"host"`
	Port            uint16     `json:"port"`
	Tags            routeTags  `json:"tags"`
	PrivateInstance string     `json:"private_instance_id"`
}

// serverRouteMessage is of a server that is no application.
type serverRouteMessage struct {
	URIs []string   `json:"uris"`
	Host netip.Addr `json:"host"`
	Port uint16     `json:"port"`
	Tags routeTags  `json:"tags"`
}

type routeTags struct {
	Component string `json:"component"`
}

type foundMessage struct {
	DEA            string          `json:"dea"`
	Droplet        string          `json:"droplet"`
	Version        string          `json:"version"`
	Instance       string          `json:"instance"`
	Index          int             `json:"index"`
	State          messaging.State `json:"state"`
	StateTimestamp seconds         `json:"state_timestamp"`
	Staged         string          `json:"staged"`
	DebugIP        string          `json:"debug_ip,omitempty"`
	DebugPort      uint16          `json:"debug_port,omitempty"`
	ConsoleIP      string          `json:"console_ip,omitempty"`
	ConsolePort    uint16          `json:"console_port,omitempty"`
	FileURI        string          `json:"file_uri_v2,omitempty"`
	Stats          *statsMessage   `json:"stats,omitempty"`
}

type statsMessage struct {
	Name      string       `json:"name"`
	URIs      []string     `json:"uris"`
	Host      netip.Addr   `json:"host"`
	Port      uint16       `json:"port"`
	Uptime    int64        `json:"uptime"` // whole seconds
	MemQuota  int64        `json:"mem_quota"`
	DiskQuota int64        `json:"disk_quota"`
	FDsQuota  uint64       `json:"fds_quota"`
	Usage     usageMessage `json:"usage"`
}

type usageMessage struct {
	Time string  `json:"time"` // usageTime
	CPU  float64 `json:"cpu"`  // 1.0: one core
	Mem  int64   `json:"mem"`  // bytes
	Disk int64   `json:"disk"` // bytes
}

// usageTime is how Ruby prints a Time, and what clients have learnt to read.
const usageTime = "2006-01-02 15:04:05 -0700"

// What a controller sends.

type startMessage struct {
	Partition          string           `json:"cc_partition"`
	Droplet            string           `json:"droplet"`
	Index              int              `json:"index"`
	Name               string           `json:"name"`
	Version            string           `json:"version"`
	URIs               []string         `json:"uris"`
	SHA1               *string          `json:"sha1"`
	SHA256             string           `json:"sha256,omitempty"` // deacon's own
	ExecutableURI      *string          `json:"executableUri"`
	Limits             limitsMessage    `json:"limits"`
	Services           []serviceMessage `json:"services"`
	Env                []string         `json:"env"`
	Stack              string           `json:"stack,omitempty"`
	StartCommand       *string          `json:"start_command"`
	HealthCheckTimeout *int64           `json:"health_check_timeout"`
	VCAPApplication    json.RawMessage  `json:"vcap_application,omitempty"`
	EgressNetworkRules []egressMessage  `json:"egress_network_rules"`
	firstMessage
}

type limitsMessage struct {
	Mem  int64  `json:"mem"`
	Disk int64  `json:"disk"`
	FDs  uint64 `json:"fds"`
}

type serviceMessage struct {
	Name           string          `json:"name"`
	Label          string          `json:"label"`
	Tags           []string        `json:"tags,omitempty"`
	Plan           string          `json:"plan,omitempty"`
	PlanOption     string          `json:"plan_option,omitempty"`
	Vendor         string          `json:"vendor,omitempty"`
	Version        string          `json:"version,omitempty"`
	Type           string          `json:"type,omitempty"`
	SyslogDrainURL string          `json:"syslog_drain_url,omitempty"`
	Credentials    json.RawMessage `json:"credentials"` // null where there are none
}

type egressMessage struct {
	Protocol    string `json:"protocol"`
	Destination string `json:"destination,omitempty"`
	Ports       string `json:"ports,omitempty"`
	Type        *int   `json:"type,omitempty"` // left out for any
	Code        *int   `json:"code,omitempty"`
	Log         bool   `json:"log,omitempty"`
}

type filterMessage struct {
	Droplet   string   `json:"droplet"`
	Version   string   `json:"version,omitempty"`
	Instances []string `json:"instances,omitempty"`
	Indices   []int    `json:"indices,omitempty"`
	States    []string `json:"states,omitempty"`
}

type updateMessage struct {
	Droplet string   `json:"droplet"`
	URIs    []string `json:"uris"`
	Version string   `json:"version,omitempty"`

	EgressNetworkRules *[]egressMessage `json:"egress_network_rules,omitempty"`
}

type discoverMessage struct {
	Droplet string      `json:"droplet"`
	Limits  roomMessage `json:"limits"`
	Runtime string      `json:"runtime,omitempty"`
}

type routerMessage struct {
	Interval int64 `json:"minimumRegisterIntervalInSeconds,omitempty"`
}

type roomMessage struct {
	Mem  int64 `json:"mem"`
	Disk int64 `json:"disk"`
}

type findMessage struct {
	filterMessage
	IncludeStats bool   `json:"include_stats,omitempty"`
	Path         string `json:"path,omitempty"`
}

// present is list, never null.
func present(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// counts is m, never null.
func counts(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

// given is where text is, or null where it is empty.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func wholeSeconds(d time.Duration) int64 { return int64(d / time.Second) }
