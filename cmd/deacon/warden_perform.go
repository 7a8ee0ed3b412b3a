package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/deacon-agent/deacon/messaging/warden/client"
	"github.com/deacon-agent/deacon/messaging/warden/protocol"
)

const (
	// reconnectMax is how long a server may be away while it restarts.
	reconnectMax   = 10 * time.Second
	reconnectPause = 50 * time.Millisecond
	// repeatsMax bounds how often one command is begun again.
	repeatsMax = 5
)

// helperFailed is the server's text for whatever has none of its own.
const helperFailed = "command exited with failure"

// perform does one command.
func (w *wardenShell) perform(ctx context.Context, words []string) error {
	err := w.do(ctx, words)
	if refused, ok := errors.AsType[*client.ServerError](err); ok && refused.Text == helperFailed {
		return fail(exitFailed, "look at its arguments; the server's log may tell more", "%w", err)
	}
	return err
}

func (w *wardenShell) do(ctx context.Context, words []string) error {
	if w.trace {
		fmt.Fprintf(w.errs, "+ %s\n", plain(joinWords(words)))
	}
	switch {
	case strings.EqualFold(words[0], "help"), words[0] == "--help":
		return w.help(words[1:])
	case len(words) == 2 && words[1] == "--help":
		return w.help(words[:1])
	}
	if w.v1 || isTextCommand(words) {
		return w.performText(ctx, words)
	}
	command, ok := findCommand(words[0])
	if !ok {
		return w.noCommand(words[0])
	}
	request, err := parseRequest(command, words[1:])
	switch {
	case errors.Is(err, errHelpAsked):
		return w.help(words[:1])
	case err != nil:
		return fail(exitUsage, "see "+w.way(command.name, "--help"), "%s: %w", command.name, err)
	}
	return w.request(ctx, request)
}

func (w *wardenShell) noCommand(name string) error {
	return fail(exitUsage, "see "+w.way("help"), "there is no command %q", name)
}

// way is how a command is given from where the user is: at the prompt as it is,
// else to a shell. Help needs no socket.
func (w *wardenShell) way(words ...string) string {
	if !w.atPrompt {
		before := []string{"deacon", "warden"}
		asks := words[0] != "help" && words[len(words)-1] != "--help"
		if asks && w.socket != environmentOr(wardenEnv, defaultWarden) {
			before = append(before, "--socket", w.socket)
		}
		words = append(append(before, "--"), words...)
	}
	return plain(joinWords(words))
}

func joinWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quoteWord(word)
	}
	return strings.Join(quoted, " ")
}

// request asks, and shows what is answered.
func (w *wardenShell) request(ctx context.Context, request proto.Message) error {
	switch r := request.(type) {
	case *protocol.RunRequest:
		return w.run(ctx, r)
	case *protocol.StreamRequest:
		return w.stream(ctx, r.GetHandle(), r.GetJobId())
	}
	answer, err := w.call(ctx, request)
	if err != nil {
		return err
	}
	if w.json {
		return printAnswerJSON(w.out, answer.ProtoReflect())
	}
	return printAnswer(w.out, answer.ProtoReflect())
}

func (w *wardenShell) call(ctx context.Context, request proto.Message) (answer proto.Message, err error) {
	err = w.connected(ctx, harmless(request), func(c *client.Client) (err error) {
		answer, err = c.Call(ctx, request)
		return err
	})
	return answer, err
}

// harmless says whether a request may be made twice, should the first have been
// heard: it changes nothing, or (link) its answer was all that it was for.
func harmless(request proto.Message) bool {
	switch request.(type) {
	case *protocol.PingRequest, *protocol.EchoRequest, *protocol.ListRequest, *protocol.InfoRequest,
		*protocol.LinkRequest:
		return true
	default:
		return false
	}
}

// connected calls ask with a connection. Where that is found to be gone, it
// makes a new one and calls ask again, unless the request may have been heard
// and isn't repeatable.
func (w *wardenShell) connected(ctx context.Context, repeatable bool, ask func(*client.Client) error) error {
	if w.client == nil {
		c, err := client.Dial(ctx, w.socket)
		if err != nil {
			return w.unreachable(ctx, err)
		}
		w.client = c
	}
	for range repeatsMax {
		err := ask(w.client)
		gone, ok := errors.AsType[*client.DisconnectedError](err)
		if !ok {
			return err
		}
		w.note("Reconnecting...")
		if err := w.reconnect(ctx); err != nil {
			return err
		}
		if gone.Sent && !repeatable {
			return fail(exitUnreachable, "look what became of it ("+w.way("list")+"), and ask again",
				"the server went away before it answered: %w", gone.Err)
		}
	}
	return fail(exitUnreachable, "", "the server went away %d times before it answered", repeatsMax)
}

// reconnect waits for a server that restarts.
func (w *wardenShell) reconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reconnectMax)
	defer cancel()
	for {
		err := w.client.Reconnect(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(reconnectPause):
		case <-ctx.Done():
			return w.unreachable(ctx, err)
		}
	}
}

func (w *wardenShell) unreachable(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	remedy := "start a node that has a warden block, or deacon dev --warden PATH; or say where the socket is by " +
		"--socket or $" + wardenEnv
	if errors.Is(err, fs.ErrPermission) {
		remedy = "be root, or one whom the node's warden.mode and warden.group let in"
	}
	return fail(exitUnreachable, remedy, "Warden's socket can't be reached: %w", err)
}
