package socket

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// complaintWindow is how long a complaint isn't repeated.
	complaintWindow = time.Minute
	// complaintKindsMax bounds the kinds that are told apart within a window.
	complaintKindsMax = 64
)

// complaints logs what clients do wrong, so that a flood of it can't fill the
// log: each kind once at once, and at the end of the window how many more
// there were.
type complaints struct {
	log hclog.Logger

	mu     sync.Mutex
	more   map[complaint]int // how many were held back, by kind
	others int               // of kinds beyond complaintKindsMax
	window *time.Timer       // nil outside a window
}

// complaint is one kind.
type complaint struct{ message, reason string }

// say logs a complaint with facts about the case that is told.
func (c *complaints) say(kind complaint, facts ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window == nil {
		c.more = map[complaint]int{}
		c.window = time.AfterFunc(complaintWindow, c.sumUp)
	}
	switch held, known := c.more[kind]; {
	case known:
		c.more[kind] = held + 1
	case len(c.more) == complaintKindsMax:
		c.others++
	default:
		c.more[kind] = 0
		c.log.Warn(kind.message, append([]any{"reason", kind.reason}, facts...)...)
	}
}

// sumUp ends the window and says what was held back in it.
func (c *complaints) sumUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window == nil {
		return
	}
	c.window.Stop()
	c.window = nil
	for kind, held := range c.more {
		if held > 0 {
			c.log.Warn(kind.message, "reason", kind.reason, "suppressed", held, "within", complaintWindow)
		}
	}
	if c.others > 0 {
		c.log.Warn("complaints of too many kinds", "suppressed", c.others, "within", complaintWindow)
	}
	c.more, c.others = nil, 0
}
