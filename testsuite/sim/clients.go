package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/deacon-agent/deacon/actors"
	"github.com/deacon-agent/deacon/messaging"
)

// clients are those of Warden's door: they ask for anything at any time, come
// and go, and are sent away by an agent that lost track of them.
type clients struct {
	w        *world
	last     messaging.Client
	here     []*client // oldest first
	asks     map[messaging.Ask]*asked
	jobs     []uint32             // that were started, newest last
	kept     map[string]*promise  // containers that somebody was told of, by id
	read     map[named]bool       // jobs whose output somebody asked for
	had      map[named]bool       // and those of which somebody was told, or left
	unwanted map[string]time.Time // when the end of a handle was asked for last
	// unsure are containers whose note could not be written: a successor may know
	// less of their jobs than clients were told.
	unsure map[string]bool
	// stopped are containers that something stopped, or was asked to.
	stopped map[string]bool
}

type client struct {
	number messaging.Client
	asked  uint64
	idle   bool // it doesn't read
}

// asked is a request of a client that is there.
type asked struct {
	command messaging.Command
	at      time.Time
	ids     int // that were given by then
	answers []messaging.Answer
	first   bool   // to read a job
	chunks  []byte // of a stream
	stops   string // the container whose first stop it is; a second one is answered at once
}

func newClients(w *world) *clients {
	return &clients{
		w: w, asks: map[messaging.Ask]*asked{}, stopped: map[string]bool{}, kept: map[string]*promise{},
		read: map[named]bool{}, had: map[named]bool{}, unsure: map[string]bool{}, unwanted: map[string]time.Time{},
	}
}

// some is a client that is there.
func (c *clients) some(rng *rand.Rand) *client {
	if len(c.here) < 3 {
		return c.connect(rng.IntN(8) == 0)
	}
	return c.here[rng.IntN(len(c.here))]
}

func (c *clients) connect(idle bool) *client {
	c.last++
	came := &client{number: c.last, idle: idle}
	if c.w.deliver(messaging.ClientConnected{Client: came.number}) {
		c.here = append(c.here, came)
	}
	return came
}

// ask sends a request; one to a door that isn't there is nobody's.
func (c *clients) ask(by *client, make func(messaging.Ask) messaging.Command) *asked {
	by.asked++
	ask := messaging.Ask{Client: by.number, Request: by.asked}
	command := make(ask)
	a := &asked{command: command, at: c.w.clock.Now(), ids: c.w.ids}
	if !slices.Contains(c.here, by) || !c.w.deliver(command) {
		return a
	}
	c.w.note("client %d asks: %s", by.number, describe(command))
	c.stopping(a)
	c.doom(a)
	c.asks[ask] = a
	return a
}

// stopping notes which container is to stop.
func (c *clients) stopping(a *asked) {
	handle := ""
	switch m := a.command.(type) {
	case messaging.StopContainer:
		handle = m.Handle
	case messaging.DestroyContainer:
		handle = m.Handle
	default:
		return
	}
	for _, r := range c.named(handle, a) {
		// The node stops by itself what nobody refers to, or all there is when it leaves.
		if p := c.kept[r.Spec.ID]; !c.stopped[r.Spec.ID] && p != nil && c.holds(r.Spec.ID, p) {
			a.stops = r.Spec.ID
		}
		c.stopped[r.Spec.ID] = true
	}
}

func (c *clients) leave(left *client) {
	c.w.note("client %d leaves", left.number)
	c.here = slices.DeleteFunc(c.here, func(other *client) bool { return other == left })
	for ask, a := range c.asks {
		if ask.Client == left.number {
			if job, reads := readOf(a.command); reads {
				c.had[job] = true
			}
			delete(c.asks, ask)
		}
	}
	c.w.deliver(messaging.ClientGone{Client: left.number})
}

// sentAway is what the door does with everybody when the node forgot.
func (c *clients) sentAway() {
	for _, client := range slices.Clone(c.here) {
		c.leave(client)
	}
}

// gone is what becomes of them with the agent. A job that it has told to nobody
// is there for the next one who asks.
func (c *clients) gone() {
	for _, a := range c.asks {
		if job, reads := readOf(a.command); reads && a.first && !c.had[job] {
			c.read[job] = false
		}
	}
	c.here, c.asks = nil, map[messaging.Ask]*asked{}
}

// readOf is the job that a request reads.
func readOf(command messaging.Command) (job named, reads bool) {
	switch m := command.(type) {
	case messaging.LinkJob:
		return named{m.Handle, m.Job}, true
	case messaging.StreamJob:
		return named{m.Handle, m.Job}, true
	default:
		return named{}, false
	}
}

// Chunk takes a part of a stream.
func (c *clients) Chunk(ctx context.Context, ask messaging.Ask, _ string, data []byte) error {
	at := slices.IndexFunc(c.here, func(one *client) bool { return one.number == ask.Client })
	switch {
	case at < 0:
		return actors.ErrClientGone
	case c.here[at].idle:
		return c.w.loom.Wait(ctx, -1)
	}
	if a := c.asks[ask]; a != nil {
		a.chunks = append(a.chunks, data...)
	}
	return nil
}

// answered takes an answer, and says what is wrong with it.
func (c *clients) answered(e messaging.Answered) string {
	a, waits := c.asks[e.Ask]
	if !waits {
		return "" // of one who left, or was sent away
	}
	a.answers = append(a.answers, e.Answer)
	if job, reads := readOf(a.command); reads {
		c.had[job] = true
	}
	if wrong := c.broken(a, e.Answer); wrong != "" {
		return wrong
	}
	if len(a.answers) > 1 {
		return fmt.Sprintf("%s has %d answers: %+v", describe(a.command), len(a.answers), a.answers)
	}
	switch m := e.Answer.(type) {
	case messaging.JobSpawned:
		c.jobs = append(c.jobs, m.Job)
	case messaging.Done:
		return c.done(a)
	default: // was not looked into
	}
	return ""
}

// has is what the door says of a client that has what became of its job.
func (c *clients) has(e messaging.Answered) {
	switch e.Answer.(type) {
	case messaging.JobLinked, messaging.JobStreamed:
		if slices.ContainsFunc(c.here, func(one *client) bool { return one.number == e.Ask.Client }) {
			c.w.deliver(messaging.AnswerSent{To: e.Ask})
		}
	default: // the door says nothing of that
	}
}

// done looks whether it is.
func (c *clients) done(a *asked) string {
	switch m := a.command.(type) {
	case messaging.DestroyContainer:
		for _, r := range c.named(m.Handle, a) {
			if r.Lives {
				return fmt.Sprintf("%s is done, and the init of %s lives", describe(m), r.Spec.ID)
			}
		}
	case messaging.StopContainer:
		if r, ok := c.w.kernel.Look(a.stops); ok && !m.Background && len(r.Running) > 0 {
			return fmt.Sprintf("%s is done, and in %s jobs run: %d", describe(m), r.Spec.ID, r.Running)
		}
	default: // there is nothing to look at
	}
	return ""
}

// late is a request that has waited too long for its answer; nil: none. Who
// waits for a job may wait for ever.
func (c *clients) late(than time.Duration) *asked {
	for _, ask := range slices.SortedFunc(mapKeys(c.asks), compareAsks) {
		switch a := c.asks[ask]; a.command.(type) {
		case messaging.LinkJob, messaging.StreamJob, messaging.RunJob:
		default:
			if len(a.answers) == 0 && c.w.clock.Now().Sub(a.at) > than {
				return a
			}
		}
	}
	return nil
}

func compareAsks(a, b messaging.Ask) int {
	return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Request, b.Request))
}
