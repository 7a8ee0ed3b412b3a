package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The bounds of a session, for both sides.
const (
	// Window is what may be under way in each direction, by the frames' Cost.
	Window = 256 << 10
	// ChunkMax is how many one frame carries: with base64 and names it stays far
	// below what a server lets through.
	ChunkMax = 32 << 10
	// FrameMax bounds a frame as it is on the wire.
	FrameMax = 64 << 10
	// AliveEvery is the longest pause between two frames, SilenceMax how long
	// somebody who says nothing is taken for alive.
	AliveEvery, SilenceMax = 2 * time.Second, 10 * time.Second
	// PendingMax is how many frames without data may wait to be looked at.
	PendingMax = 1024
)

// Frame is one message of a session. It says one thing; one that says nothing but
// its number says that its sender is alive.
type Frame struct {
	Number uint64 `json:"number"` // from 1

	Stdin  []byte  `json:"stdin,omitempty"` // base64, as the others
	End    bool    `json:"end,omitempty"`   // of stdin
	Window *Size   `json:"window,omitempty"`
	Signal string  `json:"signal,omitempty"` // "INT"
	HangUp bool    `json:"hang_up,omitempty"`
	Stdout []byte  `json:"stdout,omitempty"`
	Stderr []byte  `json:"stderr,omitempty"`
	Exit   *Exit   `json:"exit,omitempty"`
	Failed *string `json:"failed,omitempty"` // why the session ended before its command
	Took   int     `json:"took,omitempty"`   // of the window, since the last time
}

// Size is a terminal's, in characters.
type Size struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

// Exit is how the command ended.
type Exit struct {
	Status int    `json:"status"` // 0 to 255; 128 and the signal's number where one ended it
	Signal string `json:"signal,omitempty"`
}

// FrameCost is what a frame with data counts for beside its data: so the window
// bounds the number of frames that wait too, however short they are.
const FrameCost = 64

// Cost is what the frame counts for against the window; 0: it has no data.
func (f Frame) Cost() int {
	if f.data() == 0 {
		return 0
	}
	return f.data() + FrameCost
}

func (f Frame) data() int { return len(f.Stdin) + len(f.Stdout) + len(f.Stderr) }

// says is how many things the frame says.
func (f Frame) says() (n int) {
	for _, said := range []bool{
		len(f.Stdin) > 0, f.End, f.Window != nil, f.Signal != "", f.HangUp, len(f.Stdout) > 0, len(f.Stderr) > 0,
		f.Exit != nil, f.Failed != nil, f.Took != 0,
	} {
		if said {
			n++
		}
	}
	return n
}

// Bare says that the frame says nothing but its number.
func (f Frame) Bare() bool { return f.says() == 0 }

func (f Frame) check() error {
	switch {
	case f.Number == 0:
		return errors.New("number: missing")
	case f.says() > 1:
		return errors.New("says more than one thing")
	case f.data() > ChunkMax:
		return fmt.Errorf("has %d bytes of data, %d is the most", f.data(), ChunkMax)
	case f.Took < 0 || f.Took > Window:
		return fmt.Errorf("took: %d is not from 0 to %d", f.Took, Window)
	case f.Signal != "" && !knownSignal(f.Signal):
		return fmt.Errorf("signal: there is no %.16q", f.Signal)
	case f.Exit != nil && (f.Exit.Status < 0 || f.Exit.Status > 255):
		return fmt.Errorf("exit.status: %d is not from 0 to 255", f.Exit.Status)
	}
	return nil
}

// Encode makes one message.
func (f Frame) Encode() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("exec: encode a frame: %w", err)
	}
	return encode(f)
}

// DecodeFrame reads one message; it keeps nothing of it.
func DecodeFrame(body []byte) (Frame, error) {
	var f Frame
	err := decode(body, FrameMax, &f)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return Frame{}, fmt.Errorf("exec: malformed frame: %w", err)
	}
	return f, nil
}

func encode(message any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return nil, fmt.Errorf("exec: encode: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// decode skips what it doesn't know: that is of a newer peer.
func decode(body []byte, most int, into any) error {
	if len(body) > most {
		return fmt.Errorf("longer than %d bytes", most)
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return errors.New("want a JSON object")
	}
	err := json.Unmarshal(body, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: want %s, got %s", wrong.Field, wrong.Type, wrong.Value)
	}
	return err
}
