package warden

import (
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// Local answers what needs no node, a ping and an echo, with a whole frame. It
// keeps nothing of m. The error is an *InvalidError, as Decode's.
func Local(m Message) (frame []byte, local bool, err error) {
	switch m.Type {
	case TypePing:
		frame, err = pong(m)
	case TypeEcho:
		frame, err = echo(m)
	default:
		return nil, false, nil
	}
	return frame, true, err
}

func pong(m Message) ([]byte, error) {
	if len(m.Payload) > 0 {
		if err := Parse(m, &protocol.PingRequest{}); err != nil {
			return nil, err
		}
	}
	return AppendFrame(nil, TypePing, nil), nil
}

func echo(m Message) ([]byte, error) {
	var request protocol.EchoRequest
	if err := Parse(m, &request); err != nil {
		return nil, err
	}
	return Frame(TypeEcho, &protocol.EchoResponse{Message: request.Message})
}
