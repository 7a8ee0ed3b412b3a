package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/bus"
	"github.com/deacon-agent/deacon/messaging/dea"
)

const (
	// connectMax is how long to try to reach NATS; a person waits.
	connectMax = 5 * time.Second
	// waitingMax is how many messages may wait to be shown before the client
	// library begins to queue them itself.
	waitingMax = 1024
)

// link is a connection to the nodes, as a controller has one.
type link struct {
	client *bus.Client
	log    func(format string, args ...any)
}

// message is one message as it was on the wire.
type message struct {
	subject string
	body    []byte
	at      time.Time
}

func (s *session) dial(ctx context.Context) (*link, error) {
	servers := s.nats.servers
	if len(servers) == 0 {
		servers = strings.Split(environmentOr(natsEnv, defaultNATS), ",")
	}
	ctx, cancel := context.WithTimeout(ctx, connectMax)
	defer cancel()
	client, err := bus.Dial(ctx, bus.Config{
		Servers: servers, Name: "deacon command line", NkeySeedFile: s.nats.nkey, CredsFile: s.nats.creds,
		TLS:         bus.TLS{CA: s.nats.ca, Cert: s.nats.cert, Key: s.nats.key},
		InboxPrefix: s.nats.inbox, By: whoAsks(), Log: hclog.NewNullLogger(),
	})
	if errors.Is(err, fs.ErrNotExist) { // of credentials or certificates; servers are no files
		return nil, fail(exitNotFound, "see what the flags that begin with --nats- name", "%w", err)
	}
	if err != nil {
		return nil, fail(exitUnreachable,
			"start a node with deacon dev, or say where NATS is by --nats or $"+natsEnv, "NATS can't be reached: %w", err)
	}
	return &link{client: client, log: s.note}, nil
}

func (l *link) close() { l.client.Close() }

// send publishes a command; node is only for those that go to one node.
func (l *link) send(ctx context.Context, cmd messaging.Command, node string) error {
	subject, body, err := dea.EncodeCommand(cmd, node)
	if err != nil {
		return err
	}
	if err := l.client.Publish(ctx, subject, body); err != nil {
		return lost(ctx, "send: %w", err)
	}
	return nil
}

// ask sends a question and returns the answers of all nodes. Silence is no
// error here.
func (l *link) ask(ctx context.Context, question messaging.Command) ([]messaging.Event, error) {
	subject, body, err := dea.EncodeCommand(question, "")
	if err != nil {
		return nil, err
	}
	replies, err := l.client.RequestMany(ctx, subject, body)
	if err != nil {
		return nil, lost(ctx, "ask the nodes: %w", err)
	}
	var events []messaging.Event
	for _, reply := range replies {
		event, err := dea.DecodeReply(subject, reply)
		if err != nil {
			l.log("warning: an answer can't be read: %v", err)
			continue
		}
		events = append(events, event)
	}
	return events, nil
}

// hear hands over messages until ctx ends.
func (l *link) hear(ctx context.Context, subjects ...string) (<-chan message, error) {
	messages := make(chan message, waitingMax)
	for _, subject := range subjects {
		err := l.client.Subscribe(subject, func(subject string, body []byte) {
			select {
			case messages <- message{subject, slices.Clone(body), time.Now()}:
			case <-ctx.Done():
			}
		})
		if err != nil {
			return nil, lost(ctx, "listen to "+subject+": %w", err)
		}
	}
	return messages, nil
}

// listen hands over what nodes tell until ctx ends. Messages that can't be
// read are somebody else's, and are passed over with a warning.
func (l *link) listen(ctx context.Context, subjects ...string) (<-chan messaging.Event, error) {
	events := make(chan messaging.Event, waitingMax)
	for _, subject := range subjects {
		err := l.client.Subscribe(subject, func(subject string, body []byte) {
			event, err := dea.DecodeEvent(subject, body)
			if err != nil {
				l.log("warning: a message can't be read: %v", err)
				return
			}
			select {
			case events <- event:
			case <-ctx.Done():
			}
		})
		if err != nil {
			return nil, lost(ctx, "listen to "+subject+": %w", err)
		}
	}
	return events, nil
}

// logSubjects are where the lines of applications come.
func logSubjects(applications []string, index int) []string {
	var subjects []string
	for _, application := range applications {
		subjects = append(subjects, dea.LogsPattern(application, index))
	}
	return subjects
}

// lost says that NATS doesn't answer any more; where that is because ctx has
// ended, the reason of that is what counts.
func lost(ctx context.Context, format string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fail(exitUnreachable, "", format, err)
}
