package kit_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

type order interface{ order() }
type fail struct{ err error }
type count struct{ reply kit.Reply[int] }

func (fail) order()  {}
func (count) order() {}

type counter struct {
	kit.Base[order]
	n int
}

func (a *counter) Receive(c *kit.Context[order], m order) error {
	switch m := m.(type) {
	case fail:
		return m.err
	case count:
		a.n++
		m.reply.Send(a.n)
	}
	return nil
}

var errBoom = errors.New("boom")

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := kit.NewSystem(kit.Options{})
		r := kit.Root(s, "node", kit.Kind[order]{Name: "counter", New: func() kit.Actor[order] { return &counter{} }}, nil)
		for range 3 {
			n, err := kit.Ask(t.Context(), r, func(p kit.Reply[int]) order { return count{p} })
			t.Log(n, err)
		}
		r.Tell(fail{errBoom})
		synctest.Wait()
		time.Sleep(time.Second)
		n, err := kit.Ask(t.Context(), r, func(p kit.Reply[int]) order { return count{p} })
		if n != 1 || err != nil {
			t.Error(n, err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
