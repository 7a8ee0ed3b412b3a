package warden

import (
	"errors"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

// malformed are payloads, by the type of the request, and why they are refused.
var malformed = map[Type]map[string]string{
	TypeCreate: {
		"\x0a\x04\x0a\x02/s":                               "bind_mounts[0].dst_path: missing",
		"\x0a\x08\x0a\x02/s\x12\x02/d":                     "bind_mounts[0].mode: missing",
		"\x0a\x0a\x0a\x02/s\x12\x02/d\x18\x02":             "bind_mounts[0].mode: there is no Mode 2",
		"\x0a\x0a\x0a\x02/s\x12\x02/d\x18\x01\x0a\x00":     "bind_mounts[1].src_path: missing",
		"\x0a\x0c\x0a\x02/s\x12\x02/d\x1a\x02RO":           "bind_mounts[0].mode: of the wrong kind",
		"\x0a\x0a\x0a\x02/s\x12\x02/d\x18":                 "the payload is not protobuf",
		"\x12\x0210":                                       "grace_time: of the wrong kind",
		"\x18\x01":                                         "handle: of the wrong kind",
		"\x1a\x05h":                                        "the payload is not protobuf",
		"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "the payload is not protobuf",
	},
	TypeStop: {
		"":                      "handle: missing",
		"\x50\x01":              "handle: missing",
		"\x0a\x01h\x52\x01\x01": "background: of the wrong kind",
		"\x0a\x01h\xa2\x01\x00": "kill: of the wrong kind",
		"\x0a\x01h\x0b":         "the payload is not protobuf",
		"\x00":                  "the payload is not protobuf",
		"{\"handle\":\"h\"}":    "the payload is not protobuf",
	},
	TypeDestroy: {"": "handle: missing", "\x08\x01": "handle: of the wrong kind"},
	TypeInfo:    {"": "handle: missing", "\x12\x01h": "handle: missing"},
	TypeList:    {"\xff": "the payload is not protobuf"},
	TypeSpawn: {
		"\x0a\x01h":                           "script: missing",
		"\x12\x01s":                           "handle: missing",
		"\x0a\x01h\x12\x01s\x22\x03\x52\x01x": "rlimits.nofile: of the wrong kind",
		"\x0a\x01h\x12\x01s\x20\x01":          "rlimits: of the wrong kind",
	},
	TypeRun:    {"\x0a\x01h": "script: missing", "\x0a\x01h\x12\x01s\x1a\x00": "privileged: of the wrong kind"},
	TypeLink:   {"\x0a\x01h": "job_id: missing", "\x0a\x01h\x12\x011": "job_id: of the wrong kind"},
	TypeStream: {"\x10\x01": "handle: missing", "\x0a\x01h": "job_id: missing"},
	TypeNetIn:  {"": "handle: missing", "\x0a\x01h\x1a\x0280": "host_port: of the wrong kind"},
	TypeNetOut: {"\x28\x00": "handle: missing", "\x0a\x01h\x2a\x03TCP": "protocol: of the wrong kind"},
	TypeCopyIn: {"\x0a\x01h\x12\x01s": "dst_path: missing", "\x0a\x01h\x1a\x01d": "src_path: missing"},
	TypeCopyOut: {
		"\x0a\x01h\x12\x01s":                  "dst_path: missing",
		"\x0a\x01h\x12\x01s\x1a\x01d\x20\x00": "owner: of the wrong kind",
	},
	TypeLimitMemory:    {"\x10\x01": "handle: missing", "\x0a\x01h\x12\x01x": "limit_in_bytes: of the wrong kind"},
	TypeLimitCPU:       {"": "handle: missing", "\x0a\x01h\x11\x00\x00\x00\x00\x00\x00\x00\x00": "limit_in_shares: of the wrong kind"},
	TypeLimitDisk:      {"\x58\x01": "handle: missing", "\x0a\x01h\xfa\x01\x00": "byte: of the wrong kind"},
	TypeLimitBandwidth: {"\x0a\x01h\x10\x01": "burst: missing", "\x0a\x01h\x18\x01": "rate: missing"},
	TypePing:           {"\x08": "the payload is not protobuf"},
	TypeEcho:           {"": "message: missing", "\x08\x01": "message: of the wrong kind"},
}

func TestMalformedRequestsAreRefusedWithTheFieldAndTheReason(t *testing.T) {
	for kind, payloads := range malformed {
		for payload, want := range payloads {
			_, local, err := Local(Message{kind, []byte(payload)})
			if !local {
				_, err = Decode(Message{kind, []byte(payload)}, asker)
			}
			invalid, ok := errors.AsType[*InvalidError](err)
			if !ok || invalid.What != kind.String() || invalid.Reason != want {
				t.Errorf("%v %q: error %v, want %q", kind, payload, err, want)
			}
		}
	}
}

func TestATypeThatIsNoRequestIsRefused(t *testing.T) {
	for kind, want := range map[Type]string{
		TypeError: "warden: invalid message: the node takes no request of type 1",
		TypePing:  "warden: invalid message: the node takes no request of type 91",
		0:         "warden: invalid message: the node takes no request of type 0",
		-1:        "warden: invalid message: the node takes no request of type -1",
		99:        "warden: invalid message: the node takes no request of type 99",
	} {
		if cmd, err := Decode(Message{kind, nil}, messaging.Ask{}); err == nil || err.Error() != want {
			t.Errorf("%v: %+v, error %v", kind, cmd, err)
		}
	}
}
