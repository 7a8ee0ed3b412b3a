package actors

import (
	"context"
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// dropletsMessage is everything that the supervisor of droplets is told.
//
//sumtype:decl
type dropletsMessage interface{ droplets() }

type (
	// need asks for a droplet, waive takes that back.
	need struct {
		droplet  messaging.Droplet
		instance string
		from     kit.Ref[instanceMessage]
	}
	waive struct {
		droplet  messaging.Droplet
		instance string
	}
	// evict removes every droplet that is neither in use by an instance nor
	// being fetched.
	evict   struct{ inUse []string }
	evicted struct{ err error }
	// dropletIdle comes from a droplet that nobody waits for any more.
	dropletIdle    struct{ key string }
	dropletForsook struct {
		key    string
		reason error
	}
)

func (need) droplets()           {}
func (waive) droplets()          {}
func (evict) droplets()          {}
func (evicted) droplets()        {}
func (dropletIdle) droplets()    {}
func (dropletForsook) droplets() {}

// droplets supervises one actor per droplet that is being fetched, so that any
// number of instances share one download.
type droplets struct {
	kit.Base[dropletsMessage]
	w    *world
	held map[string]kit.Ref[dropletMessage] // by digest
	wait map[string][]need                  // who is to be told, should an actor be given up
}

func (w *world) dropletsKind() kit.Kind[dropletsMessage] {
	return kit.Kind[dropletsMessage]{Name: "droplets", Budget: w.Budget, New: func() kit.Actor[dropletsMessage] {
		return &droplets{w: w, held: map[string]kit.Ref[dropletMessage]{}, wait: map[string][]need{}}
	}}
}

// dropletKey names a droplet by the digest that it must have.
func dropletKey(d messaging.Droplet) string {
	if d.SHA256 != "" {
		return "sha256-" + d.SHA256
	}
	return "sha1-" + d.SHA1
}

func (s *droplets) Receive(c *kit.Context[dropletsMessage], m dropletsMessage) error {
	switch m := m.(type) {
	case need:
		s.need(c, m)
	case waive:
		key := dropletKey(m.droplet)
		s.wait[key] = slices.DeleteFunc(s.wait[key], func(n need) bool { return n.instance == m.instance })
		if len(s.wait[key]) == 0 {
			delete(s.wait, key)
		}
		s.held[key].Tell(unwanted{m.instance})
	case evict:
		keep := m.inUse
		for key := range s.held {
			keep = append(keep, key)
		}
		kit.Pipe(c, "evict", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, s.w.Droplets.Evict(ctx, keep)
		}, func(_ struct{}, err error) dropletsMessage { return evicted{err} })
	case evicted:
		if m.err != nil {
			c.Log().Warn("unused droplets could not be removed", "error", m.err)
		}
	case dropletIdle:
		s.forget(c, m.key)
	case dropletForsook:
		s.forsake(c, m)
	}
	return nil
}

func (s *droplets) need(c *kit.Context[dropletsMessage], n need) {
	key := dropletKey(n.droplet)
	ref, ok := s.held[key]
	if !ok {
		kind := s.w.dropletKind(key, n.droplet, c.Self())
		ref = kit.Spawn(c, key, kind, func(name string, reason error) dropletsMessage {
			return dropletForsook{name, reason}
		})
		s.held[key] = ref
	}
	waits := func(other need) bool { return other.instance == n.instance }
	if !slices.ContainsFunc(s.wait[key], waits) {
		s.wait[key] = append(s.wait[key], n)
	}
	ref.Tell(wanted{n.instance, n.from})
}

func (s *droplets) forget(c *kit.Context[dropletsMessage], key string) {
	if ref, ok := s.held[key]; ok {
		kit.Stop(c, ref)
		delete(s.held, key)
	}
	// Who asked while the actor was on its way out asks again.
	for _, n := range s.wait[key] {
		n.from.Tell(nudge{})
	}
	delete(s.wait, key)
}

func (s *droplets) forsake(c *kit.Context[dropletsMessage], m dropletForsook) {
	path := c.Self().Path() + "/" + m.key
	delete(s.held, m.key)
	for _, n := range s.wait[m.key] {
		n.from.Tell(dropletFailed{m.reason})
	}
	delete(s.wait, m.key)
	s.w.tell(messaging.ActorGaveUp{NodeID: s.w.Node.ID, Actor: path, Reason: m.reason.Error(), At: c.Now()})
}

// dropletMessage is everything that a droplet is told.
//
//sumtype:decl
type dropletMessage interface{ droplet() }

type (
	wanted struct {
		instance string
		from     kit.Ref[instanceMessage]
	}
	unwanted struct{ instance string }
	fetched  struct {
		got Droplet
		err error
	}
)

func (wanted) droplet()   {}
func (unwanted) droplet() {}
func (fetched) droplet()  {}

// droplet fetches one droplet for as many instances as ask meanwhile. When it
// has answered them it is over: the cache knows the droplet by then, and a
// fetch that failed may go well next time.
type droplet struct {
	kit.Base[dropletMessage]
	w       *world
	key     string
	source  messaging.Droplet
	parent  kit.Ref[dropletsMessage]
	waiting map[string]kit.Ref[instanceMessage]
	result  *fetched
}

func (w *world) dropletKind(key string, d messaging.Droplet, parent kit.Ref[dropletsMessage]) kit.Kind[dropletMessage] {
	return kit.Kind[dropletMessage]{Name: "droplet", Budget: w.Budget, New: func() kit.Actor[dropletMessage] {
		return &droplet{w: w, key: key, source: d, parent: parent, waiting: map[string]kit.Ref[instanceMessage]{}}
	}}
}

func (d *droplet) Up(c *kit.Context[dropletMessage]) error {
	kit.Pipe(c, "fetch", func(ctx context.Context) (Droplet, error) { return d.w.Droplets.Fetch(ctx, d.source) },
		func(got Droplet, err error) dropletMessage { return fetched{got, err} })
	return nil
}

func (d *droplet) Receive(_ *kit.Context[dropletMessage], m dropletMessage) error {
	switch m := m.(type) {
	case wanted:
		d.waiting[m.instance] = m.from
		if d.result != nil {
			d.answer()
		}
	case unwanted:
		delete(d.waiting, m.instance)
		if len(d.waiting) == 0 {
			d.parent.Tell(dropletIdle{d.key}) // and with this actor the download ends
		}
	case fetched:
		d.result = &m
		d.answer()
	}
	return nil
}

func (d *droplet) answer() {
	for instance, from := range sorted(d.waiting) {
		if d.result.err != nil {
			from.Tell(dropletFailed{d.result.err})
		} else {
			from.Tell(dropletReady{d.result.got})
		}
		d.parent.Tell(waive{droplet: d.source, instance: instance})
		delete(d.waiting, instance)
	}
}
