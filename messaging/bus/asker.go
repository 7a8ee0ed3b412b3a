package bus

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging"
)

const (
	// AskerHeader is where a client says who it is. Nobody checks it.
	AskerHeader = "Deacon-Asked-By"
	// requestInfoHeader is the server's, of requests that come in from another
	// account by an import that shares it.
	requestInfoHeader = "Nats-Request-Info"
	// askerMax bounds each text that is passed on.
	askerMax = 255
)

// from adds who asked to a command that acts; what only asks stays as it is.
func from(cmd messaging.Command, subject, reply string, header nats.Header) messaging.Command {
	switch cmd.(type) {
	case messaging.StartInstance, messaging.StopInstances, messaging.UpdateInstances, messaging.EvacuateNode:
	default: // changes nothing for anybody
		return cmd
	}
	asker := messaging.Asker{Subject: subject, Reply: short(reply), By: short(header.Get(AskerHeader))}
	var info struct {
		Account string `json:"acc"`
		User    string `json:"user"`
	}
	if json.Unmarshal([]byte(header.Get(requestInfoHeader)), &info) == nil {
		asker.Account = short(info.Account)
		if info.User != "" {
			asker.Account = short(info.User + "@" + info.Account)
		}
	}
	return messaging.From{Command: cmd, Asker: asker}
}

// short is what may be passed on of a text of somebody else's.
func short(text string) string {
	if len(text) > askerMax {
		text = text[:askerMax]
	}
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
		if text == "" {
			break
		}
	}
	return text
}
