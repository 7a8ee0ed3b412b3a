package complaints

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// Window is how long a complaint isn't repeated.
	Window = time.Minute
	// KindsMax bounds the kinds that are told apart within a window.
	KindsMax = 64
)

// Log logs what others do wrong. It is safe for concurrent use.
type Log struct {
	log hclog.Logger

	mu     sync.Mutex
	more   map[Kind]int // how many were held back, by kind
	others int          // of kinds beyond KindsMax
	window *time.Timer  // nil outside a window
}

// Kind is what makes two complaints the same.
type Kind struct {
	Message string
	Subject string // empty: none
	Reason  string
}

// New makes a log of complaints in another.
func New(log hclog.Logger) *Log { return &Log{log: log} }

// Say logs a complaint, with facts (names and values in turn) about the case
// that is told.
func (c *Log) Say(kind Kind, facts ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window == nil {
		c.more = map[Kind]int{}
		c.window = time.AfterFunc(Window, c.SumUp)
	}
	switch held, known := c.more[kind]; {
	case known:
		c.more[kind] = held + 1
	case len(c.more) == KindsMax:
		c.others++
	default:
		c.more[kind] = 0
		c.warn(kind, facts...)
	}
}

// SumUp ends the window and says what was held back in it.
func (c *Log) SumUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window == nil {
		return
	}
	c.window.Stop()
	c.window = nil
	for kind, held := range c.more {
		if held > 0 {
			c.warn(kind, "suppressed", held, "within", Window)
		}
	}
	if c.others > 0 {
		c.log.Warn("complaints of too many kinds", "suppressed", c.others, "within", Window)
	}
	c.more, c.others = nil, 0
}

func (c *Log) warn(kind Kind, facts ...any) {
	about := []any{"reason", kind.Reason}
	if kind.Subject != "" {
		about = append([]any{"subject", kind.Subject}, about...)
	}
	c.log.Warn(kind.Message, append(about, facts...)...)
}
