package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

// isTextCommand tells the first version's text commands from the second's,
// whose arguments all begin with --.
func isTextCommand(words []string) bool {
	name := strings.ToLower(words[0])
	if !slices.Contains(client.V1Commands(), name) {
		return false
	}
	if _, both := findCommand(name); !both {
		return true
	}
	return len(words) > 1 && !strings.HasPrefix(words[1], "--")
}

// performText does a text command. What a job writes is shown as by the second
// version's commands; other answers are what the first version's clients got.
func (w *wardenShell) performText(ctx context.Context, words []string) error {
	words = append([]string{strings.ToLower(words[0])}, words[1:]...)
	if !w.json && len(words) == 3 {
		switch words[0] {
		case "run":
			return w.run(ctx, &protocol.RunRequest{Handle: &words[1], Script: &words[2]})
		case "stream", "link":
			return w.followText(ctx, words)
		}
	}
	var value any
	err := w.connected(ctx, slices.Contains([]string{"ping", "list", "echo", "info", "link"}, words[0]),
		func(c *client.Client) (err error) {
			value, err = c.V1(ctx, words...)
			return err
		})
	if err != nil {
		return w.asUsage(err, words[0])
	}
	if w.json {
		text, err := marshal(value)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w.out, "%s\n", text)
		return err
	}
	return printText(w.out, value, "")
}

func (w *wardenShell) followText(ctx context.Context, words []string) error {
	job, err := strconv.ParseUint(words[2], 10, 32)
	if err != nil {
		return fail(exitUsage, "", "%q is no number", words[2])
	}
	if words[0] == "stream" {
		return w.stream(ctx, words[1], uint32(job))
	}
	id := uint32(job)
	answer, err := w.call(ctx, &protocol.LinkRequest{Handle: &words[1], JobId: &id})
	if err != nil {
		return err
	}
	ended := answer.(*protocol.LinkResponse)
	for _, err := range []error{
		w.showChunk("stdout", []byte(ended.GetStdout())),
		w.showChunk("stderr", []byte(ended.GetStderr())),
	} {
		if err != nil {
			return err
		}
	}
	if status := ended.GetExitStatus(); status != 0 {
		return scriptStatus(status)
	}
	return nil
}

// asUsage marks what was wrong with the command itself.
func (w *wardenShell) asUsage(err error, command string) error {
	wrong, ok := errors.AsType[*client.V1Error](err)
	switch _, known := textForms[command]; {
	case !ok:
		return err
	case strings.HasPrefix(wrong.Reason, "usage: "), !known: // that says all there is
		return fail(exitUsage, "", "%w", err)
	default:
		return fail(exitUsage, "see "+w.way("help", command), "%w", err)
	}
}

// printText shows a text command's answer: a value as it is, lists a line each,
// and what has names as "a.b : value".
func printText(w io.Writer, value any, name string) error {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			inner := key
			if name != "" {
				inner = name + "." + key
			}
			if err := printText(w, v[key], inner); err != nil {
				return err
			}
		}
		return nil
	case []string:
		for _, text := range v {
			if _, err := fmt.Fprintln(w, plain(text)); err != nil {
				return err
			}
		}
		return nil
	case []any:
		for i, element := range v {
			if err := printText(w, element, fmt.Sprintf("%s[%d]", name, i)); err != nil {
				return err
			}
		}
		return nil
	}
	prefix := ""
	if name != "" {
		prefix = name + " : "
	}
	_, err := fmt.Fprintf(w, "%s%s\n", prefix, plain(fmt.Sprint(value)))
	return err
}
