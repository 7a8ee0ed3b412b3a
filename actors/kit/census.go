package kit

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Standing is how one living actor stands at a moment.
type Standing struct {
	Path        string
	Kind        string
	Incarnation int  // 0: its first hasn't begun
	Mailbox     int  // messages that wait
	Failed      bool // waits for its restart, or for its end
}

// Census returns all living actors by path; a closed System has none. It asks no
// mailbox, so that an actor that is stuck is seen standing there.
func (s *System) Census() []Standing {
	cells := s.snapshot()
	all := make([]Standing, 0, len(cells))
	for _, c := range cells {
		all = append(all, c.standing())
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Path, b.Path) })
	return all
}

func (c *cell) standing() Standing {
	standing := Standing{Path: c.path, Kind: c.kind}
	if in := c.current.Load(); in != nil {
		standing.Incarnation = int(in.number)
	}
	c.mailbox.mu.Lock()
	defer c.mailbox.mu.Unlock()
	standing.Mailbox, standing.Failed = c.mailbox.user.len(), c.mailbox.suspended
	return standing
}

// Tally is what became of the failures of all actors of a kind, those that are
// gone included.
type Tally struct {
	Restarts uint64
	GivenUp  uint64
}

// Tallies returns them by kind; a kind that never failed has none.
func (s *System) Tallies() map[string]Tally { return s.tallies.all() }

// tallies counts verdicts, which are rare.
type tallies struct {
	mu     sync.Mutex
	byKind map[string]Tally
}

func (t *tallies) count(kind string, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byKind == nil {
		t.byKind = map[string]Tally{}
	}
	tally := t.byKind[kind]
	if again {
		tally.Restarts++
	} else {
		tally.GivenUp++
	}
	t.byKind[kind] = tally
}

func (t *tallies) all() map[string]Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]Tally{}
	maps.Copy(all, t.byKind)
	return all
}
