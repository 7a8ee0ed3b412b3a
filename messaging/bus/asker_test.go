package bus

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// acting waits for a command that acts, whoever asked for it.
func acting[C messaging.Command](t *testing.T, commands <-chan messaging.Command) C {
	t.Helper()
	command := receive(t, commands)
	if from, is := command.(messaging.From); is {
		command = from.Command
	}
	c, is := command.(C)
	if !is {
		t.Fatalf("%T came", command)
	}
	return c
}

// A node hears no more of who asks than what stands in the message, and passes on
// what the server says and what the sender says as what they are.
func TestWhoAskedComesWithWhatActs(t *testing.T) {
	s := startServer(t, nil)
	commands := listen(t, openBus(t, logbook.New(), Config{Servers: []string{s.url}}))
	controller := observer(t, s.url)
	controller.PublishMsg(&nats.Msg{Subject: "dea.stop", Reply: "_INBOX.x", Data: []byte(`{"droplet":"a"}`), Header: nats.Header{
		AskerHeader: {"ann@desk"}, requestInfoHeader: {`{"acc":"apps","user":"ann"}`},
	}})
	controller.PublishMsg(&nats.Msg{Subject: "dea.stop", Data: []byte(`{"droplet":"b"}`), Header: nats.Header{
		AskerHeader: {strings.Repeat("ü", 300)}, requestInfoHeader: {`nonsense`},
	}})
	controller.Publish("dea.locate", nil)
	want := messaging.Asker{Subject: "dea.stop", Reply: "_INBOX.x", Account: "ann@apps", By: "ann@desk"}
	if got, _ := receive(t, commands).(messaging.From); got.Asker != want {
		t.Errorf("asked by %+v, want %+v", got.Asker, want)
	}
	if got, _ := receive(t, commands).(messaging.From); got.Asker.By != strings.Repeat("ü", askerMax/2) || got.Asker.Account != "" {
		t.Errorf("asked by %+v", got.Asker)
	}
	if got, is := receive(t, commands).(messaging.LocateNodes); !is {
		t.Errorf("what only asks came as %T", got)
	}
}
