package client

import "fmt"

// ServerError is the server's answer to what it can't or won't do.
type ServerError struct{ Text string }

func (e *ServerError) Error() string { return e.Text }

// DisconnectedError says that the connection is gone.
type DisconnectedError struct {
	// Sent: the request was sent whole, so that the server may have acted on it,
	// and there is no telling. Else it can safely be repeated.
	Sent bool
	// Err is why: io.EOF if the server closed the connection in good order,
	// net.ErrClosed if Close or Reconnect did.
	Err error
}

func (e *DisconnectedError) Error() string {
	if e.Sent {
		return fmt.Sprintf("client: disconnected before the answer came: %v", e.Err)
	}
	return fmt.Sprintf("client: disconnected: %v", e.Err)
}

func (e *DisconnectedError) Unwrap() error { return e.Err }
