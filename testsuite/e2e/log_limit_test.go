package e2e

import (
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/rig"
)

// An instance that floods its output is cut short, and says so where its owner
// looks; its neighbour's lines come as ever.
func TestAFloodOfLinesIsCutShortAndSaid(t *testing.T) {
	s := newStage(t, "instance {\n log_rate = 50\n log_line_max = \"1KiB\"\n}")
	s.running("quiet", nil).ask("/say", "text", "a neighbour's line")
	s.running("loud", map[string]any{"start_command": "seq 1 5000; head -c 3000 /dev/zero | tr '\\0' x; echo; exec ./app"})
	said := s.ctl.Expect("deacon.v1.logs.loud.0", soon, rig.With("stream", "deacon"), func(m rig.Seen) bool {
		text, _ := m.Body["text"].(string)
		return strings.Contains(text, "left out") && strings.Contains(text, "for it writes more than 50 a second")
	}).Body["text"].(string)
	if !strings.Contains(said, "(index 0) of loud: ") {
		t.Errorf("it is said of %q", said)
	}
	s.expectText(s.deacon("logs", "loud"), `^loud/0 deacon \| Instance [0-9a-f]+ \(index 0\) of loud: left out \d+ lines`)
	s.ctl.Expect("deacon.v1.logs.quiet.0", soon, rig.With("text", "a neighbour's line"))
}
