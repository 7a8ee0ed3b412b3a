package actors

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// What Warden's clients may read among a container's events.
const (
	eventOutOfMemory = "out of memory"
	eventOutput      = "command exceeded maximum output"
	eventInitDied    = "unexpected error: the container's init died"
)

// note is what must not be forgotten of a client's container, beside what it is
// made of. It is kept with the container (isolation.Spec.Note).
type note struct {
	Handle []byte             `json:"handle"`          // any bytes
	Grace  time.Duration      `json:"grace"`           // negative: for ever
	State  string             `json:"state"`           // active, stopped
	Taken  bool               `json:"taken,omitempty"` // to be destroyed
	Events []string           `json:"events,omitempty"`
	Jobs   map[uint32]jobNote `json:"jobs,omitempty"` // that nobody has linked
	// LastJob is the greatest number that one of its jobs had: they are used once.
	LastJob uint32 `json:"last_job,omitempty"`
	// Number is the container's place in the order in which clients made theirs: a
	// clock that was set back would tell another. 0: made before there were any.
	Number uint64 `json:"number,omitempty"`
}

// jobNote is what PID 1 doesn't know of a job.
type jobNote struct {
	Discard bool   `json:"discard,omitempty"`
	Tag     string `json:"tag,omitempty"`
	// Consumed: somebody got all that may be had of it, because it wrote too much.
	Consumed bool `json:"consumed,omitempty"`
}

func newNote(handle string, grace time.Duration) note {
	return note{Handle: []byte(handle), Grace: grace, State: handleWords[handleActive], Jobs: map[uint32]jobNote{}}
}

// noteOf reads a container's note. One that can't be read is that of a
// container with the name that the node would have given it.
func (w *world) noteOf(spec isolation.Spec) note {
	n := newNote(spec.ID, w.Designer.Grace())
	if len(spec.Note) > 0 {
		if err := json.Unmarshal(spec.Note, &n); err != nil {
			w.Log.Warn("a container's note can't be read", "container", spec.ID, "error", err)
			n = newNote(spec.ID, w.Designer.Grace())
		}
	}
	if n.Jobs == nil {
		n.Jobs = map[uint32]jobNote{}
	}
	return n
}

func (n note) encode() json.RawMessage {
	encoded, err := json.Marshal(n)
	if err != nil {
		panic(err) // nothing in it can fail
	}
	return encoded
}

// consumed notes that somebody got all that may be had of a job that wrote too
// much: it may live on until the stop, and is nobody's any more.
func (n *note) consumed(id uint32) {
	if job, known := n.Jobs[id]; known {
		job.Consumed = true
		n.Jobs[id] = job
	}
}

// event adds to the set, and says whether it was new.
func (n *note) event(text string) bool {
	if slices.Contains(n.Events, text) {
		return false
	}
	n.Events = append(n.Events, text)
	return true
}

// noted says that a note is on disk, or why not; dropped are jobs that the one
// before it may have spoken of.
type noted struct {
	dropped []uint32
	err     error
}

func (noted) handle() {}

// keep writes the note behind, one write at a time. What is answered meanwhile
// waits for it (answer): what a client was told holds for a successor.
func (h *handle) keep(c *kit.Context[handleMessage]) {
	if h.saving {
		h.unsaved = true
		return
	}
	h.saving, h.unsaved = true, false
	encoded, dropped := h.note.encode(), h.dropped
	h.dropped = nil
	kit.Pipe(c, "note", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.w.Live.Note(ctx, h.id, encoded)
	}, func(_ struct{}, err error) handleMessage { return noted{dropped, err} })
}

func (h *handle) noted(c *kit.Context[handleMessage], m noted) {
	h.saving = false
	if m.err == nil {
		h.forget(c, m.dropped)
	} else if h.state != handleDestroyed {
		c.Log().Error("a container's note is not on disk", "container", h.id, "error", m.err)
		h.dropped = append(m.dropped, h.dropped...) // the note on disk may speak of them
	}
	for _, a := range h.answers {
		h.parent.Tell(a)
	}
	h.answers, h.later = h.later, nil
	switch {
	case h.unsaved:
		h.keep(c)
		return
	case len(h.dropped) > 0:
		h.nudgeSoon(c)
	}
	if h.take && !h.removing {
		h.drive(c)
	}
}

// answer tells a client, once what it is told of is on disk.
func (h *handle) answer(ask messaging.Ask, a messaging.Answer) {
	switch said := (answered{ask, a}); {
	case !h.saving:
		h.parent.Tell(said)
	case h.unsaved:
		h.later = append(h.later, said)
	default:
		h.answers = append(h.answers, said)
	}
}
