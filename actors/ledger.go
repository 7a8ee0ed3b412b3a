package actors

import (
	"errors"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// ledgerMessage is everything that the ledger is told.
//
//sumtype:decl
type ledgerMessage interface{ ledger() }

// reserve asks for room; answer is told where, or why there is none.
type reserve struct {
	demand demand
	answer func(Placement, error)
}

// reservePort asks for a port of the node for a container that has its room:
// the wanted one, or any where that is 0.
type reservePort struct {
	container string
	wanted    uint16
	answer    func(port uint16, fresh bool, err error) // fresh: promised to it just now
}

// returnPort gives back a port that could not be mapped.
type returnPort struct {
	container string
	port      uint16
}

// release says that a container's processes are dead, free that nothing of it
// is left. Both may come twice, in either order.
type (
	release struct{ container string }
	free    struct{ container string }
	// cooled says that what is free may be promised anew.
	cooled struct{ container string }
)

// stillPromised asks whether a container has room.
type stillPromised stillLeased

// audit says which containers exist or are wanted; a promise to any other was
// forgotten by somebody, if it is there at two audits, and so was its place in
// the network.
type audit struct {
	known map[string]bool
	asOf  uint64 // of what was promised later it knows nothing
}

// audit has both audited.
func (p parts) audit(a audit) {
	p.ledger.Tell(a)
	p.networks.Tell(a)
}

// forgotten says that nobody knows of a container that was promised room with a
// number that the audit can tell of.
func (a audit) forgotten(id string, number uint64) bool { return number <= a.asOf && !a.known[id] }

// foresee asks which slots will be the next to be promised.
type foresee struct {
	count int
	from  kit.Ref[containersMessage]
}

// offer asks for an advertisement with what is left.
type offer struct{ counts map[string]int }

// discover asks for an answer to a controller that looks for room, of a node that
// has so many instances of the application.
type discover struct {
	asked     messaging.DiscoverNodes
	instances int
}

// discovered comes when it is time to answer.
type discovered struct{ replyTo string }

// describeNode asks for the account of a node of whose memory so much is used.
type describeNode struct {
	replyTo string
	usedMiB int64
}

func (reserve) ledger()     {}
func (reservePort) ledger() {}
func (returnPort) ledger()  {}
func (release) ledger()     {}
func (free) ledger()        {}
func (cooled) ledger()      {}
func (audit) ledger()       {}

func (stillPromised) ledger() {}
func (foresee) ledger()       {}
func (offer) ledger()         {}
func (discover) ledger()      {}
func (discovered) ledger()    {}
func (describeNode) ledger()  {}

// ledger keeps the book.
type ledger struct {
	kit.Base[ledgerMessage]
	w       *world
	suspect map[string]bool
	cooling map[string]bool // free, and not yet to be promised anew
}

func (w *world) ledgerKind() kit.Kind[ledgerMessage] {
	return kit.Kind[ledgerMessage]{Name: "ledger", Budget: w.Budget, New: func() kit.Actor[ledgerMessage] {
		return &ledger{w: w, cooling: map[string]bool{}}
	}}
}

func (l *ledger) Receive(c *kit.Context[ledgerMessage], m ledgerMessage) error {
	switch m := m.(type) {
	case reserve:
		l.reserve(c, m)
	case reservePort:
		m.answer(l.w.book.reservePort(m.container, m.wanted))
	case returnPort:
		l.w.book.returnPort(m.container, m.port)
	case release:
		l.w.book.release(m.container)
	case free:
		// Should the ledger fall before the time is over, an audit finds it.
		if delay := l.w.Settings.ReleaseDelay; delay > 0 {
			l.cooling[m.container] = true
			c.After(delay, cooled(m))
			return nil
		}
		l.w.book.free(m.container)
	case cooled:
		delete(l.cooling, m.container)
		l.w.book.free(m.container)
	case stillPromised:
		_, promised := l.w.book.entries[m.container]
		m.answer(promised)
	case audit:
		l.audit(c, m)
	case foresee:
		m.from.Tell(foreseen{l.w.book.slots.Next(m.count)})
	case accountAsked:
		m.reply.Send(l.w.book.account(l.w.Capacity))
	case offer:
		l.w.tell(messaging.Advertised{
			NodeID: l.w.Node.ID, Stacks: l.w.Stacks, Zone: l.w.Zone, ApplicationCount: m.counts,
			MemoryMiB: max(0, l.w.book.memory.left()), DiskMiB: max(0, l.w.book.disk.left()), Runtimes: l.w.Runtimes,
		})
	case discover:
		l.discover(c, m)
	case discovered:
		l.w.tell(messaging.NodeDiscovered{ReplyTo: m.replyTo, Node: l.w.Node})
	case describeUsage:
		l.describeUsage(m)
	case describeNode:
		memory := l.w.book.memory
		l.w.tell(messaging.NodeDescribed{
			ReplyTo: m.replyTo, Node: l.w.Node, Capacity: memory.capacity, Promised: memory.promised, Used: m.usedMiB,
		})
	}
	return nil
}

// discover answers where there is room, the sooner the emptier the node: who asks
// takes the first answer (wire/dea.md a.7).
func (l *ledger) discover(c *kit.Context[ledgerMessage], m discover) {
	b := l.w.book
	if m.asked.Runtime != "" && !slices.Contains(l.w.Runtimes, m.asked.Runtime) {
		return
	}
	if b.memory.left() < m.asked.MemoryMiB || b.disk.left() < m.asked.DiskMiB {
		return
	}
	full := time.Duration(100*b.memory.promised/max(1, b.memory.capacity)) * time.Millisecond
	mine := time.Duration(10*m.instances) * time.Millisecond
	c.After(min(discoverMax, mine+full), discovered{m.asked.ReplyTo})
}

// discoverMax is when the fullest node answers.
const discoverMax = 250 * time.Millisecond

func (l *ledger) reserve(c *kit.Context[ledgerMessage], m reserve) {
	m.demand.now, m.demand.number = c.Now(), l.w.promises.Add(1)
	p, err := l.w.book.reserve(m.demand)
	if err != nil {
		c.Log().Warn("no room for a container", "application", m.demand.application,
			"instance", m.demand.instance, "error", err)
	}
	m.answer(p, err)
}

func (l *ledger) audit(c *kit.Context[ledgerMessage], m audit) {
	suspect := map[string]bool{}
	for id, e := range sorted(l.w.book.entries) {
		switch {
		case !m.forgotten(id, e.number), l.cooling[id]:
		case l.suspect[id]:
			c.Log().Warn("a promise without a container is taken back", "container", id)
			l.w.book.free(id)
		default:
			suspect[id] = true
		}
	}
	l.suspect = suspect
}

// noRoomWords are the wire's (wire/dea.md a.9); what it has no words for is a
// failed start.
func noRoomWords(err error) string {
	room, ok := errors.AsType[*noRoomError](err)
	switch {
	case ok && room.what == "disk":
		return "Not enough disk resource available."
	case ok && room.what == "memory":
		return "Not enough memory resource available."
	}
	return failedToStart
}
