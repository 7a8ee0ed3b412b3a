package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/isolation/output"
	"github.com/deacon-agent/deacon/messaging"
)

// What is kept in memory of each instance's last lines, for `deacon logs`: the
// files go with the container, and a crash's last words are what is asked for.
const (
	tailLinesMax = 200
	tailBytesMax = 64 << 10
	// forgottenMax is how many instances are remembered as forgotten: more than
	// are taken down in the time that last lines may take.
	forgottenMax = 4096
)

// outputs follows what jobs write, has every line published and keeps the last
// ones. It implements actors.Output.
type outputs struct {
	follower *output.Follower
	folder   func(container string, job uint32) string
	publish  func(context.Context, []messaging.LogLine) error
	rate     int // lines of an instance a second; 0: any
	lineMax  int // bytes of one

	mu    sync.Mutex
	tails map[string]*tail // by instance
	// forgotten are the instances of which nothing is kept any more, for lines
	// may still come; inTurn has them with the next to fall out at place turn.
	forgotten map[string]bool
	inTurn    []string
	turn      int
}

func newOutputs(
	folder func(string, uint32) string, publish func(context.Context, []messaging.LogLine) error,
) (*outputs, error) {
	follower, err := output.NewFollower()
	if err != nil {
		return nil, err
	}
	return &outputs{
		follower: follower, folder: folder, publish: publish, lineMax: output.LineMax,
		tails: map[string]*tail{}, forgotten: map[string]bool{},
	}, nil
}

// Follow publishes the lines of a job, in their order, until the last one. A
// line counts as read once it was handed to the bus: while the bus is away the
// files keep what nobody could take. A source that is named by its container
// belongs to no instance: nobody asks for its lines again, nor has them forgotten.
func (o *outputs) Follow(ctx context.Context, source actors.OutputSource, done <-chan struct{}) error {
	files := output.Files{Dir: o.folder(source.Container, source.Job), Done: done}
	_, err := os.Stat(filepath.Join(files.Dir, "offsets")) // that somebody took some of it before
	limit := newLineLimit(source, o.rate, o.lineMax, err == nil)
	if source.Instance == source.Container {
		limit = nil
	} else {
		defer o.sayLeft(ctx, limit)
	}
	return o.follower.Follow(ctx, files, func(lines []output.Line) error {
		told := make([]messaging.LogLine, len(lines))
		for i, line := range lines {
			told[i] = messaging.LogLine{
				Application: source.Application, Instance: source.Instance, Index: source.Index,
				Stream: line.Stream, At: line.At, Text: line.Text, Dropped: line.Dropped,
			}
		}
		if limit != nil {
			return o.limited(ctx, limit, told)
		}
		return o.publish(ctx, told)
	})
}

// keep remembers lines for Tail, unless their instance was forgotten.
func (o *outputs) keep(lines ...messaging.LogLine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, line := range lines {
		if o.forgotten[line.Instance] {
			continue
		}
		t := o.tails[line.Instance]
		if t == nil {
			t = &tail{}
			o.tails[line.Instance] = t
		}
		t.add(line)
	}
}

// Tail returns the last lines of an application's instances, oldest first.
func (o *outputs) Tail(_ context.Context, application string, index, lines int) ([]messaging.LogLine, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []messaging.LogLine
	for _, t := range o.tails {
		kept := t.lines
		if len(kept) == 0 || kept[0].Application != application || index >= 0 && kept[0].Index != index {
			continue
		}
		found = append(found, kept[max(0, len(kept)-lines):]...)
	}
	slices.SortStableFunc(found, func(a, b messaging.LogLine) int { return a.At.Compare(b.At) })
	return found, nil
}

// Forget drops what is kept of an instance, and what still comes of it.
func (o *outputs) Forget(instance string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.tails, instance)
	if o.forgotten[instance] {
		return
	}
	o.forgotten[instance] = true
	if len(o.inTurn) < forgottenMax {
		o.inTurn = append(o.inTurn, instance)
		return
	}
	delete(o.forgotten, o.inTurn[o.turn])
	o.inTurn[o.turn] = instance
	o.turn = (o.turn + 1) % forgottenMax
}

func (o *outputs) close() error { return o.follower.Close() }

// tail is the last lines of one instance, bounded in number and in bytes.
type tail struct {
	lines []messaging.LogLine
	bytes int
}

func (t *tail) add(line messaging.LogLine) {
	t.lines = append(t.lines, line)
	t.bytes += len(line.Text)
	drop := 0
	for len(t.lines)-drop > tailLinesMax || t.bytes > tailBytesMax && drop < len(t.lines)-1 {
		t.bytes -= len(t.lines[drop].Text)
		drop++
	}
	t.lines = slices.Delete(t.lines, 0, drop)
}
