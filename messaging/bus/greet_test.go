package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

// A router that is there already answers a greeting as it would say that it has
// come up; an answer that makes no sense is refused like any other message.
func TestAGreetedRoutersAnswerIsHeard(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	router := observer(t, s.url)
	if _, err := router.Subscribe("router.greet", func(m *nats.Msg) {
		m.Respond([]byte(`{"minimumRegisterIntervalInSeconds":"soon"}`))
		m.Respond([]byte(`{"id":"r","hosts":["192.0.2.9"],"minimumRegisterIntervalInSeconds":5}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := router.Flush(); err != nil {
		t.Fatal(err)
	}
	b.Publish(messaging.RoutersGreeted{})
	if cmd := receive(t, commands); cmd != (messaging.RouterStarted{Interval: 5 * time.Second}) {
		t.Errorf("heard %+v", cmd)
	}
	router.Publish(dea.SubjectStop, []byte(`{"droplet":"a"}`))
	acting[messaging.StopInstances](t, commands) // and the answer that makes no sense became nothing
}
