package messaging

import (
	"net/netip"
	"time"
)

// Component is the node as Cloud Foundry's monitors know it: who it is, and how it
// lets itself be watched.
type Component struct {
	Type    string // DEA
	Index   int
	UUID    string         // the node's id
	Address netip.AddrPort // of /healthz and /varz
	User    string
	// Password is told to everybody who may listen on NATS, as ever.
	Password string
	Started  time.Time
}

// DiscoverComponents asks who may be watched (vcap.component.discover); one
// ComponentDiscovered answers, where the node lets itself be.
type DiscoverComponents struct{ ReplyTo string }

// ComponentAnnounced says that there is something to watch (vcap.component.announce).
type ComponentAnnounced struct{ Component Component }

// ComponentDiscovered answers DiscoverComponents.
type ComponentDiscovered struct {
	ReplyTo   string
	Component Component
	Uptime    time.Duration
}

// ListActors is deacon's own question for `deacon actors`; an ActorsListed answers
// it, and no mailbox is on the way of that: what is stuck can be seen.
type ListActors struct{ ReplyTo string }

// ActorsListed answers ListActors.
type ActorsListed struct {
	ReplyTo string
	NodeID  string
	Actors  []ActorRow
}

// ActorRow is one actor of the node, as it is at this moment.
type ActorRow struct {
	Path        string // names from the root down, with slashes between them
	Kind        string
	Incarnation int  // 1 until the first restart
	Mailbox     int  // messages that wait
	Failed      bool // waits for its restart, or to be given up
}

func (DiscoverComponents) command() {}
func (ListActors) command()         {}

func (ComponentAnnounced) event()  {}
func (ComponentDiscovered) event() {}
func (ActorsListed) event()        {}
