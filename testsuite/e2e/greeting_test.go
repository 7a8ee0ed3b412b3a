package e2e

import (
	"testing"

	"github.com/deacon-agent/deacon/actors/kit"
)

// A node greets before it is ready: here because the actor that takes orders isn't up
// yet. What a controller says on being greeted waits for it.
func TestWhoAnswersTheGreetingIsHeard(t *testing.T) {
	said := make(chan struct{})
	s := inside(t, func(turn kit.Turn) {
		if turn.Kind == "instances" && turn.Message == "Up" {
			<-said
		}
	})
	s.start("web", s.serve, nil)
	if err := s.ctl.Conn.Flush(); err != nil {
		t.Fatal(err)
	}
	close(said)
	s.registered("web")
	s.stop("web")
}
