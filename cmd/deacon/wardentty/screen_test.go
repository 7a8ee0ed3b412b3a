package wardentty

import "testing"

// TestTheScreenShowsWhatATerminalShows types byte by byte, as a terminal may
// get it.
func TestTheScreenShowsWhatATerminalShows(t *testing.T) {
	for _, test := range []struct{ name, written, want string }{
		{"lines", "a\r\nb\r\n", "a\nb\n"},
		{"writing over", "abc\rX", "Xbc"},
		{"going to a column and erasing", "prompt> abc\x1b[10G\x1b[0K", "prompt> a"},
		{"going right", "a\x1b[2Cb", "a  b"},
		{"beeps are silent", "a\ab", "ab"},
		{"wide characters", "é\u20ac\U0001f600", "é\u20ac\U0001f600"},
		{"what isn't known is seen", "\x1b[3Jx", "?[3Jx"},
	} {
		var s screen
		for i := range len(test.written) {
			s.write([]byte{test.written[i]})
		}
		if got := s.text(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
