package chaos

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

var clockJumped = Fault{
	Name: "clock-jumped", Harm: Nobody, For: 10 * time.Second, Takes: []string{"size"},
	Does: "the clock that the node's actors read is ahead by \"size\" seconds (3600). The machine's own clock stays: " +
		"it has no namespace, so setting it would harm everybody on the machine; in a guest of its own, set it there",
	Heals:     "the clock jumps back",
	Available: always,
	Inject: func(_ context.Context, n *Node, o Order) (Injection, error) {
		ahead := time.Hour
		if o.Size != 0 {
			ahead = time.Duration(min(o.Size, int64(clockMax/time.Second))) * time.Second
		}
		n.Clock.ahead.Store(int64(ahead))
		return Injection{
			Note: ahead.String() + " ahead",
			Heal: func(context.Context) error { n.Clock.ahead.Store(0); return nil },
		}, nil
	},
}

// clockMax is how far a clock jumps at most.
const clockMax = 30 * 24 * time.Hour

// Clock is the tree's clock, which can jump. As in life, what waits for a time
// to pass is not hurried by that.
type Clock struct{ ahead atomic.Int64 }

var _ kit.Clock = (*Clock)(nil)

// Now is the machine's time, but for the jump.
func (c *Clock) Now() time.Time {
	now := time.Now()
	if ahead := c.ahead.Load(); ahead != 0 {
		// Without the monotonic reading, which would hide the jump from whoever
		// subtracts.
		return now.Round(0).Add(time.Duration(ahead))
	}
	return now
}

// AfterFunc is the real clock's.
func (c *Clock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
