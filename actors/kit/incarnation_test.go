package kit

import (
	"testing"
	"testing/synctest"
)

type idle struct{ Base[error] }

// Receive fails with what it gets.
func (idle) Receive(_ *Context[error], m error) error { return m }

// Either side of a watch may outlive the other by months.
func TestAWatchIsForgottenByBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSystem(Options{})
		k := Kind[error]{Name: "idle", New: func() Actor[error] { return idle{} }}
		a, b := Root(s, "a", k, nil), Root(s, "b", k, nil)
		synctest.Wait()
		watch := func(watcher, target Ref[error]) *incarnation {
			in := watcher.cell.current.Load()
			Watch(&Context[error]{in}, target, func() error { return nil })
			return in
		}
		watch(a, b)
		if len(b.cell.watchers) != 1 {
			t.Fatal("nobody watches")
		}
		a.Tell(ErrNoActor) // its incarnation ends
		synctest.Wait()
		if n := len(b.cell.watchers); n != 0 {
			t.Errorf("%d watches of incarnations that are gone", n)
		}
		in := watch(b, a)
		a.cell.stop()
		synctest.Wait()
		if n := len(in.watched); n != 0 {
			t.Errorf("%d watches of actors that are gone", n)
		}
		s.Stop(t.Context())
	})
}

// The library's registry serves the whole process: what stays there stays for good.
func TestNothingStaysInTheLibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, end := range map[string]func(*System){
			"stop":  func(s *System) { s.Stop(t.Context()) },
			"close": (*System).Close,
		} {
			s := NewSystem(Options{})
			a := Root(s, "a", Kind[error]{Name: "idle", New: func() Actor[error] { return idle{} }}, nil)
			synctest.Wait()
			if _, ok := library().ProcessRegistry.GetLocal(a.cell.id); !ok {
				t.Fatal("an actor isn't registered by its id")
			}
			end(s)
			synctest.Wait()
			if _, ok := library().ProcessRegistry.GetLocal(a.cell.id); ok {
				t.Errorf("%s: still registered", name)
			}
		}
	})
}
