package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// chunkMax is how much of a file is read at once.
const chunkMax = 64 << 10

// source is one output file being read. It holds no buffer between reads but
// the beginning of an unfinished line.
type source struct {
	file *os.File
	splitter
}

func openSource(dir, stream string, offset int64) (*source, error) {
	file, err := os.OpenFile(filepath.Join(dir, stream), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("output: open %s: %w", stream, err)
	}
	return &source{file: file, splitter: splitter{stream: stream, offset: offset}}, nil
}

// read appends the lines of the next chunk. more is false at the end of what
// has been written so far.
func (s *source) read(lines []Line) (_ []Line, more bool, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return lines, false, fmt.Errorf("output: %s: %w", s.stream, err)
	}
	if info.Size() < s.next() {
		s.restart(0) // the application truncated it
	}
	if info.Size() == s.next() {
		return lines, false, nil
	}
	if err := s.skipHole(info.Size()); err != nil {
		return lines, false, err
	}
	chunk := make([]byte, min(chunkMax, info.Size()-s.next()))
	n, err := s.file.ReadAt(chunk, s.next())
	if err != nil && !errors.Is(err, io.EOF) {
		return lines, false, fmt.Errorf("output: read %s: %w", s.stream, err)
	}
	// PID 1 may have punched a hole into what was just read, which then reads
	// as zeroes. It punches from the front, so if the first byte is still there
	// all of them are; otherwise the next turn skips the hole.
	if holed, err := s.holed(info.Size()); err != nil || holed {
		return lines, holed, err
	}
	// A file that shrank meanwhile reads short; what is missing is truncated.
	return s.split(lines, chunk[:n], info.ModTime()), n > 0, nil
}

// skipHole goes to the next data. The size must have been asked before: only
// then does "no data" mean a hole up to there, and not a file that grew since.
func (s *source) skipHole(size int64) error {
	data, err := s.data(size)
	if err == nil && data > s.next() {
		s.skip(min(data, size))
	}
	return err
}

func (s *source) holed(size int64) (bool, error) {
	if s.next() >= size {
		return false, nil
	}
	data, err := s.data(size)
	return data > s.next(), err
}

// data is where the next byte lies that is not in a hole; size if there is none.
func (s *source) data(size int64) (int64, error) {
	at, err := s.file.Seek(s.next(), unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing but hole, or truncated meanwhile
		return size, nil
	case err != nil:
		return 0, fmt.Errorf("output: look for holes in %s: %w", s.stream, err)
	}
	return at, nil
}

// last makes a line of what nobody ended.
func (s *source) last(lines []Line) []Line {
	written := time.Time{}
	if info, err := s.file.Stat(); err == nil {
		written = info.ModTime()
	}
	return s.finish(lines, written)
}
