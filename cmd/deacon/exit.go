package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes. They are a contract with scripts: a number is never given
// another meaning.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitConfig      = 5
	exitNoRoom      = 6
	exitCrashed     = 7
	exitTimeout     = 8
	exitInterrupted = 130
)

const exitCodesHelp = `deacon ends with one of these, whatever the command:

    0  done as asked
    1  failed for a reason that no other number names; the message says which
    2  the command line is wrong: unknown command, flag or value
    3  NATS or Warden's socket can't be reached, or no node answered
    4  there is no such application, instance or file
    5  the configuration is invalid; every mistake is shown with its line
    6  no node has room for the application, or none has its stack
    7  the application did not start, or it ended with a status other than 0
    8  it took longer than --timeout, to listen or to end
  130  interrupted (Ctrl-C) before it was done

After run and stream, deacon warden ends with the status of the job instead, and
deacon exec with that of the command.

An error is printed on the standard error output: what failed, and below it
what to do about it. With --json it is one JSON object there, with the keys
"error", "remedy" and "code".`

func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  exitCodesHelp,
	}
}

// failure is an error that knows its exit code and, where there is one, what
// the user can do about it.
type failure struct {
	code   int
	err    error
	remedy string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes a failure from a message.
func fail(code int, remedy, format string, args ...any) error {
	return &failure{code: code, err: fmt.Errorf(format, args...), remedy: remedy}
}

// asFailure finds out what an error of any origin means to the user. began
// tells whether the command's own code was reached: what fails before that is
// a wrong command line, which cobra doesn't mark.
func asFailure(err error, began bool) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return &failure{code: f.code, err: err, remedy: f.remedy}
	}
	switch {
	case !began:
		return &failure{code: exitUsage, err: err, remedy: "see deacon help"}
	case errors.Is(err, context.Canceled):
		return &failure{code: exitInterrupted, err: errors.New("interrupted")}
	default:
		return &failure{code: exitFailed, err: err}
	}
}

// print shows the failure to a person or, as JSON, to a program.
func (f *failure) print(w io.Writer, asJSON bool) {
	if asJSON {
		json.NewEncoder(w).Encode(struct {
			Error  string `json:"error"`
			Remedy string `json:"remedy,omitempty"`
			Code   int    `json:"code"`
		}{f.Error(), f.remedy, f.code})
		return
	}
	fmt.Fprintf(w, "deacon: %s\n", f.Error())
	if f.remedy != "" {
		fmt.Fprintf(w, "  %s\n", f.remedy)
	}
}
