package exec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// RequestMax bounds a request as it is on the wire. PID 1 takes no more.
	RequestMax = 128 << 10
	// ByMax, wordsMax and nameMax bound what is in one.
	ByMax             = 255
	wordsMax, nameMax = 1024, 255
)

// Request asks for a command in an instance's container.
type Request struct {
	Instance string    `json:"instance"` // the id that the wire knows it by
	Command  []string  `json:"command"`
	Terminal *Terminal `json:"terminal,omitempty"` // none: pipes
	Output   string    `json:"output"`             // the subject that the client listens on
	// By is who the client says it is. Nobody has checked it.
	By string `json:"by,omitempty"`
}

// Terminal is what the client's is.
type Terminal struct {
	Size
	Type string `json:"type"` // of TERM
}

// Opened is the answer: the session is there, and its input goes to that subject.
type Opened struct {
	Session string `json:"session"`
	Input   string `json:"input"`
}

// Encode makes one message.
func (r Request) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("exec: encode a request: %w", err)
	}
	return encode(r)
}

// DecodeRequest reads one message. Its error names the field.
func DecodeRequest(body []byte) (Request, error) {
	var r Request
	err := decode(body, RequestMax, &r)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return Request{}, fmt.Errorf("exec: malformed request: %w", err)
	}
	return r, nil
}

func (r Request) check() error {
	switch {
	case r.Instance == "" || len(r.Instance) > nameMax:
		return fmt.Errorf("instance: want 1 to %d bytes, got %d", nameMax, len(r.Instance))
	case len(r.Command) == 0 || len(r.Command) > wordsMax:
		return fmt.Errorf("command: want 1 to %d words, got %d", wordsMax, len(r.Command))
	case r.Command[0] == "":
		return errors.New("command[0]: must not be empty")
	case slices.ContainsFunc(r.Command, hasNUL):
		return errors.New("command: has a NUL byte")
	case r.Output == "" || len(r.Output) > nameMax || strings.ContainsAny(r.Output, " \t\r\n*>"):
		return errors.New("output: want a subject")
	case len(r.By) > ByMax:
		return fmt.Errorf("by: want at most %d bytes, got %d", ByMax, len(r.By))
	case r.Terminal != nil && (len(r.Terminal.Type) > nameMax || hasNUL(r.Terminal.Type)):
		return fmt.Errorf("terminal.type: want at most %d bytes and no NUL", nameMax)
	}
	return nil
}

func hasNUL(text string) bool { return strings.ContainsRune(text, 0) }

// Encode makes one message.
func (o Opened) Encode() ([]byte, error) { return encode(o) }

// DecodeOpened reads one message.
func DecodeOpened(body []byte) (Opened, error) {
	var o Opened
	err := decode(body, FrameMax, &o)
	if err == nil && (o.Session == "" || o.Input == "" || strings.ContainsAny(o.Input, " \t\r\n*>")) {
		err = errors.New("input: want a subject")
	}
	if err != nil {
		return Opened{}, fmt.Errorf("exec: malformed answer: %w", err)
	}
	return o, nil
}

// Signals are those that may be sent into a session, by their names without SIG.
var Signals = []string{
	"HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "ALRM", "TERM", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "WINCH",
}

func knownSignal(name string) bool { return slices.Contains(Signals, name) }

// The codes of the errors that answer a request.
const (
	CodeMalformed  = "malformed"   // the request is
	CodeUnknown    = "unknown"     // there is no such instance
	CodeNotRunning = "not_running" // it has no container in which to run anything
	CodeTooMany    = "too_many"    // sessions on this node
	CodeForbidden  = "forbidden"   // the node's configuration allows none
	CodeFailed     = "failed"
)
