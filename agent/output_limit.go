package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

const (
	// sayEvery is how often it is said what was left out of an instance's lines.
	sayEvery = time.Second
	// awayMax is how long a bus, or an agent, may have been away for the lines of
	// that time to be taken as if it had not.
	awayMax = time.Minute
)

// lineLimit bounds what one instance has published: lines a second, and bytes a
// line. It is a bucket of a second's lines. Time in which the bus took nothing
// counts too, for then it is not the instance that was too fast.
type lineLimit struct {
	source actors.OutputSource
	rate   float64 // lines a second; 0: any
	max    int     // bytes of a line

	mu     sync.Mutex
	room   float64
	filled time.Time // when the bucket was last looked at
	left   left
	said   time.Time
	saying bool // it is about to be said
}

// left is what was left out since that was last said.
type left struct {
	lines, bytes       int64 // whole lines
	cutLines, cutBytes int64
}

// newLineLimit begins with a full bucket; resumed says that somebody followed
// before, who may have been away for a while.
func newLineLimit(source actors.OutputSource, rate, most int, resumed bool) *lineLimit {
	l := &lineLimit{source: source, rate: float64(rate), max: most, filled: time.Now()}
	l.room = l.rate
	if resumed {
		l.room += l.rate * awayMax.Seconds()
	}
	return l
}

// pass returns the lines that may be published, cut where they are too long.
func (l *lineLimit) pass(lines []messaging.LogLine) []messaging.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.room = max(l.room, min(l.room+now.Sub(l.filled).Seconds()*l.rate, l.rate))
	l.filled = now
	kept := lines[:0]
	for _, line := range lines {
		if l.rate > 0 {
			if l.room < 1 {
				l.left.lines++
				l.left.bytes += int64(len(line.Text)) + line.Dropped
				continue
			}
			l.room--
		}
		if over := len(line.Text) - l.max; over > 0 {
			l.left.cutLines++
			l.left.cutBytes += int64(over)
			line.Text = line.Text[:l.max:l.max]
		}
		kept = append(kept, line)
	}
	return kept
}

// waited makes room for what was written while lines waited to be taken.
func (l *lineLimit) waited(since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.room += min(now.Sub(since), awayMax).Seconds() * l.rate
	l.filled = now
}

// say returns the line that tells what was left out, when it is time to; where it
// isn't yet, later is called when it is. last: there is no later.
func (l *lineLimit) say(last bool, later func()) []messaging.LogLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.left == (left{}) {
		return nil
	}
	if wait := l.said.Add(sayEvery).Sub(now); wait > 0 && !last {
		if !l.saying {
			l.saying = true
			time.AfterFunc(wait, func() {
				l.mu.Lock()
				l.saying = false
				l.mu.Unlock()
				later()
			})
		}
		return nil
	}
	text := l.words()
	l.left, l.said = left{}, now
	return []messaging.LogLine{{
		Application: l.source.Application, Instance: l.source.Instance, Index: l.source.Index,
		Stream: "deacon", At: now, Text: []byte(text),
	}}
}

func (l *lineLimit) words() string {
	var parts []string
	if l.left.lines > 0 {
		parts = append(parts, fmt.Sprintf("left out %d lines (%d bytes), for it writes more than %.0f a second",
			l.left.lines, l.left.bytes, l.rate))
	}
	if l.left.cutLines > 0 {
		parts = append(parts, fmt.Sprintf("cut %d lines that are longer than %d bytes (by %d bytes)",
			l.left.cutLines, l.max, l.left.cutBytes))
	}
	return fmt.Sprintf("Instance %s (index %d) of %s: %s",
		l.source.Instance, l.source.Index, l.source.Application, strings.Join(parts, "; "))
}

// limited is Follow's publishing, with the limit.
func (o *outputs) limited(ctx context.Context, l *lineLimit, lines []messaging.LogLine) error {
	lines = append(l.pass(lines), l.say(false, func() { o.sayLeft(ctx, l) })...)
	if len(lines) == 0 {
		return nil
	}
	o.keep(lines...)
	began := time.Now()
	if err := o.publish(ctx, lines); err != nil {
		return err
	}
	l.waited(began)
	return nil
}

// sayLeft tells what was left out. It can't be told twice, and if it can't be told
// at all it is only not said.
func (o *outputs) sayLeft(ctx context.Context, l *lineLimit) {
	if said := l.say(true, nil); len(said) > 0 {
		o.keep(said...)
		_ = o.publish(ctx, said)
	}
}
