package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// pieces are the buffers of who reads raw output. A follower that waits has
// none, so that an idle job costs no more than one whose lines are followed.
var pieces = sync.Pool{New: func() any { return new([chunkMax]byte) }}

// FollowRaw hands over the bytes that a job wrote, each stream in its order,
// from the first that is kept: what PID 1 punched out is skipped. It returns
// nil when the job is done and everything was handed over; when ctx ends, its
// cause; an error of emit ends it too. The data, at most 64 KiB, is emit's until
// it returns. Nothing is recorded: everybody who follows gets it all.
func (f *Follower) FollowRaw(ctx context.Context, files Files, emit func(stream string, data []byte) error) error {
	sources, err := openSources(files.Dir)
	if err != nil {
		return err
	}
	defer closeSources(sources)
	return f.each(ctx, files, func() (bool, error) { return false, drain(ctx, sources, emit) })
}

// Exceeds returns true as soon as a job wrote more than most to both streams
// together, what was punched out since included, and false when it is done
// without. When ctx ends it returns its cause.
func (f *Follower) Exceeds(ctx context.Context, files Files, most int64) (exceeded bool, err error) {
	sources, err := openSources(files.Dir)
	if err != nil {
		return false, err
	}
	defer closeSources(sources)
	err = f.each(ctx, files, func() (bool, error) {
		total, err := written(sources)
		exceeded = err == nil && total > most
		return exceeded, err
	})
	return exceeded, err
}

// each looks at once, at every change, and a last time when the job is done,
// until look says that this is enough.
func (f *Follower) each(ctx context.Context, files Files, look func() (enough bool, err error)) error {
	changed := make(chan struct{}, 1)
	stop, err := f.watch(files.Dir, changed)
	if err != nil {
		return err
	}
	defer stop()
	done := files.Done
	for ended := false; ; {
		if enough, err := look(); enough || err != nil || ended {
			return err
		}
		select {
		case <-changed:
		case <-done:
			ended, done = true, nil
		case <-f.ended:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func openSources(dir string) (sources []*source, err error) {
	for _, stream := range Streams {
		s, err := openSource(dir, stream, 0)
		if err != nil {
			closeSources(sources)
			return nil, err
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func closeSources(sources []*source) {
	for _, s := range sources {
		s.file.Close()
	}
}

// drain hands over what was written so far. The streams take turns.
func drain(ctx context.Context, sources []*source, emit func(stream string, data []byte) error) error {
	piece := pieces.Get().(*[chunkMax]byte)
	defer pieces.Put(piece)
	for busy := true; busy; {
		busy = false
		for _, s := range sources {
			data, more, err := s.readRaw(piece[:])
			if err == nil && len(data) > 0 {
				err = emit(s.stream, data)
			}
			if err != nil {
				return err
			}
			busy = busy || more
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// readRaw is read for bytes: what comes next and fits. more is false at the end
// of what has been written so far.
func (s *source) readRaw(piece []byte) (data []byte, more bool, err error) {
	info, err := s.file.Stat()
	if err != nil {
		return nil, false, fmt.Errorf("output: %s: %w", s.stream, err)
	}
	size := info.Size()
	if size < s.offset {
		s.restart(0) // the application truncated it
	}
	if err := s.skipHole(size); err != nil || size == s.offset {
		return nil, false, err
	}
	n, err := s.file.ReadAt(piece[:min(int64(len(piece)), size-s.offset)], s.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, fmt.Errorf("output: read %s: %w", s.stream, err)
	}
	// As in read: a hole punched meanwhile shows at the first byte.
	if holed, err := s.holed(size); err != nil || holed {
		return nil, holed, err
	}
	s.offset += int64(n)
	return piece[:n], n > 0, nil
}

// written is how much was ever written to the streams.
func written(sources []*source) (total int64, err error) {
	for _, s := range sources {
		info, err := s.file.Stat()
		if err != nil {
			return 0, fmt.Errorf("output: %s: %w", s.stream, err)
		}
		total += info.Size()
	}
	return total, nil
}

// Gather returns what a job that has ended wrote. Where that is more than most
// for both streams together, exceeded is set, and of what is kept there are at
// most max and one piece (64 KiB): of each stream its beginning, and half of
// that at least if it has so much.
func Gather(dir string, most int64) (stdout, stderr []byte, exceeded bool, err error) {
	sources, err := openSources(dir)
	if err != nil {
		return nil, nil, false, err
	}
	defer closeSources(sources)
	total, err := written(sources)
	if err != nil {
		return nil, nil, false, err
	}
	room := total
	if exceeded = total > most; exceeded {
		room = most + chunkMax
	}
	var kept [len(Streams)]int64
	for i, s := range sources {
		if kept[i], err = s.kept(); err != nil {
			return nil, nil, false, err
		}
	}
	second := min(kept[1], max(room/2, room-kept[0]))
	if stdout, err = sources[0].gather(min(kept[0], room-second)); err != nil {
		return nil, nil, false, err
	}
	stderr, err = sources[1].gather(second)
	return stdout, stderr, exceeded, err
}

// kept goes to the first byte that is kept and says how many follow.
func (s *source) kept() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("output: %s: %w", s.stream, err)
	}
	err = s.skipHole(info.Size())
	return info.Size() - s.offset, err
}

// gather reads the next bytes, room of them or as many as there are.
func (s *source) gather(room int64) ([]byte, error) {
	data := make([]byte, 0, room)
	for len(data) < cap(data) {
		piece, more, err := s.readRaw(data[len(data):cap(data)])
		if err != nil {
			return nil, err
		}
		data = data[:len(data)+len(piece)]
		if !more {
			break
		}
	}
	return data, nil
}
