package dea

import (
	"cmp"
	"errors"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/deacon-agent/deacon/messaging"
)

// The messages of deacon's own wire; doc.go describes them.

type tailMessage struct {
	Application string `json:"application"`
	Index       int    `json:"index"` // -1: all
	Lines       int    `json:"lines,omitempty"`
}

type listedMessage struct {
	NodeID    string         `json:"node"`
	Files     netip.AddrPort `json:"files"` // empty: nowhere
	Instances []rowMessage   `json:"instances"`
}

type rowMessage struct {
	Application string          `json:"application"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Instance    string          `json:"instance"`
	Container   string          `json:"container"`
	Index       int             `json:"index"`
	State       messaging.State `json:"state"`
	Since       time.Time       `json:"since"`
	URIs        []string        `json:"uris"`
	Host        netip.Addr      `json:"host"`
	Port        uint16          `json:"port"`
	ExitStatus  int             `json:"exit_status"`
	Description string          `json:"description"`
}

type tailedMessage struct {
	Lines []lineMessage `json:"lines"`
}

type lineMessage struct {
	Application string    `json:"application"`
	Instance    string    `json:"instance"`
	Index       int       `json:"index"`
	Stream      string    `json:"stream"`
	At          time.Time `json:"at"`
	Text        *string   `json:"text,omitempty"` // either this
	TextBase64  []byte    `json:"text_base64,omitempty"`
	Dropped     int64     `json:"dropped,omitempty"`
}

type changedMessage struct {
	NodeID      string          `json:"node"`
	Application string          `json:"application"`
	Instance    string          `json:"instance"`
	Index       int             `json:"index"`
	From        messaging.State `json:"from"`
	To          messaging.State `json:"to"`
	ExitStatus  int             `json:"exit_status"`
	Signal      string          `json:"signal"`
	Description string          `json:"description"`
	At          time.Time       `json:"at"`
}

type updatedMessage struct {
	NodeID      string    `json:"node"`
	Application string    `json:"application"`
	Was         string    `json:"was"`
	Instance    string    `json:"instance"`
	Index       int       `json:"index"`
	Version     string    `json:"version"`
	URIs        []string  `json:"uris"`
	At          time.Time `json:"at"`
}

type evacuateMessage struct {
	Within int64 `json:"within_seconds,omitempty"`
}

type evacuatingMessage struct {
	NodeID    string    `json:"node"`
	Instances int       `json:"instances"`
	By        time.Time `json:"by"`
}

type gaveUpMessage struct {
	NodeID string    `json:"node"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

func encodeOwn(event messaging.Event) (subject string, message any, err error) {
	switch e := event.(type) {
	case messaging.InstancesListed:
		return e.ReplyTo, listed(e), checkReply(e.ReplyTo)
	case messaging.ActorsListed:
		return e.ReplyTo, actorsListed(e), cmp.Or(need("node id", e.NodeID), checkReply(e.ReplyTo))
	case messaging.LogsTailed:
		return e.ReplyTo, tailed(e), checkReply(e.ReplyTo)
	case messaging.UsageDescribed:
		return e.ReplyTo, usage(e), cmp.Or(need("node id", e.Node.ID), checkReply(e.ReplyTo))
	case messaging.NodeEvacuating:
		return e.ReplyTo, evacuatingMessage{e.NodeID, e.Instances, e.By},
			cmp.Or(need("node id", e.NodeID), checkReply(e.ReplyTo))
	case messaging.LogLine:
		err := need("application", e.Application)
		if e.Index < 0 {
			err = errors.New("no index")
		}
		return LogsSubject(e.Application, e.Index), line(e), err
	case messaging.InstanceChanged:
		return SubjectInstance, changedMessage(e), need("instance", e.Instance)
	case messaging.InstanceUpdated:
		e.URIs = present(e.URIs)
		return SubjectUpdated, updatedMessage(e), need("instance", e.Instance)
	case messaging.Asked:
		return SubjectAsked, asked(e), cmp.Or(need("node id", e.NodeID), need("subject", e.Asker.Subject))
	case messaging.ActorGaveUp:
		return SubjectActor, gaveUpMessage(e), need("actor", e.Actor)
	default:
		return "", nil, errors.New("no such event")
	}
}

func listed(e messaging.InstancesListed) listedMessage {
	m := listedMessage{NodeID: e.NodeID, Files: e.Files, Instances: make([]rowMessage, 0, len(e.Instances))}
	for _, row := range e.Instances {
		row.URIs = present(row.URIs)
		m.Instances = append(m.Instances, rowMessage(row))
	}
	return m
}

func tailed(e messaging.LogsTailed) tailedMessage {
	m := tailedMessage{Lines: make([]lineMessage, 0, len(e.Lines))}
	for _, l := range e.Lines {
		m.Lines = append(m.Lines, line(l))
	}
	return m
}

// line keeps every byte: encoding/json would replace those that are no UTF-8.
func line(l messaging.LogLine) lineMessage {
	m := lineMessage{
		Application: l.Application, Instance: l.Instance, Index: l.Index,
		Stream: l.Stream, At: l.At, Dropped: l.Dropped,
	}
	if utf8.Valid(l.Text) {
		m.Text = new(string(l.Text))
	} else {
		m.TextBase64 = l.Text
	}
	return m
}

func (m lineMessage) line() messaging.LogLine {
	l := messaging.LogLine{
		Application: m.Application, Instance: m.Instance, Index: m.Index,
		Stream: m.Stream, At: m.At, Text: m.TextBase64, Dropped: m.Dropped,
	}
	if m.Text != nil {
		l.Text = []byte(*m.Text)
	}
	return l
}
