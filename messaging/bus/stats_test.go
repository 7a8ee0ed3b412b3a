package bus

import (
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

func TestTheConnectionIsCountedThroughItsLoss(t *testing.T) {
	_, b, back := goneServer(t)
	for i := range 3 * exitsKept {
		b.Publish(messaging.InstanceExited{Instance: "a", ExitStatus: i, Reason: "CRASHED"})
	}
	got := b.Stats()
	if got.Connected || got.Connections != 1 || got.Waiting != exitsKept || got.Lost != 2*exitsKept {
		t.Errorf("without a server: %+v", got)
	}
	heard := back(dea.SubjectExited)
	for range exitsKept {
		receive(t, heard)
	}
	b.conn.Flush()
	if got := b.Stats(); !got.Connected || got.Connections != 2 || got.Waiting != 0 || got.Told != exitsKept {
		t.Errorf("with the server again: %+v", got)
	}
}

// An answer that is too long for one message comes in several.
func TestManyActorsAreListedInPieces(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	asker := observer(t, s.url)
	answers := subscribed(t, asker, "_INBOX.x")
	if err := asker.PublishRequest(dea.SubjectActors, "_INBOX.x", nil); err != nil {
		t.Fatal(err)
	}
	list := messaging.ActorsListed{ReplyTo: receive(t, commands).(messaging.ListActors).ReplyTo, NodeID: nodeID}
	const actors = 20_000
	for range actors {
		list.Actors = append(list.Actors, messaging.ActorRow{Path: strings.Repeat("p", 64), Kind: "k", Incarnation: 1})
	}
	b.Publish(list)
	got := 0
	for got < actors {
		event, err := dea.DecodeReply(dea.SubjectActors, receive(t, answers).Data)
		if err != nil {
			t.Fatal(err)
		}
		got += len(event.(messaging.ActorsListed).Actors)
	}
	if got != actors || b.Stats().Heard != 1 {
		t.Errorf("%d actors came, %d messages were heard", got, b.Stats().Heard)
	}
}
