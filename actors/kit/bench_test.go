package kit_test

import (
	"runtime"
	"testing"

	"github.com/deacon-agent/deacon/actors/kit"
)

func counters() kit.Kind[line] { return newScript().kind() }

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
		r.Tell(question{})
	}
	kit.Ask(b.Context(), r, func(p kit.Reply[int]) line { return question{p} })
}

func BenchmarkAsk(b *testing.B) {
	s := kit.NewSystem(kit.Options{})
	defer s.Close()
	r := kit.Root(s, "node", counters(), nil)
	b.ReportAllocs()
	for b.Loop() {
		kit.Ask(b.Context(), r, func(p kit.Reply[int]) line { return question{p} })
	}
}

// nursery spawns an idle child at each message.
type nursery struct {
	kit.Base[line]
	names []string
}

func (a *nursery) Receive(c *kit.Context[line], m line) error {
	name := a.names[0]
	a.names = a.names[1:]
	kit.Spawn(c, name, counters(), func(string, error) line { return fail{} })
	if m, ok := m.(question); ok {
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
	nurseries := kit.Kind[line]{Name: "nursery", New: func() kit.Actor[line] { return &nursery{names: names} }}
	r := kit.Root(s, "node", nurseries, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r.Tell(question{})
	}
	kit.Ask(b.Context(), r, func(p kit.Reply[int]) line { return question{p} })
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/actor")
}
