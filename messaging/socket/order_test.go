package socket

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/messaging/warden"
)

func TestPipelinedRequestsAreDeliveredOneAfterTheAnswerToTheOther(t *testing.T) {
	const rounds = 300 // more than a backlog
	n := open(t, Config{})
	c := n.dial(t)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range rounds {
			c.send(infoOf(t, fmt.Sprint(i)), ping(), echoOf(t, fmt.Sprint(i)))
		}
	}()
	for i := range rounds {
		asked := hear[messaging.InspectContainer](t, n)
		n.hearNothing(t)
		if asked.Handle != fmt.Sprint(i) || asked.Request != uint64(3*i+1) {
			t.Fatalf("round %d: heard %+v", i, asked)
		}
		text := fmt.Sprint("answer ", i)
		n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.Failed{Text: text}})
		c.expect(warden.TypeInfo, messaging.Failed{Text: text})
		c.pong()
		c.echoed(fmt.Sprint(i))
	}
	receive(t, sent)
}

// A ping answered at once would tell a client that what it asked before is done.
func TestAPingBehindARequestIsAnsweredBehindIt(t *testing.T) {
	n := open(t, Config{})
	c := n.dial(t)
	c.send(ping(), linkOf(t, "h"), ping())
	c.pong()
	link := hear[messaging.LinkJob](t, n)
	other := n.dial(t)
	other.send(ping())
	other.pong() // a link holds up nobody else
	n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{Status: 9}})
	c.expect(warden.TypeLink, messaging.JobLinked{Status: 9})
	c.pong()
}

func TestALongRequestHoldsUpNobodyElse(t *testing.T) {
	n := open(t, Config{})
	for range 20 {
		c := n.dial(t)
		c.send(linkOf(t, "for ever"))
		hear[messaging.LinkJob](t, n)
	}
	c := n.dial(t)
	for range 10 {
		c.send(infoOf(t, "h"))
		asked := hear[messaging.InspectContainer](t, n)
		n.Answer(messaging.Answered{Ask: asked.Ask, Answer: messaging.ContainerInspected{}})
		c.expect(warden.TypeInfo, messaging.ContainerInspected{})
	}
}

// A client may send without end and read nothing: what it may have in the
// door's memory is bounded, and the rest stays in the socket.
func TestWhatIsReadAheadIsBounded(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, c := range map[string]struct {
		request func(*testing.T) []byte
		times   int
	}{
		"by number": {func(*testing.T) []byte { return ping() }, 20 * backlogMax},
		"by bytes":  {func(t *testing.T) []byte { return echoOf(t, long) }, 50},
	} {
		t.Run(name, func(t *testing.T) {
			n := open(t, Config{})
			client := n.dial(t)
			client.send(linkOf(t, "h"))
			link := hear[messaging.LinkJob](t, n)
			request := c.request(t)
			go client.send(bytes.Repeat(request, c.times))
			requests, held := n.find(client.number).backlog.waitUntilPaused(t)
			if requests > backlogMax || held > backlogBytesMax+len(request) {
				t.Errorf("%d requests of %d bytes wait in memory", requests, held)
			}
			n.Answer(messaging.Answered{Ask: link.Ask, Answer: messaging.JobLinked{}})
			client.expect(warden.TypeLink, messaging.JobLinked{})
			for range c.times {
				client.next()
			}
		})
	}
}

// waitUntilPaused says what waits in a backlog that takes no more. Nothing is
// told of that, so it has to be looked at again and again.
func (b *backlog) waitUntilPaused(t *testing.T) (requests, held int) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		b.mu.Lock()
		requests, held, paused := len(b.queue), b.bytes, b.paused
		b.mu.Unlock()
		if paused {
			return requests, held
		}
	}
	t.Fatal("reading goes on and on")
	return 0, 0
}
