package kit

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	"github.com/hashicorp/go-hclog"
)

// registryShards is how many of the library's 1,024 registry buckets (of 32
// maps each: 2.8 MiB, growing to 12) we keep; a node has some thousand actors.
const registryShards = 4

// library is the library's own system, one for the process: it takes
// milliseconds to make, which a simulation of a thousand seeds would pay a
// thousand times. What we use of it is the tree and the protocol of stops and
// restarts; no System of ours can see another's actors.
//
// Nobody listens to its event stream, whose own dead-letter subscriber would
// start a goroutine that lives for a second.
var library = sync.OnceValue(func() *actor.ActorSystem {
	l := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(logHandler{})
	}))
	l.EventStream = eventstream.NewEventStream()
	buckets := l.ProcessRegistry.LocalPIDs
	buckets.LocalPIDs = slices.Clone(buckets.LocalPIDs[:registryShards])
	return l
})

// logHandler hands the library's warnings to hclog's default logger and drops
// the rest: what it says below that, the supervisor says better.
type logHandler struct{ facts []any }

func (logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	facts := slices.Clone(h.facts)
	r.Attrs(func(a slog.Attr) bool {
		facts = append(facts, a.Key, a.Value.Any())
		return true
	})
	level := hclog.Warn
	if r.Level >= slog.LevelError {
		level = hclog.Error
	}
	hclog.Default().Named("protoactor").Log(level, r.Message, facts...)
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	facts := slices.Clone(h.facts)
	for _, a := range attrs {
		facts = append(facts, a.Key, a.Value.Any())
	}
	return logHandler{facts}
}

// WithGroup is never used by the library.
func (h logHandler) WithGroup(string) slog.Handler { return h }
