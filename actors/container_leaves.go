package actors

import (
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// leafFact is everything that a container's leaves tell it.
//
//sumtype:decl
type leafFact interface{ leaf() }

type (
	jobOver       struct{ exit isolation.Exit }
	oomSeen       struct{}
	initGone      struct{} // PID 1 is dead
	portOpen      struct{}
	portClosed    struct{}
	outputDrained struct{}
	leafForsook   struct {
		name   string
		reason error
	}
)

func (jobOver) leaf()       {}
func (oomSeen) leaf()       {}
func (initGone) leaf()      {}
func (portOpen) leaf()      {}
func (portClosed) leaf()    {}
func (outputDrained) leaf() {}
func (leafForsook) leaf()   {}

// leaf takes what the leaves say.
func (k *container) leaf(c *kit.Context[containerMessage], f leafFact) {
	switch f := f.(type) {
	case jobOver:
		if k.order.bare {
			k.jobEnded(c, f.exit)
			return
		}
		if f.exit.Lost && k.state == containerLiving {
			c.Log().Error("a container's first process is dead, and its job with it: somebody killed it, "+
				"or the kernel for want of memory", "container", k.order.id)
		}
		k.wroteAll()
		k.exit = &f.exit
		k.input(c, inJobOver)
	case oomSeen:
		k.oom = true
		k.order.owner(outOfMemory{})
	case initGone:
		if k.state == containerLiving { // else it is found out on the way
			k.input(c, inDead)
		}
	case portOpen:
		k.health = healthy{}
		k.order.owner(k.health)
	case portClosed:
		k.health = unhealthy{}
		k.order.owner(k.health)
	case outputDrained:
		k.output = false
		k.rest()
	case leafForsook:
		k.forsake(c, f)
	}
}

// follow starts the leaves: one waits for the job, one follows its output, one
// asks whether it accepts connections.
func (k *container) follow(c *kit.Context[containerMessage]) {
	k.followed = true
	forsook := func(name string, reason error) containerMessage {
		return leafTold{leafForsook{name, reason}}
	}
	if k.order.bare {
		k.followJobs(c)
		return
	}
	kit.Spawn(c, "job", k.w.jobKind(k.order.source, false, c.Self()), forsook)
	k.output = true
	kit.Spawn(c, "output", k.w.outputKind(k.order.source, k.done, c.Self()), forsook)
	if k.state == containerLiving && !k.order.probe.IsZero() {
		address := netip.AddrPortFrom(k.status.PeerIP, k.order.place.Port)
		health := k.w.healthKind(k.order.id, probe{address, k.order.probe, k.order.state}, c.Self())
		kit.Spawn(c, "health", health, forsook)
	}
}

// forsake says that a leaf is given up. Without its job's end a container
// can't be kept; lines that can't be followed are a loss, not an end.
func (k *container) forsake(c *kit.Context[containerMessage], m leafForsook) {
	k.w.tell(messaging.ActorGaveUp{
		NodeID: k.w.Node.ID, Actor: c.Self().Path() + "/" + m.name, Reason: m.reason.Error(), At: c.Now(),
	})
	switch m.name {
	case "memory": // only the notice is lost
	case "job":
		k.order.owner(containerLost{})
	case "health":
		k.health = unhealthy{}
		k.order.owner(k.health)
	case "output":
		k.output = false
		k.rest()
	default:
		k.forsakeJob(m.name)
	}
}

// wroteAll says that nobody writes any more: what is there is all of it.
func (k *container) wroteAll() {
	select {
	case <-k.done:
	default:
		close(k.done)
	}
}

func (k *container) drainMax() time.Duration {
	if k.hurry {
		return min(hurryDrain, k.w.Settings.DrainMax)
	}
	return k.w.Settings.DrainMax
}

// giveUpOutput lets the last lines go: nobody took them for DrainMax.
func (k *container) giveUpOutput(c *kit.Context[containerMessage]) {
	if k.output {
		c.Log().Warn("the last lines of a container could not be published and are dropped", "container", k.order.id)
	}
	k.output = false
	k.rest()
}

// rest hands what is left to the network allocation, once nobody reads the
// container's files any more.
func (k *container) rest() {
	if k.state != containerEnded || k.output || k.rested {
		return
	}
	k.rested = true
	k.order.owner(containerDone{})
	k.parts.networks.Tell(rest{k.order.place})
	k.parent.Tell(containerOver{k.order.id})
}
