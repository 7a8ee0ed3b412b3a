package kit

import (
	"context"
	"log/slog"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	"github.com/hashicorp/go-hclog"
)

// registryShards is how many of the library's 1,024 registry buckets (of 32
// maps each: 2.8 MiB, growing to 12) we keep; a node has some thousand actors.
const registryShards = 4

// newLibrary makes the library's own system, silent and small: nobody listens
// to its event stream, whose dead-letter subscriber would start a goroutine
// that lives for a second.
func newLibrary(log hclog.Logger) *actor.ActorSystem {
	library := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(logHandler{log.Named("protoactor")})
	}))
	library.EventStream = eventstream.NewEventStream()
	buckets := library.ProcessRegistry.LocalPIDs
	buckets.LocalPIDs = slices.Clone(buckets.LocalPIDs[:registryShards])
	return library
}

// logHandler hands the library's warnings to hclog and drops the rest: what it
// says below that, the supervisor says better.
type logHandler struct{ log hclog.Logger }

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var facts []any
	r.Attrs(func(a slog.Attr) bool {
		facts = append(facts, a.Key, a.Value.Any())
		return true
	})
	level := hclog.Warn
	if r.Level >= slog.LevelError {
		level = hclog.Error
	}
	h.log.Log(level, r.Message, facts...)
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var facts []any
	for _, a := range attrs {
		facts = append(facts, a.Key, a.Value.Any())
	}
	return logHandler{h.log.With(facts...)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.log.Named(name)} }
