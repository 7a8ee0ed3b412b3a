package kit_test

import (
	"runtime"
	"testing"

	"github.com/deacon-agent/deacon/actors/kit"
)

func counters() kit.Kind[order] {
	return kit.Kind[order]{Name: "counter", New: func() kit.Actor[order] { return &counter{} }}
}

func BenchmarkSystem(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		kit.NewSystem(kit.Options{}).Close()
	}
}

func BenchmarkTell(b *testing.B) {
	s := kit.NewSystem(kit.Options{})
	defer s.Close()
	r := kit.Root(s, "node", counters(), nil)
	b.ReportAllocs()
	for b.Loop() {
		r.Tell(count{})
	}
	kit.Ask(b.Context(), r, func(p kit.Reply[int]) order { return count{p} })
}

func BenchmarkAsk(b *testing.B) {
	s := kit.NewSystem(kit.Options{})
	defer s.Close()
	r := kit.Root(s, "node", counters(), nil)
	b.ReportAllocs()
	for b.Loop() {
		kit.Ask(b.Context(), r, func(p kit.Reply[int]) order { return count{p} })
	}
}

type nest struct{ reply kit.Reply[int] }

func (nest) order() {}

// nursery spawns an idle child at each message.
type nursery struct {
	kit.Base[order]
	names []string
}

func (a *nursery) Receive(c *kit.Context[order], m order) error {
	name := a.names[0]
	a.names = a.names[1:]
	kit.Spawn(c, name, counters(), func(string, error) order { return fail{} })
	if m, ok := m.(nest); ok {
		m.reply.Send(1)
	}
	return nil
}

// BenchmarkSpawn also says what an idle actor weighs.
func BenchmarkSpawn(b *testing.B) {
	s := kit.NewSystem(kit.Options{})
	defer s.Close()
	names := make([]string, b.N+1)
	for i := range names {
		names[i] = string(rune('a'+i%26)) + string(rune('0'+i/26%1000)) + string(rune('0'+i/26000%1000))
	}
	r := kit.Root(s, "node", kit.Kind[order]{Name: "nursery", New: func() kit.Actor[order] { return &nursery{names: names} }}, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r.Tell(count{})
	}
	kit.Ask(b.Context(), r, func(p kit.Reply[int]) order { return nest{p} })
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/actor")
}
