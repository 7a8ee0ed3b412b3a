package initclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/deacon-agent/deacon/isolation/initproto"
	"github.com/deacon-agent/deacon/isolation/packet"
)

// setupMax is how long PID 1 may take for its set-up. It needs about a
// millisecond; a machine that needs seconds is not going to get better.
const setupMax = 30 * time.Second

// ErrAtGate says that PID 1 died before it answered.
var ErrAtGate = errors.New("init: it died during the set-up")

// FailedError is what PID 1 could not do, in the kernel's words.
type FailedError struct{ Step, Text string }

func (e *FailedError) Error() string { return "init: " + e.Step + ": " + e.Text }

// Gate is the agent's end of what a new PID 1 waits at. Closing it before
// Open ends that PID 1.
type Gate struct {
	conn *packet.Conn
	peer *os.File
}

// NewGate makes a gate; Peer is for the launcher.
func NewGate() (*Gate, error) {
	conn, peer, err := packet.Pair()
	if err != nil {
		return nil, fmt.Errorf("init: make the gate: %w", err)
	}
	return &Gate{conn, peer}, nil
}

// Peer is PID 1's end. It is handed to the launcher and then closed here by
// ClosePeer, so that only PID 1 holds it.
func (g *Gate) Peer() *os.File { return g.peer }

// ClosePeer closes this process's copy of PID 1's end.
func (g *Gate) ClosePeer() { g.peer.Close() }

// Open sends the set-up with its descriptors and waits until PID 1 is done.
func (g *Gate) Open(ctx context.Context, setup initproto.Setup, files []*os.File) (initproto.Started, error) {
	g.conn.SetDeadline(time.Now().Add(setupMax))
	defer context.AfterFunc(ctx, func() { g.conn.SetDeadline(time.Unix(1, 0)) })()
	if err := g.conn.Send(setup.Encode(), files...); err != nil {
		return initproto.Started{}, errors.Join(fmt.Errorf("init: send the set-up: %w", err), context.Cause(ctx))
	}
	message, _, err := g.conn.Receive()
	switch {
	case errors.Is(err, io.EOF):
		return initproto.Started{}, ErrAtGate
	case err != nil:
		return initproto.Started{}, errors.Join(fmt.Errorf("init: wait for the set-up: %w", err), context.Cause(ctx))
	}
	if failed, err := initproto.DecodeFailed(message); err == nil {
		return initproto.Started{}, &FailedError{failed.Step, failed.Text}
	}
	return initproto.DecodeStarted(message, initproto.KindSetupDone)
}

// Close closes the agent's end.
func (g *Gate) Close() { g.conn.Close(); g.peer.Close() }
