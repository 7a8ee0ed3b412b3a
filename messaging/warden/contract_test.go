package warden

import (
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// contract are frames of Warden's own clients and server (wire/warden.md a).
var contract = []struct {
	frame   string
	kind    Type
	message proto.Message
}{
	{"340d0a085b12000d0a", TypePing, &protocol.PingRequest{}},
	{"340d0a085b12000d0a", TypePing, &protocol.PingResponse{}},
	{"31310d0a085d12070a0568656c6c6f0d0a", TypeEcho, &protocol.EchoRequest{Message: new("hello")}},
	{"360d0a085d12020a000d0a", TypeEcho, &protocol.EchoResponse{Message: new("")}},
	{"340d0a085c12000d0a", TypeList, &protocol.ListRequest{}},
	{"340d0a085c12000d0a", TypeList, &protocol.ListResponse{}},
	{"31320d0a085c12080a0268310a0268320d0a", TypeList, &protocol.ListResponse{Handles: []string{"h1", "h2"}}},
	{"340d0a080b12000d0a", TypeCreate, &protocol.CreateRequest{}},
	{"33350d0a080b121f0a0a0a022f7312022f64180010001a0168220831302e302e302e312a022f720d0a", TypeCreate,
		&protocol.CreateRequest{
			BindMounts: []*protocol.CreateRequest_BindMount{
				{SrcPath: new("/s"), DstPath: new("/d"), Mode: protocol.CreateRequest_BindMount_RO.Enum()},
			},
			GraceTime: new(uint32(0)), Handle: new("h"), Network: new("10.0.0.1"), Rootfs: new("/r"),
		}},
	{"370d0a080b12030a01680d0a", TypeCreate, &protocol.CreateResponse{Handle: new("h")}},
	{"32300d0a08011210120e756e6b6e6f776e2068616e646c650d0a", TypeError,
		&protocol.ErrorResponse{Message: new("unknown handle")}},
	{"32320d0a081712120a01681201731800220350d20928013201740d0a", TypeRun,
		&protocol.RunRequest{
			Handle: new("h"), Script: new("s"), Privileged: new(false),
			Rlimits: &protocol.ResourceLimits{Nofile: new(uint64(1234))}, DiscardOutput: new(true), LogTag: new("t"),
		}},
	{"31300d0a08171206080012001a000d0a", TypeRun,
		&protocol.RunResponse{ExitStatus: new(uint32(0)), Stdout: new(""), Stderr: new("")}},
	{"31360d0a0818120c0a067374646f75741202780a0d0a", TypeStream,
		&protocol.StreamResponse{Name: new("stdout"), Data: new("x\n")}},
	{"31360d0a0818120c1800220852066163746976650d0a", TypeStream,
		&protocol.StreamResponse{ExitStatus: new(uint32(0)), Info: &protocol.InfoResponse{State: new("active")}}},
	{"31320d0a081f12080a016810903f18500d0a", TypeNetIn,
		&protocol.NetInRequest{Handle: new("h"), HostPort: new(uint32(80)), ContainerPort: new(uint32(8080))}},
	{"33310d0a0820121b0a0168280230ffffffffffffffffff0138ffffffffffffffffff010d0a", TypeNetOut,
		&protocol.NetOutRequest{
			Handle: new("h"), Protocol: protocol.NetOutRequest_ICMP.Enum(), IcmpType: new(int32(-1)), IcmpCode: new(int32(-1)),
		}},
	{"31320d0a080c12080a01685001a001010d0a", TypeStop,
		&protocol.StopRequest{Handle: new("h"), Background: new(true), Kill: new(true)}},
	{"34300d0a080e12245206616374697665a2010d6f7574206f66206d656d6f7279c202021001e00201e002ac020d0a", TypeInfo,
		&protocol.InfoResponse{
			State: new("active"), Events: []string{"out of memory"},
			MemoryStat: &protocol.InfoResponse_MemoryStat{Rss: new(uint64(1))}, JobIds: []uint64{1, 300},
		}},
}

func TestWardensOwnFramesAreOurs(t *testing.T) {
	for _, row := range contract {
		frame, err := Frame(row.kind, row.message)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(frame); got != row.frame {
			t.Errorf("%T{%v}\ngot  %s\nwant %s", row.message, row.message, got, row.frame)
		}
		raw, err := hex.DecodeString(row.frame)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, only(t, raw), row.kind, row.message)
	}
}

// numbers are the protocol's, which no frame above has.
func TestTheTypesHaveWardensNumbers(t *testing.T) {
	want := map[string]int32{
		"Error": 1, "Create": 11, "Stop": 12, "Destroy": 13, "Info": 14, "Spawn": 21, "Link": 22, "Run": 23, "Stream": 24,
		"NetIn": 31, "NetOut": 32, "CopyIn": 41, "CopyOut": 42, "LimitMemory": 51, "LimitDisk": 52, "LimitBandwidth": 53,
		"LimitCpu": 54, "Ping": 91, "List": 92, "Echo": 93,
	}
	if len(protocol.Message_Type_value) != len(want) {
		t.Errorf("%d types, want %d", len(protocol.Message_Type_value), len(want))
	}
	for name, number := range want {
		if got, ok := protocol.Message_Type_value[name]; !ok || got != number {
			t.Errorf("%s is %d, want %d", name, got, number)
		}
	}
}
