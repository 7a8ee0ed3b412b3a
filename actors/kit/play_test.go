package kit_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/deacon-agent/deacon/actors/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is the message set of the actors on this stage.
type line interface{ line() }

type (
	say  string                           // is written down
	do   func(c *kit.Context[line]) error // is done
	fail struct{ err error }              // is returned
	gone struct{ name string }            // a watched actor's end
	lost struct {                         // a child's, past its budget
		name   string
		reason error
	}
	question struct{ reply kit.Reply[int] } // is answered with how many there were
)

func (say) line()      {}
func (do) line()       {}
func (fail) line()     {}
func (gone) line()     {}
func (lost) line()     {}
func (question) line() {}

var errBoom = errors.New("boom")

// script is what all incarnations of one actor write down, with the time
// since the play began.
type script struct {
	mu    sync.Mutex
	lines []string
	began time.Time
}

func newScript() *script { return &script{began: time.Now()} }

func (s *script) write(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *script) read() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (s *script) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := s.read(); !slices.Equal(got, want) {
		t.Errorf("happened:\n\tgot  %q\n\twant %q", got, want)
	}
}

// player does what it is told and writes down what becomes of it.
type player struct {
	script *script
	up     func(c *kit.Context[line]) error
	down   func(c *kit.Context[line])
	asked  int
}

func (p *player) Up(c *kit.Context[line]) error {
	p.script.write("%s up %d", c.Name(), c.Incarnation())
	if p.up != nil {
		return p.up(c)
	}
	return nil
}

func (p *player) Receive(c *kit.Context[line], m line) error {
	switch m := m.(type) {
	case say:
		p.script.write("%s: %s", c.Name(), m)
	case do:
		return m(c)
	case fail:
		return m.err
	case gone:
		p.script.write("%s: %s is gone", c.Name(), m.name)
	case lost:
		p.script.write("%s: %s is lost", c.Name(), m.name)
	case question:
		p.asked++
		m.reply.Send(p.asked)
	}
	return nil
}

func (p *player) Down(c *kit.Context[line]) {
	p.script.write("%s down %d", c.Name(), c.Incarnation())
	if p.down != nil {
		p.down(c)
	}
}

func (s *script) kind(edit ...func(*player)) kit.Kind[line] {
	return kit.Kind[line]{Name: "player", New: func() kit.Actor[line] {
		p := &player{script: s}
		for _, e := range edit {
			e(p)
		}
		return p
	}}
}

// stage is a play inside a synctest bubble: time is fake, and the bubble only
// ends once every goroutine has.
type stage struct {
	*testing.T
	*script
	system *kit.System
	root   kit.Ref[line]
}

func play(t *testing.T, f func(s *stage)) {
	t.Helper()
	playWith(t, kit.Options{}, f)
}

func playWith(t *testing.T, o kit.Options, f func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &stage{T: t, script: newScript(), system: kit.NewSystem(o)}
		s.root = kit.Root(s.system, "root", newScript().kind(), nil)
		f(s)
		if err := s.system.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if left := s.system.Living(); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

// within runs f on an actor's mailbox and waits for it.
func within(r kit.Ref[line], f func(c *kit.Context[line])) {
	done := make(chan struct{})
	r.Tell(do(func(c *kit.Context[line]) error {
		defer close(done)
		f(c)
		return nil
	}))
	<-done
}

// spawn starts a child of the root, which is told of its end, and waits for it.
func (s *stage) spawn(name string, k kit.Kind[line]) (child kit.Ref[line]) {
	s.Helper()
	within(s.root, func(c *kit.Context[line]) {
		child = kit.Spawn(c, name, k, func(name string, reason error) line {
			s.write("gave up %s: %v", name, reason)
			return lost{name, reason}
		})
	})
	synctest.Wait()
	return child
}

func (s *stage) stop(child kit.Ref[line]) {
	within(s.root, func(c *kit.Context[line]) { kit.Stop(c, child) })
	synctest.Wait()
}

// pass lets fake time pass and everything that falls due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
