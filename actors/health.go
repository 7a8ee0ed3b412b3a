package actors

import (
	"context"
	"net/netip"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
)

// Pauses between two probes. An application that listens at once is seen at
// once; one that takes a minute costs a few probes a second.
const (
	probePauseMin = time.Millisecond
	probePauseMax = 250 * time.Millisecond
	probeMax      = time.Second // how long one connection may take
)

// probe says what is asked and until when.
type probe struct {
	address netip.AddrPort
	until   time.Time
}

// healthMessage is what comes of probing.
//
//sumtype:decl
type healthMessage interface{ health() }

type (
	probed   struct{ err error }
	probeDue struct{}
)

func (probed) health()   {}
func (probeDue) health() {}

// health asks a port until it opens or its time is up. There is no check after
// that: only the application's end is noticed (wire/dea.md b.2).
type health struct {
	kit.Base[healthMessage]
	w      *world
	probe  probe
	parent kit.Ref[containerMessage]
	pause  time.Duration
}

func (w *world) healthKind(p probe, parent kit.Ref[containerMessage]) kit.Kind[healthMessage] {
	return kit.Kind[healthMessage]{Name: "health", Budget: w.Budget, New: func() kit.Actor[healthMessage] {
		return &health{w: w, probe: p, parent: parent, pause: probePauseMin}
	}}
}

func (h *health) Up(c *kit.Context[healthMessage]) error {
	h.ask(c)
	return nil
}

func (h *health) Receive(c *kit.Context[healthMessage], m healthMessage) error {
	switch m := m.(type) {
	case probeDue:
		h.ask(c)
	case probed:
		switch {
		case m.err == nil:
			h.parent.Tell(leafTold{portOpen{}})
		case !c.Now().Before(h.probe.until):
			h.parent.Tell(leafTold{portClosed{}})
		default:
			c.After(min(h.pause, h.probe.until.Sub(c.Now())), probeDue{})
			h.pause = min(h.pause+h.pause/2, probePauseMax)
		}
	}
	return nil
}

func (h *health) ask(c *kit.Context[healthMessage]) {
	kit.Pipe(c, "probe", func(ctx context.Context) (struct{}, error) {
		ctx, over := h.w.within(ctx, probeMax)
		defer over()
		return struct{}{}, h.w.Kernel.Probe(ctx, h.probe.address)
	}, func(_ struct{}, err error) healthMessage { return probed{err} })
}
