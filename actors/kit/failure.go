package kit

import (
	"errors"
	"fmt"
	"runtime/debug"
)

var (
	// ErrPermanent in a failure's chain means that a restart can't help: the
	// supervisor gives up at once.
	ErrPermanent = errors.New("permanent failure")
	// ErrIncarnationEnded is the cause that work is cancelled with.
	ErrIncarnationEnded = errors.New("kit: the incarnation has ended")
	// ErrNoActor is the answer to an Ask of an actor that is gone, or that goes
	// before it answers.
	ErrNoActor = errors.New("kit: no such actor")
)

// Failure is why an incarnation ended: what a supervisor decides on and what
// gaveUp hands to the parent.
type Failure struct {
	Kind        string
	Path        string
	Message     string // what was being handled: a message's type, "Up"
	Incarnation int
	Stack       []byte // of a panic
	Err         error  // what was returned, or a *PanicError

	cell *cell
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s %s: %s: %v", f.Kind, f.Path, f.Message, f.Err)
}

func (f *Failure) Unwrap() error { return f.Err }

// PanicError is a panic, or a runtime.Goexit, in an actor or in its work.
type PanicError struct {
	Kind    string
	Path    string
	Message string // a message's type, "Up", or the name of the work
	Value   any
	Stack   []byte
}

func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap is the value of a panic that was an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// errGoexit stands for the value of a panic when there was none: the goroutine
// was ended under the actor, as t.Fatal does.
var errGoexit = errors.New("runtime.Goexit was called")

// blame makes a failure of whatever came out of the actor; but for a mistake
// in this package it is one already.
func (c *cell) blame(reason any) *Failure {
	if failure, ok := reason.(*Failure); ok {
		return failure
	}
	p := c.panicked("kit", reason)
	c.current.Load().end()
	return &Failure{Kind: c.kind, Path: c.path, Message: p.Message, Stack: p.Stack, Err: p, cell: c}
}

// panicked makes an error of what recover returned; it must be called while
// the stack still stands.
func (c *cell) panicked(message string, value any) *PanicError {
	if value == nil {
		value = errGoexit
	}
	return &PanicError{Kind: c.kind, Path: c.path, Message: message, Value: value, Stack: debug.Stack()}
}
