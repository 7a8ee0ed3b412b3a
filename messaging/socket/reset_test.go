package socket

import (
	"testing"

	"github.com/deacon-agent/deacon/messaging"
)

func TestResetSendsEverybodyAwayAndLetsThemComeBack(t *testing.T) {
	n := open(t, Config{})
	idle, busy, linked := n.dial(t), n.dial(t), n.dial(t)
	busy.send(destroyOf(t, "h"), destroyOf(t, "queued"))
	destroy := hear[messaging.DestroyContainer](t, n)
	linked.send(linkOf(t, "h"))
	hear[messaging.LinkJob](t, n)
	n.Reset()
	for _, c := range []*client{idle, busy, linked} {
		c.expectEnd()
		hear[messaging.ClientGone](t, n)
	}
	n.Answer(messaging.Answered{Ask: destroy.Ask, Answer: messaging.Done{}})
	c := n.dial(t)
	c.send(ping())
	c.pong()
	n.hearNothing(t)
}
