package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/dea"
	"github.com/deacon-agent/deacon/testsuite/logbook"
)

const startBody = `{"cc_partition":"p","droplet":"a","index":%d,"name":"n","version":"v",
	"limits":{"mem":1,"disk":1,"fds":1}}`

func TestAQuestionReachesTheNodeAndItsAnswerTheAsker(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	asker := observer(t, s.url)
	answers := subscribed(t, asker, "_INBOX.x")
	if err := asker.PublishRequest("dea.find.droplet", "_INBOX.x", []byte(`{"droplet":"a"}`)); err != nil {
		t.Fatal(err)
	}
	find := receive(t, commands).(messaging.FindInstances)
	b.Publish(messaging.InstanceFound{ReplyTo: find.ReplyTo, NodeID: nodeID, Application: "a", Instance: "i"})
	m := receive(t, answers)
	event, err := dea.DecodeReply("dea.find.droplet", m.Data)
	if err != nil || event.(messaging.InstanceFound).Instance != "i" {
		t.Errorf("answered %s: %v", m.Data, err)
	}
}

// nats.go gives each subscription a goroutine of its own; a stop must not
// overtake the start before it all the same.
func TestCommandsAreHandedOverInTheOrderInWhichTheyWereSent(t *testing.T) {
	const rounds = 1000
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	controller := observer(t, s.url)
	for i := range rounds {
		controller.Publish(dea.StartSubject(nodeID), fmt.Appendf(nil, startBody, i))
		controller.Publish("dea.stop", fmt.Appendf(nil, `{"droplet":"a","indices":[%d]}`, i))
		controller.Publish("router.start", nil)
		controller.Publish("healthmanager.start", nil)
	}
	for i := range rounds {
		start := acting[messaging.StartInstance](t, commands)
		stop := acting[messaging.StopInstances](t, commands)
		_, router := receive(t, commands).(messaging.RouterStarted)
		_, manager := receive(t, commands).(messaging.HealthManagerStarted)
		if start.Index != i || stop.Filter.Indices[0] != i || !router || !manager {
			t.Fatalf("round %d: start %d, stop %v", i, start.Index, stop.Filter.Indices)
		}
	}
}

func TestMalformedMessagesChangeNothingAndAreLoggedOnce(t *testing.T) {
	s := startServer(t, nil)
	log := logbook.New()
	b := openBus(t, log, Config{Servers: []string{s.url}})
	commands := listen(t, b)
	controller := observer(t, s.url)
	for range 2000 {
		controller.Publish(dea.StartSubject(nodeID), []byte(`{"cc_partition":"p","droplet":"a","index":0,"name":"n",
			"version":"v","limits":{"mem":"1","disk":1,"fds":1}}`))
		controller.Publish("dea.stop", []byte(`{"droplet":`))
		controller.Publish("dea.find.droplet", []byte(`{"droplet":"a"}`))
		controller.PublishRequest("dea.find.droplet", "dea.stop", []byte(`{"droplet":"a"}`))
	}
	controller.Publish("dea.stop", []byte(`{"droplet":"the last"}`))
	if stop := acting[messaging.StopInstances](t, commands); stop.Filter.Application != "the last" {
		t.Errorf("a malformed message became %+v", stop)
	}
	for _, reason := range []string{
		"limits.mem: want an integer number of MiB, got a string",
		"not JSON: unexpected end of JSON input",
		"reply subject: missing",
		"must not be answered to",
	} {
		if got := strings.Count(log.String(), reason); got != 1 {
			t.Errorf("%q is in the log %d times:\n%s", reason, got, log)
		}
	}
}

func TestABusOpensWithoutAServerAndFindsItLater(t *testing.T) {
	s := startServer(t, nil)
	s.stop()
	log := logbook.New()
	b := openBus(t, log, Config{Servers: []string{s.url}})
	if b.Connected() {
		t.Fatal("connected to nobody")
	}
	back := make(chan struct{}, 8)
	b.OnReconnect(func() { back <- struct{}{} })
	commands := listen(t, b)
	s.start()
	receive(t, back)
	if !b.Connected() {
		t.Error("told to be back without a connection")
	}
	b.conn.Flush()
	observer(t, s.url).Publish("router.start", nil)
	if cmd := receive(t, commands); cmd != (messaging.RouterStarted{}) {
		t.Errorf("heard %+v", cmd)
	}
	log.Wait(t, "no NATS server takes us")
}

// goneServer was taken away from under a bus; back brings it back with an observer
// that listens before the bus can speak.
func goneServer(t *testing.T) (s *natsServer, b *Bus, back func(subject string) <-chan *nats.Msg) {
	t.Helper()
	g := &gate{name: "bus"}
	s = startServer(t, func(o *server.Options) { o.CustomClientAuthentication = g })
	b = openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	g.shut.Store(true)
	s.stop()
	for b.Connected() {
		b.link.mu.Lock()
		changed, up := b.link.changed, b.link.up
		b.link.mu.Unlock()
		if up {
			receive(t, changed)
		}
	}
	return s, b, func(subject string) <-chan *nats.Msg {
		t.Helper()
		s.start()
		heard := subscribed(t, observer(t, s.url), subject)
		g.shut.Store(false)
		return heard
	}
}

// libs.md 3: with nats.go's own buffer all 575 heartbeats came when the server did.
func TestWhatMattersIsToldWhenTheServerIsBackAndNothingStaleIs(t *testing.T) {
	_, b, back := goneServer(t)
	route := messaging.Route{NodeID: nodeID, Application: "a", Host: routeTo(1).Host, Port: 7, URIs: []string{"u"}}
	for range 575 {
		b.Publish(messaging.Beat{NodeID: nodeID})
		b.Publish(messaging.Advertised{NodeID: nodeID})
		b.Publish(messaging.RouteRegistered{Route: route})
	}
	b.Publish(messaging.InstanceExited{Instance: "one", Reason: "CRASHED"})
	b.Publish(messaging.RouteUnregistered{Route: route})
	b.Publish(messaging.InstanceExited{Instance: "two", Reason: "CRASHED"})
	b.Publish(messaging.InstanceFound{ReplyTo: "_INBOX.gone", Instance: "one"})
	heard := back(">")
	b.OnReconnect(func() { b.Publish(messaging.NodeStarted{Node: messaging.Node{ID: "the last"}}) })
	var got []string
	for {
		m := receive(t, heard)
		if strings.Contains(string(m.Data), "the last") {
			break
		}
		got = append(got, m.Subject)
	}
	want := []string{"droplet.exited", "router.unregister", "droplet.exited"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got:\n", diff)
	}
}

func TestAnExitIsSaidToBeToldWhenTheServerHasIt(t *testing.T) {
	_, b, back := goneServer(t)
	told := make(chan string, 8)
	b.config.ExitTold = func(instance string) { told <- instance }
	b.Publish(messaging.InstanceExited{Instance: "one", Reason: "CRASHED"})
	select {
	case instance := <-told:
		t.Fatalf("without a server %s is said to be told", instance)
	case <-time.After(200 * time.Millisecond): // long enough for a wrong word
	}
	heard := back("droplet.exited")
	if instance := receive(t, told); instance != "one" {
		t.Errorf("%q is said to be told", instance)
	}
	receive(t, heard)
}

func TestLinesWaitForTheServerAndNoneIsLost(t *testing.T) {
	_, b, back := goneServer(t)
	done := make(chan error, 1)
	go func() { done <- publishNumbers(t.Context(), b, 3000) }()
	expectNumbers(t, back(dea.LogsPattern("a.b", 0)), 3000)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// The observer stays connected; the bus's connection breaks while lines and
// exits are on their way. Some may come twice, none may be missing.
func TestNothingIsLostWhereTheConnectionBreaksInTheMiddle(t *testing.T) {
	const lines, exits, breaks = 60_000, 6000, 3
	s := startServer(t, nil)
	p := startProxy(t, s.url)
	b := openBus(t, logbook.New(), Config{Servers: []string{p.url}})
	seeing := observer(t, s.url)
	heard, exited := subscribed(t, seeing, dea.LogsPattern("a.b", 0)), subscribed(t, seeing, "droplet.exited")
	done := make(chan error, 1)
	go func() { done <- publishNumbers(t.Context(), b, lines) }()
	go func() {
		for i := range exits {
			b.Publish(messaging.InstanceExited{Instance: fmt.Sprint(i)})
		}
	}()
	missing := map[string]bool{}
	for i := range exits {
		missing[fmt.Sprint(i)] = true
	}
	for n := 0; len(missing) > 0; n++ {
		if n%1000 == 999 && n/1000 < breaks {
			p.breakAll()
		}
		var m struct{ Instance string }
		if err := json.Unmarshal(receive(t, exited).Data, &m); err != nil {
			t.Fatal(err)
		}
		delete(missing, m.Instance)
	}
	expectNumbers(t, heard, lines)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// What was written to a connection that broke is gone, although the next one
// answers the ping behind it.
func TestAPingOnAnotherConnectionProvesNothing(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	back := make(chan struct{}, 1)
	b.OnReconnect(func() { back <- struct{}{} })
	err := b.deliver(t.Context(), func() error {
		b.conn.ForceReconnect()
		receive(t, back)
		return nil
	})
	if !errors.Is(err, errOtherConnection) {
		t.Errorf("error %v, want %v", err, errOtherConnection)
	}
}

// publishNumbers publishes so many lines that say 0, 1, 2 and so on.
func publishNumbers(ctx context.Context, b *Bus, lines int) error {
	for i := 0; i < lines; i += 100 {
		var batch []messaging.LogLine
		for j := range 100 {
			batch = append(batch, messaging.LogLine{Application: "a.b", Text: fmt.Append(nil, i+j)})
		}
		if err := b.PublishLines(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// expectNumbers waits for them all. One that comes again is no harm, one that
// comes too early means that another is missing.
func expectNumbers(t *testing.T, heard <-chan *nats.Msg, lines int) {
	t.Helper()
	for want := 0; want < lines; {
		m := receive(t, heard)
		event, err := dea.DecodeEvent(m.Subject, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := strconv.Atoi(string(event.(messaging.LogLine).Text))
		if err != nil || got > want {
			t.Fatalf("line %d came where %d was to come: %v", got, want, err)
		}
		if got == want {
			want++
		}
	}
}

func TestLinesThatCantBeSentAreNotTaken(t *testing.T) {
	_, b, _ := goneServer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.PublishLine(ctx, messaging.LogLine{Application: "a"}) }()
	cancel(errors.New("the follower is stopped"))
	if err := receive(t, done); err == nil || err.Error() != "bus: publish 1 lines: the follower is stopped" {
		t.Errorf("error %v", err)
	}
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := b.PublishLine(ctx, messaging.LogLine{Application: "a"}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want %v", err, ErrClosed)
	}
}

func TestALineThatHasNoPlaceIsAnErrorAtOnce(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	err := b.PublishLine(t.Context(), messaging.LogLine{})
	if err == nil || err.Error() != "dea: encode messaging.LogLine: no application" {
		t.Errorf("error %v", err)
	}
}

// A server that takes nothing any more fills the socket; whoever publishes
// must not come to stand behind it.
func TestPublishDoesNotBlockOnAServerThatHangs(t *testing.T) {
	s := startServer(t, nil)
	p := startProxy(t, s.url)
	b := openBus(t, logbook.New(), Config{Servers: []string{p.url}})
	p.hang()
	reason := strings.Repeat("x", 64<<10)
	begin := time.Now()
	for i := range 1000 { // 64 MiB: far more than any socket takes
		b.Publish(messaging.ActorGaveUp{Actor: fmt.Sprint(i), Reason: reason})
	}
	if took := time.Since(begin); took > answerMax/2 {
		t.Errorf("publishing took %s", took)
	}
}

func TestAnAnswerThatIsTooLongComesInSeveral(t *testing.T) {
	const rows = 9000
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	heard := subscribed(t, observer(t, s.url), "_INBOX.x")
	list := messaging.InstancesListed{ReplyTo: "_INBOX.x", NodeID: nodeID}
	for i := range rows {
		list.Instances = append(list.Instances, messaging.InstanceRow{Instance: fmt.Sprint(i)})
	}
	b.Publish(list)
	var got []messaging.InstanceRow
	messages := 0
	for len(got) < rows {
		event, err := dea.DecodeReply("deacon.v1.ps", receive(t, heard).Data)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.(messaging.InstancesListed).Instances...)
		messages++
	}
	if messages < 2 || got[0].Instance != "0" || got[rows-1].Instance != fmt.Sprint(rows-1) {
		t.Errorf("%d messages, from %s to %s", messages, got[0].Instance, got[rows-1].Instance)
	}
}

func TestAMessageThatNoServerTakesIsLeftOutAndLogged(t *testing.T) {
	s := startServer(t, func(o *server.Options) { o.MaxPayload = 4096 })
	log := logbook.New()
	b := openBus(t, log, Config{Servers: []string{s.url}})
	heard := subscribed(t, observer(t, s.url), ">")
	b.Publish(messaging.ActorGaveUp{Actor: "a", Reason: strings.Repeat("x", 5000)})
	b.Publish(messaging.ActorGaveUp{Actor: "b", Reason: "short"})
	if m := receive(t, heard); !strings.Contains(string(m.Data), "short") {
		t.Errorf("heard %.100s", m.Data)
	}
	log.Wait(t, "a message was left out")
}

func TestCloseSendsWhatWaitsAndEndsTheCallbacks(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	commands := listen(t, b)
	observing := observer(t, s.url)
	heard := subscribed(t, observing, "droplet.exited")
	const exits = 2000
	for i := range exits {
		b.Publish(messaging.InstanceExited{Instance: fmt.Sprint(i)})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	for i := range exits {
		var m struct{ Instance string }
		if err := json.Unmarshal(receive(t, heard).Data, &m); err != nil || m.Instance != fmt.Sprint(i) {
			t.Fatalf("exit %d is %s, %v", i, m.Instance, err)
		}
	}
	observing.Publish("router.start", nil)
	observing.Flush()
	if len(commands) != 0 {
		t.Errorf("heard %+v after the end", <-commands)
	}
	if b.Connected() {
		t.Error("still connected")
	}
	if err := b.Close(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if err := b.Listen(func(messaging.Command) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("listens after the end: %v", err)
	}
}

func TestCloseWithoutAServerSaysWhatWasNotSent(t *testing.T) {
	_, b, _ := goneServer(t)
	b.Publish(messaging.InstanceExited{Instance: "a"})
	b.Publish(messaging.Beat{NodeID: nodeID})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if err := b.Close(ctx); err == nil || err.Error() != "bus: close: 1 messages were not sent" {
		t.Errorf("error %v", err)
	}
}

func TestMessagesThatComeTooFastAreLostWithAWord(t *testing.T) {
	s := startServer(t, nil)
	log := logbook.New()
	b := openBus(t, log, Config{Servers: []string{s.url}})
	held := make(chan struct{})
	if err := b.Listen(func(messaging.Command) { <-held }); err != nil {
		t.Fatal(err)
	}
	b.conn.Flush()
	controller := observer(t, s.url)
	for range pendingMax + 10 {
		controller.Publish("router.start", nil)
	}
	controller.Flush()
	log.Wait(t, "messages were lost, they came too fast")
	close(held)
}

func TestWhatComesBeforeSomebodyListensWaits(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	if err := b.Subscribe(); err != nil {
		t.Fatal(err)
	}
	b.conn.Flush()
	controller := observer(t, s.url)
	controller.Publish("router.start", nil)
	controller.Publish("healthmanager.start", nil)
	controller.Flush()
	commands := listen(t, b)
	if _, is := receive(t, commands).(messaging.RouterStarted); !is {
		t.Error("the first is another")
	}
	if _, is := receive(t, commands).(messaging.HealthManagerStarted); !is {
		t.Error("the second is another")
	}
	if err := b.Subscribe(); err == nil {
		t.Error("subscribed twice")
	}
}

func TestSubscribingEndsWithoutListening(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	if err := b.Subscribe(); err != nil {
		t.Fatal(err)
	}
	b.StopListening()
	b.conn.Flush()
	if n := b.conn.NumSubscriptions(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestOnlyOneListens(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{Servers: []string{s.url}})
	listen(t, b)
	if err := b.Listen(func(messaging.Command) {}); err == nil {
		t.Error("two listen")
	}
	b.StopListening()
	commands := listen(t, b)
	observer(t, s.url).Publish("router.start", nil)
	receive(t, commands)
}

func TestAServerInTheProcessNeedsNoSocket(t *testing.T) {
	s := startServer(t, nil)
	b := openBus(t, logbook.New(), Config{InProcess: s.server})
	heard := subscribed(t, observer(t, s.url), "dea.heartbeat")
	b.Publish(messaging.Beat{NodeID: nodeID})
	receive(t, heard)
}
