package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/messaging/exec"
)

// OfferSessions answers who asks for a command in a container. open looks at the
// request, and is given a session whose id it chooses; what it returns is
// called once the answer is on its way. One request is answered at a time.
func (b *Bus) OfferSessions(open func(exec.Request, func(id string) (*Session, error)) (run func(), err error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	subject := dea.ExecSubject(b.config.NodeID)
	if b.service == nil {
		return fmt.Errorf("bus: offer %s: nobody listens", subject)
	}
	handle := micro.HandlerFunc(func(r micro.Request) {
		if !dea.Replyable(r.Reply()) {
			b.complain("a question that can't be answered is ignored", subject, "")
			return
		}
		if err := b.openOne(r, open); err != nil {
			code := exec.CodeFailed
			if coded, ok := errors.AsType[Coded](err); ok {
				code = coded.Code()
			}
			if err := r.Error(code, err.Error(), nil); err != nil {
				b.complain("an answer could not be sent", subject, err.Error())
			}
		}
	})
	err := b.service.AddEndpoint("exec", handle, micro.WithEndpointSubject(subject),
		micro.WithEndpointPendingLimits(endpointMessagesMax, endpointBytesMax))
	if err != nil {
		return fmt.Errorf("bus: offer %s: %w", subject, err)
	}
	return nil
}

// malformedError is a request that can't be read.
type malformedError struct{ error }

func (malformedError) Code() string { return exec.CodeMalformed }

func (b *Bus) openOne(
	r micro.Request, open func(exec.Request, func(id string) (*Session, error)) (func(), error),
) error {
	request, err := exec.DecodeRequest(r.Data())
	if err == nil && !dea.Replyable(request.Output) {
		err = errors.New("exec: malformed request: output: nothing may be sent to that subject")
	}
	if err != nil {
		return malformedError{err}
	}
	var opened exec.Opened
	run, err := open(request, func(id string) (*Session, error) {
		opened = exec.Opened{Session: id, Input: dea.SessionSubject(b.config.NodeID, id)}
		return openSession(b.conn, request.Output, opened.Input)
	})
	if err != nil {
		return err
	}
	body, err := opened.Encode()
	if err == nil {
		err = r.Respond(body)
	}
	if err != nil { // the session finds nobody at its other end
		b.complain("an answer could not be sent", r.Subject(), err.Error())
	}
	run()
	return nil
}

// Begin has the session's silence noticed, from its answer on.
func (s *Session) Begin() { s.begin() }

// OpenSession asks a node for a command in a container. A *RefusedError is its no.
func (c *Client) OpenSession(ctx context.Context, node string, request exec.Request) (*Session, error) {
	request.Output = c.conn.NewInbox()
	body, err := request.Encode()
	if err != nil {
		return nil, err
	}
	// Listening first: the command may have written before its answer is read.
	s, err := openSession(c.conn, "", request.Output)
	if err != nil {
		return nil, err
	}
	answer, err := c.Ask(ctx, dea.ExecSubject(node), body)
	var opened exec.Opened
	if err == nil {
		opened, err = exec.DecodeOpened(answer)
	}
	if err == nil && !dea.IsSession(opened.Input) {
		err = errors.New("bus: the node's answer names no subject of a session")
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	s.sending.Lock()
	s.to = opened.Input
	s.sending.Unlock()
	s.begin()
	return s, nil
}

// Flush returns when the server has what was sent.
func (s *Session) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clientMax)
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("bus: flush: %w", err)
	}
	return nil
}
