package actors

import (
	"context"
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
)

// restrict has the container's egress rules be those that an update named, once it
// lives. One is replaced after the other, so that the newest are the last.
func (i *instance) restrict(c *kit.Context[instanceMessage]) {
	i.unruled = i.record.Ruled
	if !i.unruled || !i.held || i.restricting {
		return
	}
	rules, err := i.w.Planner.Egress(i.record.Start.Egress)
	if err != nil { // it was looked at before it was noted
		c.Log().Error("egress rules can't be read", "instance", i.record.Named(), "error", err)
		i.unruled = false
		return
	}
	i.restricting = true
	container, asked := i.record.Placement.Container, i.record.Start.Egress
	kit.Pipe(c, "restrict", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, i.w.Kernel.Restrict(ctx, container, rules)
	}, func(_ struct{}, err error) instanceMessage { return restricted{asked, err} })
}

// restricted goes on with rules that have come meanwhile, or that the kernel didn't take.
func (i *instance) restricted(c *kit.Context[instanceMessage], m restricted) {
	i.restricting = false
	switch {
	case m.err != nil:
		c.Log().Warn("egress rules could not be replaced, and will be tried again",
			"instance", i.record.Named(), "error", m.err)
		i.nudgeSoon(c)
	case slices.Equal(m.rules, i.record.Start.Egress):
		i.unruled = false
	default:
		i.restrict(c)
	}
}
