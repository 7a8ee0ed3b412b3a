package warden

import "github.com/deacon-agent/deacon/messaging/warden/protocol"

// Type says what a message asks for, or answers.
type Type = protocol.Message_Type

// The types have Warden's numbers. TypeError only ever answers.
const (
	TypeError          = protocol.Message_Error
	TypeCreate         = protocol.Message_Create
	TypeStop           = protocol.Message_Stop
	TypeDestroy        = protocol.Message_Destroy
	TypeInfo           = protocol.Message_Info
	TypeSpawn          = protocol.Message_Spawn
	TypeLink           = protocol.Message_Link
	TypeRun            = protocol.Message_Run
	TypeStream         = protocol.Message_Stream
	TypeNetIn          = protocol.Message_NetIn
	TypeNetOut         = protocol.Message_NetOut
	TypeCopyIn         = protocol.Message_CopyIn
	TypeCopyOut        = protocol.Message_CopyOut
	TypeLimitMemory    = protocol.Message_LimitMemory
	TypeLimitDisk      = protocol.Message_LimitDisk
	TypeLimitBandwidth = protocol.Message_LimitBandwidth
	TypeLimitCPU       = protocol.Message_LimitCpu
	TypePing           = protocol.Message_Ping
	TypeList           = protocol.Message_List
	TypeEcho           = protocol.Message_Echo
)
