package output

import "fmt"

// TailMax bounds how far back Tail looks in each stream, in bytes.
const TailMax = 4 << 20

// Tail returns the last n lines of each stream of the job in dir, one stream
// after the other. It sees no further back than TailMax, and not beyond what
// PID 1 has punched out. It is a view, so it counts nothing as dropped.
func Tail(dir string, n int) ([]Line, error) {
	var tail []Line
	for _, stream := range Streams {
		lines, err := tailStream(dir, stream, n)
		if err != nil {
			return nil, err
		}
		tail = append(tail, lines...)
	}
	return tail, nil
}

func tailStream(dir, stream string, n int) ([]Line, error) {
	s, err := openSource(dir, stream, 0)
	if err != nil {
		return nil, err
	}
	defer s.file.Close()
	info, err := s.file.Stat()
	if err != nil {
		return nil, fmt.Errorf("output: %s: %w", stream, err)
	}
	end := info.Size()
	if end > TailMax {
		s.offset, s.torn = end-TailMax, true
	}
	var lines []Line
	// Up to the end as it was at first: the job may write faster than this reads.
	for more := true; more && s.next() < end; {
		if lines, more, err = s.read(lines); err != nil {
			return nil, err
		}
		lines = lines[max(0, len(lines)-n):]
	}
	s.dropped = 0
	lines = s.last(lines)
	lines = lines[max(0, len(lines)-n):]
	for i := range lines {
		lines[i].Dropped = 0
	}
	return lines, nil
}
