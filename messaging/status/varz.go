package status

import (
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// varz is what both generations of the DEA told (wire/dea.md a.11), in one object.
type varz struct {
	Type        string    `json:"type"`
	Index       int       `json:"index"`
	UUID        string    `json:"uuid"`
	Host        string    `json:"host"`
	Credentials [2]string `json:"credentials"`
	Start       string    `json:"start"`
	Uptime      string    `json:"uptime"`
	Cores       int       `json:"num_cores"`
	Config      any       `json:"config"`
	Memory      int64     `json:"mem"` // KB
	CPU         float64   `json:"cpu"` // percent

	// The first generation's, in MB.
	AppsMaxMemory      int64                   `json:"apps_max_memory"`
	AppsReservedMemory int64                   `json:"apps_reserved_memory"`
	AppsUsedMemory     int64                   `json:"apps_used_memory"`
	Apps               int                     `json:"num_apps"`
	RunningApps        []runningApp            `json:"running_apps"`
	Frameworks         map[string]runtimeUsage `json:"frameworks"` // of an era that knew of them; empty
	Runtimes           map[string]runtimeUsage `json:"runtimes"`   // by stack
	State              string                  `json:"state"`

	// The second generation's.
	Stacks               []string                         `json:"stacks"`
	CanStage             int                              `json:"can_stage"`
	ReservableStagers    int64                            `json:"reservable_stagers"`
	AvailableMemoryRatio float64                          `json:"available_memory_ratio"`
	AvailableDiskRatio   float64                          `json:"available_disk_ratio"`
	Registry             map[string]map[string]registered `json:"instance_registry"`
	Containers           []string                         `json:"warden_containers"`
	LogCounts            map[string]uint64                `json:"log_counts"`
}

type runtimeUsage struct {
	UsedMemory     int64   `json:"used_memory"`     // KB
	ReservedMemory int64   `json:"reserved_memory"` // KB
	UsedDisk       int64   `json:"used_disk"`
	UsedCPU        float64 `json:"used_cpu"` // percent of a core
}

type runningApp struct {
	registered
	Usage usage `json:"usage"`
}

type usage struct {
	Time   string  `json:"time"`
	CPU    float64 `json:"cpu"`
	Memory int64   `json:"mem"`
	Disk   int64   `json:"disk"`
}

// registered is an instance without what may hold secrets: its environment, its
// services, where its droplet came from and how it is started.
type registered struct {
	Partition       string          `json:"cc_partition"`
	Instance        string          `json:"instance_id"`
	Index           int             `json:"instance_index"`
	PrivateInstance string          `json:"private_instance_id"`
	Container       string          `json:"warden_handle"`
	Application     string          `json:"application_id"`
	Version         string          `json:"application_version"`
	Name            string          `json:"application_name"`
	URIs            []string        `json:"application_uris"`
	SHA1            string          `json:"droplet_sha1"`
	Stack           string          `json:"stack"`
	Limits          limits          `json:"limits"`
	State           messaging.State `json:"state"`
	StateTimestamp  float64         `json:"state_timestamp"`
	Port            uint16          `json:"instance_host_port"`
	UsedMemory      int64           `json:"used_memory_in_bytes"`
	UsedDisk        int64           `json:"used_disk_in_bytes"`
	CPU             float64         `json:"computed_pcpu"` // share of one core
}

type limits struct {
	Memory int64  `json:"mem"`
	Disk   int64  `json:"disk"`
	Files  uint64 `json:"fds"`
}

// timeForm is how Ruby prints a Time, and what clients have learnt to read.
const timeForm = "2006-01-02 15:04:05 -0700"

func varzOf(r messaging.Report, state string) varz {
	c := r.Component
	v := varz{
		Type: c.Type, Index: c.Index, UUID: c.UUID, Host: c.Address.String(), Credentials: [2]string{c.User, c.Password},
		Start: c.Started.Format(timeForm), Uptime: dea.Uptime(r.At.Sub(c.Started)),
		Cores: r.Agent.Cores, Config: r.Config, Memory: r.Agent.MemoryBytes >> 10, CPU: r.Agent.CPUPercent,
		AppsMaxMemory: r.MemoryMiB.Capacity, AppsReservedMemory: r.MemoryMiB.Promised, State: state,
		RunningApps: []runningApp{}, Frameworks: map[string]runtimeUsage{}, Runtimes: map[string]runtimeUsage{},
		Stacks: present(r.Stacks), AvailableMemoryRatio: r.MemoryMiB.Ratio(), AvailableDiskRatio: r.DiskMiB.Ratio(),
		Registry: map[string]map[string]registered{}, Containers: present(r.Containers), LogCounts: r.Logged,
	}
	for _, i := range r.Instances {
		v.add(i, r.At)
	}
	v.AppsUsedMemory >>= 20
	return v
}

// add counts bytes in AppsUsedMemory; varzOf makes MB of them.
func (v *varz) add(i messaging.InstanceReport, at time.Time) {
	one := registeredOf(i)
	if v.Registry[i.Application] == nil {
		v.Registry[i.Application] = map[string]registered{}
	}
	v.Registry[i.Application][i.Instance] = one
	if i.State != messaging.Crashed {
		v.Apps++
		runtime := v.Runtimes[i.Stack]
		runtime.ReservedMemory += i.Limits.MemoryMiB << 10
		runtime.UsedMemory += one.UsedMemory >> 10
		runtime.UsedDisk += one.UsedDisk
		runtime.UsedCPU += 100 * one.CPU
		v.Runtimes[i.Stack] = runtime
	}
	if i.Port != 0 { // it serves, also where it is evacuated
		v.AppsUsedMemory += one.UsedMemory
		v.RunningApps = append(v.RunningApps, runningApp{
			one, usage{at.Format(timeForm), one.CPU, one.UsedMemory, one.UsedDisk},
		})
	}
}

func registeredOf(i messaging.InstanceReport) registered {
	one := registered{
		Partition: i.Partition, Instance: i.Instance, Index: i.Index, PrivateInstance: i.PrivateInstance,
		Container: i.Container, Application: i.Application, Version: i.Version, Name: i.Name, URIs: present(i.URIs),
		SHA1: i.DropletSHA1, Stack: i.Stack, Limits: limits{i.Limits.MemoryMiB, i.Limits.DiskMiB, i.Limits.Files},
		State:          i.State,
		StateTimestamp: float64(i.Since.UnixMicro()) / 1e6, Port: i.Port,
	}
	if u := i.Usage; u != nil {
		one.UsedMemory, one.UsedDisk, one.CPU = u.MemoryBytes, u.DiskBytes, u.CPUShare
	}
	return one
}

// present is an empty list for none: nothing is null here.
func present(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
