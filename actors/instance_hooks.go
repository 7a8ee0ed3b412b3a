package actors

import "github.com/deacon-agent/deacon/actors/kit"

// hooked are the hooks that an instance is to have at some moments. One that
// can't be made is left out: nothing that runs or stops hangs on it.
func (i *instance) hooked(c *kit.Context[instanceMessage], moments ...Moment) hooks {
	found, err := i.w.hooked(i.record.Placement, i.record.Start, moments...)
	if err != nil {
		c.Log().Warn("a hook is left out", "instance", i.id, "error", err)
	}
	return found
}

// greet asks for the hook after the start until it is over: it is on record
// that it is ahead, so no agent's death loses it.
func (i *instance) greet(c *kit.Context[instanceMessage]) {
	after := i.hooked(c, AfterStart)
	if after == nil { // of a configuration that is no more
		i.greeted()
		return
	}
	i.order(c, containerOrder{goal: goalKeep, hooks: after})
}

func (i *instance) greeted() {
	if i.record.Ungreeted {
		i.record.Ungreeted = false
		i.save()
	}
}
