package actors

import (
	"fmt"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/messaging"
)

// nodeMessage is everything that the root is told.
//
//sumtype:decl
type nodeMessage interface{ node() }

type (
	// arrived is a command from a door, event what is to be told through one.
	arrived struct{ command messaging.Command }
	event   struct{ event messaging.Event }
	// exitHeard says that a droplet.exited reached the server.
	exitHeard struct{ instance string }
	// settledAll says that every instance of a former agent is accounted for.
	settledAll struct{}
	// leaving says that the node's instances are to go elsewhere; hide that nothing
	// more is to come.
	leaving struct{}
	hide    struct{}
	// shutdown stops everything; done is called when nothing is left.
	shutdown       struct{ done func() }
	instancesGone  struct{}
	handlesGone    struct{}
	containersGone struct{}
	networksGone   struct{}
	partForsook    struct {
		name   string
		reason error
	}
)

func (arrived) node()        {}
func (event) node()          {}
func (exitHeard) node()      {}
func (settledAll) node()     {}
func (leaving) node()        {}
func (hide) node()           {}
func (shutdown) node()       {}
func (instancesGone) node()  {}
func (handlesGone) node()    {}
func (containersGone) node() {}
func (networksGone) node()   {}
func (partForsook) node()    {}

// parts are the addresses that the actors know of one another.
type parts struct {
	node       kit.Ref[nodeMessage]
	ledger     kit.Ref[ledgerMessage]
	networks   kit.Ref[networksMessage]
	containers kit.Ref[containersMessage]
	droplets   kit.Ref[dropletsMessage]
	instances  kit.Ref[instancesMessage]
	handles    kit.Ref[handlesMessage] // zero: there is no door to it
}

// node is the root. It knows addresses only: commands go down to whom they
// concern, events go up through it to the doors.
type node struct {
	kit.Base[nodeMessage]
	w     *world
	parts parts
	done  func()
	left  bool // goodbye was said
	// registrar has routes told again, in intervals that routers may shorten.
	registrar kit.Ref[pulseMessage]
}

func (w *world) nodeKind() kit.Kind[nodeMessage] {
	return kit.Kind[nodeMessage]{Name: "node", Budget: w.Budget, New: func() kit.Actor[nodeMessage] {
		return &node{w: w}
	}}
}

// Up brings up the parts, those that others need first.
func (n *node) Up(c *kit.Context[nodeMessage]) error {
	w := n.w
	if w.tell == nil { // the root's address stays the same, whatever its incarnation
		self := c.Self()
		w.tell = func(e messaging.Event) { self.Tell(event{e}) }
		w.Sink(messaging.NodeStarted{Node: w.Node})
		w.Sink(messaging.RoutersGreeted{})
		w.begun = c.Now()
		if w.Component != nil {
			w.Sink(messaging.ComponentAnnounced{Component: w.component()})
		}
	} else if w.Live != nil { // who was connected, and what they asked, went with the parts
		w.Sink(messaging.AsksForgotten{})
	}
	n.parts.node = c.Self()
	n.parts.ledger = kit.Spawn(c, "ledger", w.ledgerKind(), partGaveUp)
	n.parts.networks = kit.Spawn(c, "networks", w.networksKind(n.parts), partGaveUp)
	n.parts.containers = kit.Spawn(c, "containers", w.containersKind(n.parts), partGaveUp)
	n.parts.droplets = kit.Spawn(c, "droplets", w.dropletsKind(), partGaveUp)
	n.parts.instances = kit.Spawn(c, "instances", w.instancesKind(n.parts), partGaveUp)
	if w.Live != nil {
		n.parts.handles = kit.Spawn(c, "handles", w.handlesKind(n.parts), partGaveUp)
	}
	instances := n.parts.instances
	kit.Spawn(c, "janitor", w.janitorKind(n.parts), partGaveUp)
	s := w.Settings
	pulse := func(name string, every time.Duration, m instancesMessage) kit.Ref[pulseMessage] {
		return kit.Spawn(c, name, w.pulseKind(name, every, func() { instances.Tell(m) }), partGaveUp)
	}
	pulse("heartbeat", s.Heartbeat, beatDue{})
	pulse("advertiser", s.Advertise, offerDue{})
	n.registrar = pulse("registrar", s.RouterRegister, routesDue{})
	return nil
}

func partGaveUp(name string, reason error) nodeMessage { return partForsook{name, reason} }

func (n *node) Receive(c *kit.Context[nodeMessage], m nodeMessage) error {
	switch m := m.(type) {
	case arrived:
		n.deliver(c, m.command)
	case accountAsked:
		n.parts.ledger.Tell(m)
	case event:
		n.w.Sink(m.event)
	case enter:
		n.parts.instances.Tell(m)
	case exitHeard:
		n.parts.instances.Tell(exitTold(m))
	case settledAll:
		n.w.settled()
	case leaving:
		n.sayGoodbye()
	case hide:
		n.sayGoodbye()
		n.parts.instances.Tell(hidden{})
	case shutdown:
		n.shutdown(c, m)
	case instancesGone:
		self := c.Self()
		if n.parts.handles.IsZero() {
			self.Tell(handlesGone{})
			return nil
		}
		n.parts.handles.Tell(takeAll{func() { self.Tell(handlesGone{}) }})
	case handlesGone:
		self := c.Self()
		n.parts.containers.Tell(containersLeft{func() { self.Tell(containersGone{}) }})
	case containersGone:
		self := c.Self()
		n.parts.networks.Tell(allocationsLeft{func() { self.Tell(networksGone{}) }})
	case networksGone:
		if n.done != nil {
			n.done()
		}
	case partForsook:
		n.w.Sink(messaging.ActorGaveUp{
			NodeID: n.w.Node.ID, Actor: c.Self().Path() + "/" + m.name, Reason: m.reason.Error(), At: c.Now(),
		})
		// No node without all its parts: the root begins anew, from the store.
		return fmt.Errorf("%s gave up: %w", m.name, m.reason)
	}
	return nil
}

// deliver hands a command to whom it concerns.
func (n *node) deliver(c *kit.Context[nodeMessage], command messaging.Command) {
	switch m := command.(type) {
	case messaging.From:
		n.parts.instances.Tell(attributed{m.Command, m.Asker})
	case messaging.RouterStarted:
		if m.Interval > 0 {
			n.registrar.Tell(pulseEvery{min(m.Interval, n.w.Settings.RouterRegister)})
		}
		n.parts.instances.Tell(asked{command})
	case messaging.DiscoverComponents:
		n.present(c, m)
	case messaging.ClientConnected, messaging.ClientGone, messaging.ClientCommand, messaging.AnswerSent:
		if !n.parts.handles.IsZero() {
			n.parts.handles.Tell(clientAsked{command})
		}
	default:
		n.parts.instances.Tell(asked{command})
	}
}

// sayGoodbye takes the node's offers back.
func (n *node) sayGoodbye() {
	if n.left {
		return
	}
	n.left = true
	counts := map[string]int{}
	for _, r := range n.w.Store.All() {
		counts[r.Start.Application]++
	}
	n.w.Sink(messaging.NodeStopped{Node: n.w.Node, ApplicationCount: counts})
}

// present answers a monitor that looks for whom to watch.
func (n *node) present(c *kit.Context[nodeMessage], m messaging.DiscoverComponents) {
	if n.w.Component == nil {
		return
	}
	n.w.Sink(messaging.ComponentDiscovered{
		ReplyTo: m.ReplyTo, Component: n.w.component(), Uptime: c.Now().Sub(n.w.begun),
	})
}

func (w *world) component() messaging.Component {
	component := *w.Component
	component.Started = w.begun
	return component
}

// shutdown says goodbye first: the controller is to place nothing here any more.
func (n *node) shutdown(c *kit.Context[nodeMessage], m shutdown) {
	n.sayGoodbye()
	n.done = m.done
	self := c.Self()
	n.parts.containers.Tell(hurry{})
	n.parts.instances.Tell(stopAll{func() { self.Tell(instancesGone{}) }})
}
