package wardentty

import (
	"strconv"
	"strings"
)

// screen is as much of a terminal as the line editor uses: it moves within the
// last line, writes over it and erases its end. What it doesn't know it shows,
// so that a test sees it.
type screen struct {
	done    strings.Builder // lines that are over, with their newlines
	line    []rune          // the last
	column  int
	pending []byte // of a rune or an escape sequence that isn't whole yet
}

func (s *screen) text() string { return s.done.String() + string(s.line) }

func (s *screen) write(text []byte) {
	s.pending = append(s.pending, text...)
	for len(s.pending) > 0 {
		n := s.step()
		if n == 0 {
			return // the rest comes with the next piece
		}
		s.pending = s.pending[n:]
	}
}

// step takes one character or sequence, and tells its length; 0: not all of it
// is there.
func (s *screen) step() int {
	switch first := s.pending[0]; {
	case first == '\r':
		s.column = 0
	case first == '\n':
		s.done.WriteString(string(s.line))
		s.done.WriteByte('\n')
		s.line, s.column = nil, 0
	case first == '\a':
	case first == 0x1b:
		return s.escape()
	case first < 0x80:
		s.put(rune(first))
	default:
		return s.wide()
	}
	return 1
}

// wide takes a character of several bytes.
func (s *screen) wide() int {
	length := 2
	if s.pending[0] >= 0xe0 {
		length = 3
	}
	if s.pending[0] >= 0xf0 {
		length = 4
	}
	if len(s.pending) < length {
		return 0
	}
	for _, r := range string(s.pending[:length]) {
		s.put(r)
	}
	return length
}

func (s *screen) put(r rune) {
	for len(s.line) <= s.column {
		s.line = append(s.line, ' ')
	}
	s.line[s.column] = r
	s.column++
}

// escape takes ESC [ number letter.
func (s *screen) escape() int {
	end := 2
	for end < len(s.pending) && (s.pending[end] >= '0' && s.pending[end] <= '9' || s.pending[end] == ';') {
		end++
	}
	if end >= len(s.pending) {
		return 0
	}
	number, err := strconv.Atoi(string(s.pending[2:end]))
	switch letter := s.pending[end]; {
	case s.pending[1] == '[' && letter == 'G' && err == nil:
		s.column = number - 1
	case s.pending[1] == '[' && letter == 'C' && err == nil:
		s.column += number
	case s.pending[1] == '[' && letter == 'K' && number == 0:
		s.line = s.line[:min(s.column, len(s.line))]
	default:
		for _, b := range s.pending[:end+1] {
			if b == 0x1b {
				b = '?'
			}
			s.put(rune(b))
		}
	}
	return end + 1
}
