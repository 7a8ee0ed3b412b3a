package e2e

import (
	"testing"

	"github.com/deacon-agent/deacon/cmd/deacon/wardentty"
	"github.com/deacon-agent/deacon/testsuite/rig"
)

// The conversation of Warden's old introductions, in a terminal with a real
// node behind the socket: it reads as it does in the shell's own tests.
func TestTheConversationOfTheOldIntroductionsWithARealNode(t *testing.T) {
	w := newWardens(t, "")
	for name, conversation := range map[string]struct {
		have func(deacon, socket string, env ...string) (string, error)
		want string
	}{
		"V2":   {wardentty.Session, wardentty.Golden},
		"text": {wardentty.TextSession, wardentty.TextGolden},
	} {
		got, err := conversation.have(rig.Binary(t, "deacon"), w.socket, "HOME="+t.TempDir())
		if err != nil || got != conversation.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, conversation.want)
		}
		listed, err := w.c.List(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		w.destroy(listed...)
	}
}
