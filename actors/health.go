package actors

import (
	"context"
	"encoding/json"
	"fmt"
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
	// file is asked instead of the port, where the application writes one
	// (wire/dea.md b.2); empty: none.
	file string
}

// What an application may write of itself, and how often it is looked at.
const (
	stateFileMax   = 64 << 10
	statePauseMax  = 500 * time.Millisecond
	stateFilePause = 50 * time.Millisecond
)

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
	id     string // of the container
	probe  probe
	parent kit.Ref[containerMessage]
	pause  time.Duration
}

func (w *world) healthKind(id string, p probe, parent kit.Ref[containerMessage]) kit.Kind[healthMessage] {
	return kit.Kind[healthMessage]{Name: "health", Budget: w.Budget, New: func() kit.Actor[healthMessage] {
		return &health{w: w, id: id, probe: p, parent: parent, pause: probePauseMin}
	}}
}

func (h *health) Up(c *kit.Context[healthMessage]) error {
	if h.probe.file != "" {
		h.pause = stateFilePause
	}
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
			h.pause = min(h.pause+h.pause/2, h.pauseMax())
		}
	}
	return nil
}

func (h *health) ask(c *kit.Context[healthMessage]) {
	kit.Pipe(c, "probe", func(ctx context.Context) (struct{}, error) {
		ctx, over := h.w.within(ctx, probeMax)
		defer over()
		if h.probe.file != "" {
			return struct{}{}, h.w.stateOf(ctx, h.id, h.probe.file)
		}
		return struct{}{}, h.w.Kernel.Probe(ctx, h.probe.address)
	}, func(_ struct{}, err error) healthMessage { return probed{err} })
}

func (h *health) pauseMax() time.Duration {
	if h.probe.file != "" {
		return statePauseMax
	}
	return probePauseMax
}

// stateOf is nil once the application's own file says that it runs.
func (w *world) stateOf(ctx context.Context, id, file string) error {
	text, err := w.Kernel.Read(ctx, id, file, stateFileMax)
	if err != nil {
		return err
	}
	var said struct{ State string }
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("%s is not JSON: %w", file, err)
	}
	if said.State != "RUNNING" {
		return fmt.Errorf("%s says %.32q", file, said.State)
	}
	return nil
}
