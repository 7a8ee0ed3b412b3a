package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/deacon-agent/deacon/messaging/dea"
)

// watched is what nodes tell, but for the output of applications.
var watched = []string{
	dea.SubjectStarted, dea.SubjectAdvertise, dea.SubjectHeartbeat, dea.SubjectShutdown, dea.SubjectExited,
	dea.SubjectRegister, dea.SubjectUnregister, dea.SubjectInstance, dea.SubjectUpdated, dea.SubjectActor,
	dea.SubjectAsked,
}

type eventsOptions struct {
	count   int
	timeout time.Duration
	follow  bool // in words
	raw     bool
}

func newEvents(s *session) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events [SUBJECT...]",
		Short: "Watch what nodes tell: heartbeats, routes, states, exits",
		Long: `Show every message that nodes publish, as it is on the wire, until Ctrl-C. With
subjects, which may have NATS' wildcards, it shows only those.

With -f it says in words what happened, one line each: which node, what, and why, and
who asked where that is known. What repeats itself (heartbeats, offers, routes) is left
out, unless its subject is named. A name in brackets is what the sender calls itself;
nobody has checked it.`,
		Example: exampleText("deacon events -f", "deacon events",
			"deacon events dea.heartbeat --count 1", "deacon events 'router.*' --json"),
		GroupID: groupApps,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = watched
				if o.words() {
					args = happening
				}
			}
			return s.events(cmd.Context(), args, o)
		},
	}
	toggle(cmd.Flags(), &o.follow, "follow", "f", "say in words what happens")
	toggle(cmd.Flags(), &o.raw, "raw", "", "every message as it is on the wire, with -f too")
	cmd.Flags().IntVar(&o.count, "count", 0, "end after so many messages; 0: never")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "how long to wait for them; 0: for ever")
	return cmd
}

func (s *session) events(ctx context.Context, subjects []string, o eventsOptions) error {
	switch {
	case o.count < 0:
		return fail(exitUsage, "", "--count %d: want a number from 1 on, or 0 for no end", o.count)
	case o.timeout < 0:
		return fail(exitUsage, "", "--timeout %s: want a time such as 10s, or 0 for ever", o.timeout)
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout,
			fail(exitTimeout, "", "not enough messages within %s", o.timeout))
		defer cancel()
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	messages, err := link.hear(ctx, subjects...)
	if err != nil {
		return err
	}
	for shown := 0; o.count == 0 || shown < o.count; shown++ {
		select {
		case m := <-messages:
			show := s.showMessage
			if o.words() && !s.json {
				show = s.sayMessage
			}
			if err := show(m); err != nil {
				return err
			}
		case <-ctx.Done():
			if o.count == 0 { // then Ctrl-C is how watching ends
				return nil
			}
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s *session) showMessage(m message) error {
	if !s.json {
		_, err := fmt.Fprintf(s.out, "%s  %-18s  %s\n", m.at.Format("15:04:05.000"), plain(m.subject), plain(string(m.body)))
		return err
	}
	body := json.RawMessage(m.body)
	if !json.Valid(m.body) { // anybody may publish anything
		body, _ = json.Marshal(string(m.body))
	}
	return json.NewEncoder(s.out).Encode(struct {
		Subject string          `json:"subject"`
		At      time.Time       `json:"at"`
		Body    json.RawMessage `json:"body"`
	}{m.subject, m.at, body})
}
