package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

var limitedSource = actors.OutputSource{Container: "c", Job: 1, Application: "web", Instance: "i", Index: 2}

// limitStage is a limited instance and what was published of it.
type limitStage struct {
	o         *outputs
	l         *lineLimit
	published []messaging.LogLine
	takes     time.Duration // that the bus needs
}

func newLimitStage(rate, most int) *limitStage {
	s := &limitStage{o: &outputs{tails: map[string]*tail{}, forgotten: map[string]bool{}}}
	s.o.publish = func(_ context.Context, lines []messaging.LogLine) error {
		time.Sleep(s.takes)
		s.published = append(s.published, lines...)
		return nil
	}
	s.l = newLineLimit(limitedSource, rate, most, false)
	return s
}

func (s *limitStage) write(t *testing.T, count int, text string) {
	t.Helper()
	var lines []messaging.LogLine
	for n := range count {
		lines = append(lines, messaging.LogLine{
			Application: "web", Instance: "i", Index: 2, Stream: "stdout", Text: fmt.Appendf(nil, "%s%d", text, n),
		})
	}
	if err := s.o.limited(t.Context(), s.l, lines); err != nil {
		t.Fatal(err)
	}
}

// of are the texts that were published on a stream, and are forgotten with that.
func (s *limitStage) of(stream string) (texts []string) {
	for _, line := range s.published {
		if line.Stream == stream {
			texts = append(texts, string(line.Text))
		}
	}
	return texts
}

func TestAnInstanceThatWritesTooFastIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLimitStage(10, 1024)
		s.write(t, 25, "x")
		if got := s.of("stdout"); len(got) != 10 || got[9] != "x9" {
			t.Errorf("published: %q", got)
		}
		const want = "Instance i (index 2) of web: left out 15 lines (45 bytes), for it writes more than 10 a second"
		if got := s.of("deacon"); len(got) != 1 || got[0] != want {
			t.Errorf("said %q, want %q", got, want)
		}
		// What is left out soon after is said a second later, though nothing comes any more.
		s.write(t, 3, "y")
		if got := s.of("deacon"); len(got) != 1 {
			t.Errorf("said %q at once", got)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		if got := s.of("deacon"); len(got) != 2 || !strings.Contains(got[1], "left out 3 lines") {
			t.Errorf("said %q", got)
		}
		// And by then there is room again, but for no more than a second's lines.
		time.Sleep(time.Hour)
		s.published = nil
		s.write(t, 20, "z")
		if got := s.of("stdout"); len(got) != 10 {
			t.Errorf("after an hour: %q", got)
		}
		if kept, _ := s.o.Tail(t.Context(), "web", 2, 1000); len(kept) != 10+1+1+10+1 {
			t.Errorf("%d lines are kept for deacon logs", len(kept))
		}
	})
}

func TestALineThatIsTooLongIsCutAndToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLimitStage(0, 8)
		s.write(t, 1, strings.Repeat("x", 20))
		s.write(t, 5000, "y") // without a rate there may be any number
		if got := s.of("stdout"); len(got) != 5001 || got[0] != "xxxxxxxx" {
			t.Errorf("%d lines, the first is %q", len(got), got[0])
		}
		const want = "Instance i (index 2) of web: cut 1 lines that are longer than 8 bytes (by 13 bytes)"
		if got := s.of("deacon"); len(got) != 1 || got[0] != want {
			t.Errorf("said %q, want %q", got, want)
		}
	})
}

// Lines that wait for a bus that is away are no haste of the instance's.
func TestABusThatIsAwayCostsNoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLimitStage(10, 1024)
		s.takes = 30 * time.Second
		s.write(t, 10, "x")
		s.takes = 0
		s.write(t, 300, "y")
		if got := s.of("stdout"); len(got) != 310 || len(s.of("deacon")) != 0 {
			t.Errorf("%d lines of 310 were published; said: %q", len(got), s.of("deacon"))
		}
	})
}
