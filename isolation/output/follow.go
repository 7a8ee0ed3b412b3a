package output

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/isolation/record"
)

const (
	// SaveEvery is how often the offsets are recorded while lines come: as much
	// as an agent that is killed sends twice.
	SaveEvery = 200 * time.Millisecond

	// BatchMax is how many lines are handed over at once.
	BatchMax = 1024

	offsetsRecord = "offsets"
)

// Files are one job's output files.
type Files struct {
	Dir string // has a file for each of Streams, and gets the offsets record
	// Done is closed when the job has ended, and nobody writes any more.
	Done <-chan struct{}
}

// offsets is the record of what was taken, by stream.
type offsets map[string]int64

// Follow hands over the lines of a job in batches, each stream in its order,
// from where the last Follow of the same files ended. It returns nil when the
// job is done and everything was handed over, the last line even if nobody
// ended it. When ctx ends it returns its cause; what an unfinished line holds
// then is left to the next. An error of emit ends it too: what it refused is
// handed over again next time. That the offsets can't be recorded (a full disk)
// ends nothing: it is tried again, and until it succeeds a successor would hand
// over more lines twice.
func (f *Follower) Follow(ctx context.Context, files Files, emit func([]Line) error) (err error) {
	changed := make(chan struct{}, 1)
	stop, err := f.watch(files.Dir, changed)
	if err != nil {
		return err
	}
	defer stop()
	p, err := openPursuit(files.Dir, emit)
	if err != nil {
		return err
	}
	defer p.close()

	done := files.Done
	for ended := false; ; {
		if err := p.catchUp(ctx); err != nil {
			return err
		}
		if ended {
			return p.finish()
		}
		select {
		case <-changed:
		case <-p.saveDue:
			p.save()
		case <-done:
			ended, done = true, nil
		case <-f.ended:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pursuit is one Follow under way.
type pursuit struct {
	dir     string
	emit    func([]Line) error
	sources []*source
	taken   offsets
	unsaved bool
	saveDue <-chan time.Time // nil while everything taken is recorded
}

func openPursuit(dir string, emit func([]Line) error) (*pursuit, error) {
	p := &pursuit{dir: dir, emit: emit, taken: offsets{}}
	// A damaged record is as good as none: every line comes again.
	err := record.Load(dir, offsetsRecord, &p.taken)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, record.ErrCorrupt) {
		return nil, fmt.Errorf("output: %w", err)
	}
	for _, stream := range Streams {
		s, err := openSource(dir, stream, max(0, p.taken[stream]))
		if err != nil {
			p.closeSources()
			return nil, err
		}
		p.sources = append(p.sources, s)
	}
	return p, nil
}

// catchUp hands over what was written so far. The streams take turns, so that
// a busy one doesn't hold up the other.
func (p *pursuit) catchUp(ctx context.Context) error {
	for busy := true; busy; {
		busy = false
		for _, s := range p.sources {
			lines, more, err := s.read(nil)
			if err != nil {
				return err
			}
			if err := p.hand(lines); err != nil {
				return err
			}
			busy = busy || more
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case <-p.saveDue: // a stream that never rests is recorded all the same
			p.save()
		default:
		}
	}
	return nil
}

func (p *pursuit) hand(lines []Line) error {
	for batch := range slices.Chunk(lines, BatchMax) {
		if err := p.emit(batch); err != nil {
			return err
		}
		last := batch[len(batch)-1]
		p.taken[last.Stream] = last.Offset
		p.unsaved = true
		if p.saveDue == nil {
			// A wait for nothing but time to pass: it bounds the writes.
			p.saveDue = time.After(SaveEvery)
		}
	}
	return nil
}

// finish hands over what was left unfinished for ever.
func (p *pursuit) finish() error {
	for _, s := range p.sources {
		if err := p.hand(s.last(nil)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pursuit) save() {
	p.saveDue = nil
	if !p.unsaved {
		return
	}
	err := record.Replace(p.dir, offsetsRecord, p.taken)
	// Where the folder is gone there is nothing left to resume.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.saveDue = time.After(SaveEvery)
		return
	}
	p.unsaved = false
}

func (p *pursuit) close() {
	p.closeSources()
	p.save()
}

func (p *pursuit) closeSources() {
	for _, s := range p.sources {
		s.file.Close()
	}
}
