package output

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func splitAll(s *splitter, chunks ...string) (texts []string) {
	var lines []Line
	for _, chunk := range chunks {
		lines = s.split(lines, []byte(chunk), time.Time{})
	}
	for _, line := range s.finish(lines, time.Time{}) {
		texts = append(texts, string(line.Text))
	}
	return texts
}

// However a stream is cut into chunks, the lines are those of the stream, and
// every offset is where the next line begins.
func TestChunksDoNotShowInLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := rapid.SliceOf(rapid.SampledFrom([]byte("ab\n\n"))).Draw(t, "stream")
		var lines []Line
		s := splitter{}
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			lines = s.split(lines, bytes.Clone(rest[:n]), time.Time{})
			rest = rest[n:]
		}
		lines = s.finish(lines, time.Time{})

		var again []byte
		for i, line := range lines {
			again = append(again, line.Text...)
			if i < len(lines)-1 || bytes.HasSuffix(stream, []byte("\n")) {
				again = append(again, '\n')
			}
			if line.Offset != int64(len(again)) || line.Dropped != 0 {
				t.Fatalf("line %d %q says offset %d, dropped %d; it ends at %d",
					i, line.Text, line.Offset, line.Dropped, len(again))
			}
		}
		if !bytes.Equal(again, stream) {
			t.Fatalf("lines make %q of %q", again, stream)
		}
	})
}

func TestALineHasAGreatestLength(t *testing.T) {
	whole := strings.Repeat("x", LineMax)
	for name, c := range map[string]struct {
		chunks []string
		want   []string
	}{
		"at the maximum":                 {[]string{whole + "\n", "y\n"}, []string{whole, "y"}},
		"at the maximum, end separately": {[]string{whole, "\n"}, []string{whole}},
		"one more":                       {[]string{whole + "y\nz\n"}, []string{whole, "y", "z"}},
		"one more, byte by byte":         {[]string{whole, "y", "\n"}, []string{whole, "y"}},
		"three times":                    {[]string{whole + whole + whole + "\n"}, []string{whole, whole, whole}},
		"never ended":                    {[]string{whole, whole}, []string{whole, whole}},
	} {
		got := splitAll(&splitter{}, c.chunks...)
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: %d lines, want %d", name, len(got), len(c.want))
		}
	}
}

func TestTheLineThatAHoleCutIsLostWithIt(t *testing.T) {
	s := &splitter{}
	lines := s.split(nil, []byte("one\ntw"), time.Time{})
	s.skip(100)
	lines = s.split(lines, []byte("orn"), time.Time{})
	lines = s.split(lines, []byte(" end\nthree\nfour\n"), time.Time{})

	if len(lines) != 3 || string(lines[1].Text) != "three" || lines[2].Dropped != 0 {
		t.Fatalf("lines are %+v", lines)
	}
	// From behind "one\n" to the hole's end, and "orn end\n".
	if want := int64(100 - 4 + 8); lines[1].Dropped != want || lines[1].Offset != 100+8+6 {
		t.Errorf("dropped %d up to %d, want %d", lines[1].Dropped, lines[1].Offset, want)
	}
}

func TestALossAtTheEndIsReported(t *testing.T) {
	s := &splitter{}
	s.skip(50)
	lines := s.finish(nil, time.Time{})
	if len(lines) != 1 || len(lines[0].Text) != 0 || lines[0].Dropped != 50 {
		t.Errorf("lines are %+v", lines)
	}
}
