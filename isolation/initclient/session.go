package initclient

import (
	"errors"
	"fmt"

	"github.com/deacon-agent/deacon/isolation/initproto"
)

// Signal signals the process group of a session's first process. That it has
// ended meanwhile is no error.
func (c *Client) Signal(job, signal uint32) error {
	if err := c.conn.Send(initproto.Signal{Job: job, Signal: signal}.Encode()); err != nil {
		return fmt.Errorf("init: signal job %d: %w", job, errors.Join(ErrLost, err))
	}
	return nil
}

// HangUp ends a session; Wait tells when its first process has. Where this
// connection is lost PID 1 does so by itself.
func (c *Client) HangUp(job uint32) error {
	if err := c.conn.Send(initproto.HangUp{Job: job}.Encode()); err != nil {
		return fmt.Errorf("init: hang up job %d: %w", job, errors.Join(ErrLost, err))
	}
	return nil
}
