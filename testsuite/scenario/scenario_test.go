package scenario

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deacon-agent/deacon/testsuite/sim"
)

var update = flag.Bool("update", false, "rewrite the transcripts")

func TestScenariosGoAsTheyAreWritten(t *testing.T) {
	scripts, err := filepath.Glob("*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(script, ".txt"), func(t *testing.T) {
			body, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			transcript, wrong, err := sim.Scenario(string(body))
			if err != nil {
				t.Fatalf("%s: %v", script, err)
			}
			if wrong != "" {
				t.Errorf("%s: %s\n%s", script, wrong, transcript)
			}
			if transcript == string(body) {
				return
			}
			if *update {
				if err := os.WriteFile(script, []byte(transcript), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s goes otherwise (-update rewrites it):\n%s", script, difference(string(body), transcript))
		})
	}
}

// difference shows where two texts part.
func difference(was, is string) string {
	before, after := strings.Split(was, "\n"), strings.Split(is, "\n")
	at := 0
	for at < min(len(before), len(after)) && before[at] == after[at] {
		at++
	}
	from := max(0, at-5)
	return strings.Join(before[from:at], "\n") + "\n- " + strings.Join(before[at:min(len(before), at+5)], "\n- ") +
		"\n+ " + strings.Join(after[at:min(len(after), at+5)], "\n+ ")
}
