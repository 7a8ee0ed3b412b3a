// Package logbook is a log that tests can wait for.
package logbook

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Patience is how long a line that must come is waited for.
const Patience = 20 * time.Second

// Logbook keeps what is logged. It is safe for concurrent use.
type Logbook struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

// New is an empty one.
func New() *Logbook { return &Logbook{wrote: make(chan struct{}, 1)} }

// Write is a logger's side.
func (l *Logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *Logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Logger logs into it, debugging included.
func (l *Logbook) Logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: l, Level: hclog.Debug})
}

// Wait returns when the text has been logged. One goroutine at a time may wait.
func (l *Logbook) Wait(t testing.TB, text string) {
	t.Helper()
	deadline := time.After(Patience)
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.wrote:
		case <-deadline:
			t.Fatalf("the log never said %q:\n%s", text, l)
		}
	}
}
