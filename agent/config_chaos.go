package agent

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/agent/chaos"
	"github.com/deacon-agent/deacon/agent/settings"
	"github.com/deacon-agent/deacon/messaging/dea"
)

// Chaos says whether the node lets itself be harmed on order.
type Chaos struct {
	Allow bool
	// Supervised says that somebody starts the agent again when it ends, so that
	// it may be killed.
	Supervised bool
}

type chaosBlock struct {
	Allow      *hcl.Attribute `hcl:"allow,optional"`
	Supervised *hcl.Attribute `hcl:"supervised,optional"`
}

func (b *chaosBlock) read(r *settings.Reader, c *Chaos) {
	r.Truth(b.Allow, &c.Allow)
	r.Truth(b.Supervised, &c.Supervised)
	if b.Supervised != nil && c.Supervised && !c.Allow {
		r.Warn(b.Supervised, "chaos.supervised has no effect where chaos.allow is false")
	}
}

// allowChaos takes away what faults of a dead agent left on disk, and prepares
// new ones where the node may be harmed.
func (a *agent) allowChaos() error {
	if err := chaos.Clean(a.state.path); err != nil {
		return fmt.Errorf("agent: remove what a fault left: %w", err)
	}
	if !a.config.Chaos.Allow {
		return nil
	}
	a.log.Warn("this node lets itself be harmed on order (chaos.allow)")
	a.chaos = &chaos.Node{
		ID: a.node.ID, Plan: a.plan(), State: a.state.path, Kernel: a.box, Supervised: a.config.Chaos.Supervised,
		Log: a.log.Named("chaos"), Panics: new(chaos.Panics), Steps: chaos.Before(a.box), Line: chaos.NewLine(),
		Clock: new(chaos.Clock),
	}
	return nil
}

// putChaosBetween has the tree run on what can be made to fail.
func (a *agent) putChaosBetween(o *actors.Options) {
	if a.chaos == nil {
		return
	}
	o.Kernel, o.Clock = a.chaos.Steps, a.chaos.Clock
	was := o.Hook
	o.Hook = func(turn kit.Turn) {
		if was != nil {
			was(turn)
		}
		a.chaos.Panics.Hook(turn)
	}
}

// offerChaos answers who asks for faults, with a no where they aren't allowed.
func (a *agent) offerChaos() error {
	service := chaos.NewService(a.node.ID, a.chaos)
	a.defers("what was injected", service.Close)
	for _, verb := range chaos.Verbs {
		err := a.bus.Offer("chaos-"+verb, dea.ChaosSubject(a.node.ID, verb), func(body []byte) ([]byte, error) {
			return service.Answer(verb, body)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
