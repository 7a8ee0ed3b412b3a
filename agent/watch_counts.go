package agent

import (
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/deacon-agent/deacon/messaging"
)

// restarts counts how often each index of an application was started here. It
// begins anew with the agent.
type restarts struct {
	mu     sync.Mutex
	starts map[indexed]uint64
}

type indexed struct {
	application string
	index       int
}

// restartsMax is how many are remembered; past it all are forgotten, as counters may.
const restartsMax = 16384

func (r *restarts) see(e messaging.InstanceChanged) {
	if e.To != messaging.Starting {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.starts == nil || len(r.starts) >= restartsMax {
		r.starts = map[indexed]uint64{}
	}
	r.starts[indexed{e.Application, e.Index}]++
}

// before is how many starts there were before the last.
func (r *restarts) before(application string, index int) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.starts[indexed{application, index}], 1) - 1
}

// logCounter counts what is logged, by level. Where the logger can't be listened
// to, it counts nothing.
type logCounter struct {
	log    hclog.Logger
	levels [hclog.Error + 1]atomic.Uint64
}

var _ hclog.SinkAdapter = (*logCounter)(nil)

func countLog(log hclog.Logger) *logCounter {
	c := &logCounter{log: log}
	if audible, ok := log.(hclog.InterceptLogger); ok {
		audible.RegisterSink(c)
	}
	return c
}

func (c *logCounter) close() error {
	if audible, ok := c.log.(hclog.InterceptLogger); ok {
		audible.DeregisterSink(c)
	}
	return nil
}

// Accept is told of what isn't logged for its level too.
func (c *logCounter) Accept(_ string, level hclog.Level, _ string, _ ...any) {
	if level >= c.log.GetLevel() && int(level) < len(c.levels) {
		c.levels[level].Add(1)
	}
}

func (c *logCounter) counts() map[string]uint64 {
	counts := map[string]uint64{}
	for level := hclog.Trace; level <= hclog.Error; level++ {
		counts[level.String()] = c.levels[level].Load()
	}
	return counts
}
