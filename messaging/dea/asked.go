package dea

import (
	"cmp"
	"time"

	"github.com/deacon-agent/deacon/messaging"
)

// SubjectAsked is where a node tells of commands that it accepted.
const SubjectAsked = ownPrefix + "asked"

type askedMessage struct {
	NodeID      string    `json:"node"`
	Subject     string    `json:"subject"`
	Application string    `json:"application"`
	Index       int       `json:"index"` // -1: several, or all
	Instances   int       `json:"instances"`
	Reply       string    `json:"reply"`
	Account     string    `json:"account"`
	By          string    `json:"by"`
	At          time.Time `json:"at"`
}

func asked(e messaging.Asked) askedMessage {
	return askedMessage{
		e.NodeID, e.Asker.Subject, e.Application, e.Index, e.Instances, e.Asker.Reply, e.Asker.Account, e.Asker.By, e.At,
	}
}

func decodeAsked(body []byte) (messaging.Event, error) {
	m, err := read[askedMessage](body)
	return messaging.Asked{
		NodeID: m.NodeID, Asker: messaging.Asker{Subject: m.Subject, Reply: m.Reply, Account: m.Account, By: m.By},
		Application: m.Application, Index: m.Index, Instances: m.Instances, At: m.At,
	}, cmp.Or(err, missing("node", m.NodeID), missing("subject", m.Subject))
}
