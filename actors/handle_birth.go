package actors

import (
	"context"
	"errors"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// reserve asks for room: of the chosen network, where one was.
func (h *handle) reserve(c *kit.Context[handleMessage]) {
	d := demand{instance: h.id, container: h.id}
	if h.create.Network != "" {
		number, err := h.w.Designer.Slot(h.create.Network)
		if err != nil {
			h.giveUp(err.Error())
			return
		}
		d.slot = &number
	}
	h.nudgeSoon(c)
	self := c.Self()
	h.parts.ledger.Tell(reserve{d, func(p Placement, err error) { self.Tell(roomFound{p, err}) }})
}

// begin designs the container, off the mailbox: what the client names on the
// node is looked at.
func (h *handle) begin(c *kit.Context[handleMessage], m roomFound) {
	if h.known || h.place.Container != "" {
		return
	}
	if m.err != nil {
		h.giveUp(noNetworkWords(h.create.Network))
		return
	}
	h.place = m.place
	create := *h.create
	kit.Pipe(c, "design", func(context.Context) (isolation.Spec, error) { return h.w.Designer.Container(m.place, create) },
		func(spec isolation.Spec, err error) handleMessage { return designed{spec, err} })
}

// designed asks for the container.
func (h *handle) designed(c *kit.Context[handleMessage], m designed) {
	if m.err != nil {
		h.parts.ledger.Tell(free{h.id})
		h.giveUp(m.err.Error())
		return
	}
	name, grace := h.id, h.w.Designer.Grace()
	if h.create.Handle != nil {
		name = *h.create.Handle
	}
	if h.create.Grace != nil {
		grace = *h.create.Grace
	}
	h.note = newNote(name, grace)
	h.note.Number = h.number
	h.spec = m.spec
	h.spec.Note = h.note.encode()
	h.order(c, containerOrder{goal: goalRun, spec: h.spec, fresh: true})
}

// lostInMaking ends a handle whose container was made and died before anybody
// heard of it.
func (h *handle) lostInMaking(c *kit.Context[handleMessage]) {
	h.order(c, containerOrder{goal: goalRemove})
	h.giveUp(helperFailed)
}

// giveUp ends a handle of which nothing was made.
func (h *handle) giveUp(text string) {
	h.state = handleDestroyed
	h.fail(h.create.Ask, text)
	h.parent.Tell(handleOver{h.id})
}

// takeUp goes on from what the kernel has.
func (h *handle) takeUp(c *kit.Context[handleMessage], m takenUp) {
	if h.known {
		return
	}
	gone := errors.Is(m.err, isolation.ErrGone)
	switch {
	case errors.Is(m.err, isolation.ErrUnknown):
		h.state = handleDestroyed
		h.parts.containers.Tell(containerOrder{ // there may be an actor for what was there
			id: h.id, goal: goalRemove, bare: true, place: Placement{Container: h.id}, owner: func(containerFact) {},
		})
		h.parent.Tell(handleOver{h.id})
		return
	case m.err != nil && !gone:
		c.Log().Warn("a container can't be asked and will be again", "container", h.id, "error", m.err)
		h.parent.Tell(handleMute{h.id})
		h.nudgeSoon(c)
		return
	}
	h.known = true
	h.status, h.spec = m.status, m.status.Spec
	h.place, h.note = placementOf(h.spec), h.w.noteOf(h.spec)
	h.takeUpJobs(c)
	if h.state = handleActive; h.note.State == handleWords[handleStopped] {
		h.state, h.grace = handleStopped, h.w.Settings.StopGrace // a stop may have been cut short
	}
	if gone && !h.note.Taken {
		h.initDied(c)
	}
	h.ready(c)
	if h.note.Taken || h.take { // nobody waits for it any more
		h.destroy(c)
		return
	}
	h.drive(c)
}

// ready says that clients can name the container, and serves who did already.
func (h *handle) ready(c *kit.Context[handleMessage]) {
	h.parent.Tell(handleReady{h.id, string(h.note.Handle), h.note.Grace, h.lastJob()})
	h.unqueue(c)
}

// queueMax is how many requests wait for a container that can't be asked. Who
// asks again and again, each time as another client, is told so.
const queueMax = 1000

// want serves a client, or has it wait until that can be done.
func (h *handle) want(c *kit.Context[handleMessage], m clientWants) {
	in := inputOf(m.command)
	_, isSpawn := m.command.(messaging.SpawnJob)
	_, isRun := m.command.(messaging.RunJob)
	_, v := nextHandle(h.state, in)
	waits := !h.known || (isSpawn || isRun) && v == accept && h.container.IsZero()
	switch {
	case waits && len(h.queue) == queueMax:
		h.fail(m.command.Asked(), "the container can't be asked")
		return
	case waits:
		h.queue = append(h.queue, m)
		return
	}
	h.serve(c, m)
}

func (h *handle) unqueue(c *kit.Context[handleMessage]) {
	queue := h.queue
	h.queue = nil
	for _, m := range queue {
		h.want(c, m)
	}
}

// active takes the container up that was just made.
func (h *handle) active(c *kit.Context[handleMessage], status isolation.Status) {
	if h.known {
		return
	}
	h.known, h.status = true, status
	h.input(c, inReady)
	h.ready(c)
	h.answer(h.create.Ask, messaging.ContainerCreated{Handle: string(h.note.Handle)})
	if h.take {
		h.destroy(c)
	}
}

// adopt asks the kernel; what a dead container was made of is on record.
func (h *handle) adopt(ctx context.Context) (isolation.Status, error) {
	status, gone := h.w.Kernel.Adopt(ctx, h.id)
	if !errors.Is(gone, isolation.ErrGone) {
		return status, gone
	}
	specs, err := h.w.Kernel.Containers(ctx)
	if err != nil {
		return status, err
	}
	for _, spec := range specs {
		if spec.ID == h.id {
			return isolation.Status{Spec: spec}, gone
		}
	}
	return status, isolation.ErrUnknown
}
