package warden

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// decoders of every request but those that Local answers.
var decoders = map[Type]func(Message, messaging.Ask) (messaging.Command, error){
	TypeCreate:         decoder(create),
	TypeStop:           decoder(stop),
	TypeDestroy:        decoder(destroy),
	TypeInfo:           decoder(inspect),
	TypeList:           decoder(list),
	TypeSpawn:          decoder(spawn),
	TypeRun:            decoder(run),
	TypeLink:           decoder(link),
	TypeStream:         decoder(stream),
	TypeNetIn:          decoder(netIn),
	TypeNetOut:         decoder(netOut),
	TypeCopyIn:         decoder(copyIn),
	TypeCopyOut:        decoder(copyOut),
	TypeLimitMemory:    decoder(limitMemory),
	TypeLimitCPU:       decoder(limitCPU),
	TypeLimitDisk:      decoder(limitDisk),
	TypeLimitBandwidth: decoder(limitBandwidth),
}

// Decode turns one request into one Command, which says who asked. It keeps
// nothing of m and never panics. Every error is an *InvalidError, a ping's and
// an echo's too: they are for Local.
func Decode(m Message, ask messaging.Ask) (messaging.Command, error) {
	decode, ok := decoders[m.Type]
	if !ok {
		return nil, &InvalidError{"message", fmt.Sprintf("the node takes no request of type %d", m.Type)}
	}
	return decode(m, ask)
}

// decoder parses a request, and then what makes the command of it can't fail.
func decoder[R any, P interface {
	*R
	proto.Message
}](command func(P, messaging.Ask) messaging.Command) func(Message, messaging.Ask) (messaging.Command, error) {
	return func(m Message, ask messaging.Ask) (messaging.Command, error) {
		request := P(new(R))
		if err := Parse(m, request); err != nil {
			return nil, err
		}
		return command(request, ask), nil
	}
}

func create(r *protocol.CreateRequest, ask messaging.Ask) messaging.Command {
	c := messaging.CreateContainer{Ask: ask, Handle: r.Handle, Network: r.GetNetwork(), Rootfs: r.GetRootfs()}
	if r.GraceTime != nil {
		c.Grace = new(time.Duration(*r.GraceTime) * time.Second)
	}
	for _, b := range r.BindMounts {
		c.Binds = append(c.Binds, messaging.BindMount{
			Source:   b.GetSrcPath(),
			Target:   b.GetDstPath(),
			ReadOnly: b.GetMode() == protocol.CreateRequest_BindMount_RO,
		})
	}
	return c
}

func stop(r *protocol.StopRequest, ask messaging.Ask) messaging.Command {
	return messaging.StopContainer{
		Ask: ask, Handle: r.GetHandle(), Background: r.GetBackground(), Kill: r.GetKill(),
	}
}

func destroy(r *protocol.DestroyRequest, ask messaging.Ask) messaging.Command {
	return messaging.DestroyContainer{Ask: ask, Handle: r.GetHandle()}
}

func inspect(r *protocol.InfoRequest, ask messaging.Ask) messaging.Command {
	return messaging.InspectContainer{Ask: ask, Handle: r.GetHandle()}
}

func list(_ *protocol.ListRequest, ask messaging.Ask) messaging.Command {
	return messaging.ListContainers{Ask: ask}
}

func spawn(r *protocol.SpawnRequest, ask messaging.Ask) messaging.Command {
	return messaging.SpawnJob{Ask: ask, Handle: r.GetHandle(), Script: script(r)}
}

func run(r *protocol.RunRequest, ask messaging.Ask) messaging.Command {
	return messaging.RunJob{Ask: ask, Handle: r.GetHandle(), Script: script(r)}
}

// script is of the requests that have the same six fields.
func script(r interface {
	GetScript() string
	GetPrivileged() bool
	GetRlimits() *protocol.ResourceLimits
	GetDiscardOutput() bool
	GetLogTag() string
}) messaging.Script {
	return messaging.Script{
		Text:       r.GetScript(),
		Privileged: r.GetPrivileged(),
		Rlimits:    rlimits(r.GetRlimits()),
		Discard:    r.GetDiscardOutput(),
		LogTag:     r.GetLogTag(),
	}
}

// rlimits are those that were given, in the protocol's order. The names of the
// fields are the names of the limits.
func rlimits(r *protocol.ResourceLimits) []messaging.Rlimit {
	var given []messaging.Rlimit
	m := r.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); m.Has(f) {
			given = append(given, messaging.Rlimit{Name: string(f.Name()), Value: m.Get(f).Uint()})
		}
	}
	return given
}

func link(r *protocol.LinkRequest, ask messaging.Ask) messaging.Command {
	return messaging.LinkJob{Ask: ask, Handle: r.GetHandle(), Job: r.GetJobId()}
}

func stream(r *protocol.StreamRequest, ask messaging.Ask) messaging.Command {
	return messaging.StreamJob{Ask: ask, Handle: r.GetHandle(), Job: r.GetJobId()}
}

func netIn(r *protocol.NetInRequest, ask messaging.Ask) messaging.Command {
	return messaging.MapPort{Ask: ask, Handle: r.GetHandle(), Container: r.ContainerPort, Host: r.HostPort}
}

func netOut(r *protocol.NetOutRequest, ask messaging.Ask) messaging.Command {
	return messaging.AllowEgress{
		Ask:       ask,
		Handle:    r.GetHandle(),
		Network:   r.GetNetwork(),
		Port:      r.Port,
		PortRange: r.GetPortRange(),
		Protocol:  protocolName(r.GetProtocol()),
		Type:      r.IcmpType,
		Code:      r.IcmpCode,
		Log:       r.GetLog(),
	}
}

// protocolName takes a number that isn't in the protocol for the default, as
// proto2 and the Ruby server do.
func protocolName(p protocol.NetOutRequest_Protocol) string {
	switch p {
	case protocol.NetOutRequest_UDP:
		return "udp"
	case protocol.NetOutRequest_ICMP:
		return "icmp"
	case protocol.NetOutRequest_ALL:
		return "all"
	}
	return "tcp"
}

func copyIn(r *protocol.CopyInRequest, ask messaging.Ask) messaging.Command {
	return messaging.CopyIn{Ask: ask, Handle: r.GetHandle(), Source: r.GetSrcPath(), Target: r.GetDstPath()}
}

func copyOut(r *protocol.CopyOutRequest, ask messaging.Ask) messaging.Command {
	return messaging.CopyOut{
		Ask: ask, Handle: r.GetHandle(), Source: r.GetSrcPath(), Target: r.GetDstPath(), Owner: r.GetOwner(),
	}
}

func limitMemory(r *protocol.LimitMemoryRequest, ask messaging.Ask) messaging.Command {
	return messaging.LimitMemory{Ask: ask, Handle: r.GetHandle(), Bytes: r.LimitInBytes}
}

func limitCPU(r *protocol.LimitCpuRequest, ask messaging.Ask) messaging.Command {
	return messaging.LimitCPU{Ask: ask, Handle: r.GetHandle(), Shares: r.LimitInShares}
}

func limitBandwidth(r *protocol.LimitBandwidthRequest, ask messaging.Ask) messaging.Command {
	return messaging.LimitBandwidth{Ask: ask, Handle: r.GetHandle(), Rate: r.GetRate(), Burst: r.GetBurst()}
}
