package warden

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// Encode makes the frame of an answer to a request of a type. One that the
// request can't have, or that is longer than MessageMax, is an error.
func Encode(t Type, a messaging.Answer) ([]byte, error) {
	if failed, ok := a.(messaging.Failed); ok {
		return Frame(TypeError, &protocol.ErrorResponse{Message: &failed.Text})
	}
	content, answers := response(t, a)
	if !slices.Contains(answers, t) {
		return nil, fmt.Errorf("warden: encode %v: %T is no answer to it", t, a)
	}
	return Frame(t, content)
}

// types are those of the requests that an answer is for.
type types []Type

// response chooses an answer's shape. Everything that could be 0 or empty is
// there nevertheless: clients look for nil, and one that misses exit_status
// waits for ever.
func response(t Type, a messaging.Answer) (proto.Message, types) {
	switch a := a.(type) {
	case messaging.Done:
		return empty, types{TypeStop, TypeDestroy, TypeNetOut, TypeCopyIn, TypeCopyOut}
	case messaging.ContainerCreated:
		return &protocol.CreateResponse{Handle: &a.Handle}, types{TypeCreate}
	case messaging.ContainersListed:
		return &protocol.ListResponse{Handles: a.Handles}, types{TypeList}
	case messaging.ContainerInspected:
		return info(a.Info), types{TypeInfo}
	case messaging.JobSpawned:
		return &protocol.SpawnResponse{JobId: &a.Job}, types{TypeSpawn}
	case messaging.JobLinked:
		return jobLinked(t, a), types{TypeLink, TypeRun}
	case messaging.JobStreamed:
		return &protocol.StreamResponse{ExitStatus: &a.Status, Info: info(a.Info)}, types{TypeStream}
	case messaging.PortMapped:
		return &protocol.NetInResponse{HostPort: &a.Host, ContainerPort: &a.Container}, types{TypeNetIn}
	case messaging.MemoryLimited:
		return &protocol.LimitMemoryResponse{LimitInBytes: &a.Bytes}, types{TypeLimitMemory}
	case messaging.CPULimited:
		return &protocol.LimitCpuResponse{LimitInShares: &a.Shares}, types{TypeLimitCPU}
	case messaging.DiskLimited:
		return diskLimited(a), types{TypeLimitDisk}
	case messaging.BandwidthLimited:
		return &protocol.LimitBandwidthResponse{Rate: &a.Rate, Burst: &a.Burst}, types{TypeLimitBandwidth}
	default:
		return nil, nil
	}
}

// empty is every response without a field.
var empty = &protocol.StopResponse{}

func jobLinked(t Type, a messaging.JobLinked) proto.Message {
	stdout, stderr := string(a.Stdout), string(a.Stderr)
	if t == TypeRun {
		return &protocol.RunResponse{ExitStatus: &a.Status, Stdout: &stdout, Stderr: &stderr, Info: info(a.Info)}
	}
	return &protocol.LinkResponse{ExitStatus: &a.Status, Stdout: &stdout, Stderr: &stderr, Info: info(a.Info)}
}
