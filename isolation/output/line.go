package output

import (
	"bytes"
	"time"
)

// LineMax is how long a line may be, in bytes; a longer one comes in pieces.
const LineMax = 64 << 10

// Streams are the names of a job's output files, and of Line.Stream.
var Streams = [...]string{"stdout", "stderr"}

// Line is one line of output without its end. The text belongs to whoever
// receives it.
type Line struct {
	Stream string
	Text   []byte
	// At is when the file was last written to as the line was read: for lines
	// that come as they are written their own time, for lines that waited for
	// an agent no later than that.
	At      time.Time
	Offset  int64 // in the stream, of the first byte behind the line
	Dropped int64 // bytes lost between the line before and this one
}

// splitter cuts a stream of bytes into lines.
type splitter struct {
	stream  string
	offset  int64  // of the first byte that no line holds yet
	rest    []byte // the beginning of a line whose end was not seen
	dropped int64  // not reported yet
	torn    bool   // inside a line whose beginning is lost
}

// next is the offset of the first byte not seen yet.
func (s *splitter) next() int64 { return s.offset + int64(len(s.rest)) }

// restart begins anew at an earlier offset: the file was truncated.
func (s *splitter) restart(at int64) { *s = splitter{stream: s.stream, offset: at, dropped: s.dropped} }

// skip goes on at a later offset: what lies between is a hole. The line that
// the hole cut in two is lost with it.
func (s *splitter) skip(to int64) {
	s.dropped += to - s.offset
	s.offset, s.rest, s.torn = to, nil, true
}

// split takes what follows in the stream and appends its whole lines. It keeps
// no reference to chunk but through the lines.
func (s *splitter) split(lines []Line, chunk []byte, at time.Time) []Line {
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\n')
		size := end + 1
		if end < 0 {
			end, size = len(chunk), len(chunk)
		}
		piece := chunk[:end:end]
		switch room := LineMax - len(s.rest); {
		case s.torn:
			s.offset += int64(size)
			s.dropped += int64(size)
			s.torn = size == end
		case end > room:
			// Not the line's end but the greatest piece of it. One that has just
			// this length waits: the next byte may be its end.
			size = room
			lines = append(lines, s.line(piece[:room:room], size, at))
		case size == end:
			s.rest = append(s.rest, piece...)
		default:
			lines = append(lines, s.line(piece, size, at))
		}
		chunk = chunk[size:]
	}
	return lines
}

// line makes a line of the rest and one more piece.
func (s *splitter) line(piece []byte, size int, at time.Time) Line {
	s.offset += int64(len(s.rest) + size)
	if len(s.rest) > 0 {
		piece = append(s.rest, piece...)
		s.rest = nil
	}
	line := Line{Stream: s.stream, Text: piece, At: at, Offset: s.offset, Dropped: s.dropped}
	s.dropped = 0
	return line
}

// finish appends the last line, which nobody ended, or a loss that no line
// came after to report.
func (s *splitter) finish(lines []Line, at time.Time) []Line {
	if len(s.rest) == 0 && s.dropped == 0 {
		return lines
	}
	return append(lines, s.line(nil, 0, at))
}
