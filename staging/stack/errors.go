package stack

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknown says that there is no such stack.
var ErrUnknown = errors.New("there is no such stack")

// ErrName says that a name is none that a stack can have.
var ErrName = errors.New("a stack's name has 1 to 64 letters, digits, dots, dashes and underscores, begins with a " +
	"letter or a digit, and isn't \"host\" or \"host-…\", which are generated")

// ValueError says that something that was asked for can't be.
type ValueError struct{ What, Value string }

func (e *ValueError) Error() string {
	return fmt.Sprintf("%q can't be the name of a %s", e.Value, e.What)
}

// ExistsError says that a stack of the name is there already.
type ExistsError struct{ Name, Path string }

func (e *ExistsError) Error() string {
	return fmt.Sprintf("there is a stack %s already, in %s", e.Name, e.Path)
}

// BusyError says that another process works on the same stack at this moment.
type BusyError struct{ Name, Doing string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("the stack %s is being %s by another process at this moment", e.Name, e.Doing)
}

// UsedError says who uses a stack.
type UsedError struct {
	Name  string
	Users []string
}

// usersShown is how many of a stack's users an error names.
const usersShown = 5

func (e *UsedError) Error() string {
	users, more := e.Users, ""
	if len(users) > usersShown {
		users, more = users[:usersShown], fmt.Sprintf(", and %d more", len(e.Users)-usersShown)
	}
	return fmt.Sprintf("the stack %s is in use: %s%s", e.Name, strings.Join(users, ", "), more)
}

// MissingError says that a program isn't on this machine, and how it gets there.
type MissingError struct{ Program, Remedy string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("there is no %s on this machine", e.Program)
}

// BuildError says that debootstrap failed, with its last words.
type BuildError struct {
	Err   error
	Words string // the end of its log
	Log   string // where all of it is
}

func (e *BuildError) Error() string {
	return fmt.Sprintf("debootstrap: %v; it said last:\n%s\nAll of it is in %s", e.Err, e.Words, e.Log)
}

func (e *BuildError) Unwrap() error { return e.Err }

// MismatchError says that something isn't what its image says it is.
type MismatchError struct{ What, Want, Got string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: the digest is %s, want %s", e.What, e.Got, e.Want)
}
