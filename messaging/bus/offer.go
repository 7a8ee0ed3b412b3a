package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/micro"

	"github.com/deacon-agent/deacon/messaging/dea"
)

// Coded is an error that programs can tell from others.
type Coded interface {
	error
	Code() string
}

// ErrNobody says that nobody answers on a subject.
var ErrNobody = errors.New("nobody answers there")

// RefusedError is a node's no to a question of ours.
type RefusedError struct{ Code, Text string }

func (e *RefusedError) Error() string { return e.Text }

// Offer answers questions on a subject, as a further part of the micro service
// that Listen began; it ends with that. One question is answered at a time, and
// an answer may take its time.
func (b *Bus) Offer(name, subject string, answer func(body []byte) ([]byte, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.service == nil {
		return fmt.Errorf("bus: offer %s: nobody listens", subject)
	}
	handle := micro.HandlerFunc(func(r micro.Request) {
		if !dea.Replyable(r.Reply()) {
			b.complain("a question that can't be answered is ignored", subject, "")
			return
		}
		body, err := answer(r.Data())
		if err == nil {
			err = r.Respond(body)
		} else {
			code := "failed"
			if coded, ok := errors.AsType[Coded](err); ok {
				code = coded.Code()
			}
			err = r.Error(code, err.Error(), nil)
		}
		if err != nil {
			b.complain("an answer could not be sent", subject, err.Error())
		}
	})
	err := b.service.AddEndpoint(name, handle, micro.WithEndpointSubject(subject),
		micro.WithEndpointPendingLimits(endpointMessagesMax, endpointBytesMax))
	if err != nil {
		return fmt.Errorf("bus: offer %s: %w", subject, err)
	}
	return nil
}
