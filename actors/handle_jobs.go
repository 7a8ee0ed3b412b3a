package actors

import (
	"context"
	"slices"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

// signalled is the status of a job that a signal ended, that wrote too much, or
// whose end was lost.
const signalled = 255

// noSuchJob is said of a job that nobody knows, or that was linked before.
const noSuchJob = "no such job"

// clientJob is a job that nobody has linked yet, or that is being read.
type clientJob struct {
	exit     *isolation.Exit // nil: it runs
	ended    chan struct{}   // closed with that
	readers  int
	left     [2]bool // one of them links, or streams, for a client that has gone
	consumed bool    // somebody got all of it: it is nobody else's any more
}

func newClientJob() *clientJob { return &clientJob{ended: make(chan struct{})} }

func (j *clientJob) status(exceeded bool) uint32 {
	if exceeded || j.exit == nil || j.exit.Lost || j.exit.Signal != 0 || j.exit.Code < 0 {
		return signalled
	}
	return uint32(j.exit.Code)
}

type (
	spawned struct {
		id  uint32
		err error
	}
	forgotten struct {
		id  uint32
		err error
	}
	// tagged says that all of a job's output is in the machine's log.
	tagged forgotten
)

func (spawned) handle()   {}
func (forgotten) handle() {}
func (tagged) handle()    {}

// job takes what concerns one job.
func (h *handle) job(c *kit.Context[handleMessage], m handleMessage) {
	switch m := m.(type) {
	case spawned:
		h.spawned(c, m)
	case gathered:
		h.gathered(c, m)
	case looked:
		h.looked(c, m)
	case streamed:
		h.streamed(c, m)
	case tagged:
		h.tagged(c, m)
	default:
	case forgotten:
		if m.err != nil {
			c.Log().Warn("what a job left can't be removed", "container", h.id, "job", m.id, "error", m.err)
		}
	}
}

// takeUpJobs takes what the note and PID 1 know of. How those ended that have
// is told by the container. The note may know less: an agent that is killed has
// started jobs that were not on record yet, and their numbers are used.
func (h *handle) takeUpJobs(c *kit.Context[handleMessage]) {
	for number, job := range sorted(h.note.Jobs) {
		h.jobs[number] = newClientJob()
		h.jobs[number].consumed = job.Consumed
		h.tag(c, number)
	}
	for _, job := range h.status.Jobs {
		switch {
		case h.jobs[job.Number] != nil:
		case job.Exit != nil: // somebody got all of it, or nobody heard of it
			h.dropped = append(h.dropped, job.Number)
		default:
			h.jobs[job.Number] = newClientJob()
		}
		h.note.LastJob = max(h.note.LastJob, job.Number)
	}
	h.former = h.lastJob()
	if len(h.dropped) > 0 { // once they are forgotten only the note knows
		h.keep(c)
	}
}

func (h *handle) lastJob() uint32 {
	last := h.note.LastJob
	for number := range h.jobs {
		last = max(last, number)
	}
	return last
}

// running are the jobs that have not ended, for all that a client can tell: one
// that wrote too much has ended for it, and lives on until the stop.
func (h *handle) running() (numbers []uint32) {
	for number, job := range h.jobs {
		if job.exit == nil && !job.consumed {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// over says that no job runs any more, read that nobody reads one.
func (h *handle) over() bool {
	for _, job := range h.jobs {
		if job.exit == nil {
			return false
		}
	}
	return true
}

func (h *handle) read() bool {
	for _, job := range h.jobs {
		if job.readers > 0 {
			return false
		}
	}
	return true
}

// wish is a job that a client wants.
type wish struct {
	ask    messaging.Ask
	id     uint32
	script messaging.Script
	link   bool // and all of its output
}

func (h *handle) spawn(c *kit.Context[handleMessage], w wish) {
	h.jobs[w.id] = newClientJob()
	h.note.Jobs[w.id] = jobNote{Discard: w.script.Discard, Tag: w.script.LogTag}
	h.note.LastJob = max(h.note.LastJob, w.id)
	h.keep(c)
	h.starting[w.id] = w
	h.start(c, w)
	if h.nudge == nil {
		h.nudgeSoon(c)
	}
}

// start may be repeated: the container starts a job once.
func (h *handle) start(c *kit.Context[handleMessage], w wish) {
	self := c.Self()
	h.container.Tell(startJob{h.w.Designer.Job(w.id, w.script), func(err error) { self.Tell(spawned{w.id, err}) }})
}

// askAgain repeats what others were asked and have not answered.
func (h *handle) askAgain(c *kit.Context[handleMessage]) {
	for _, w := range sorted(h.starting) {
		h.start(c, w)
	}
	for _, r := range byAsk(h.mapping) {
		h.parts.ledger.Tell(r)
	}
	if h.nudge == nil && len(h.starting)+len(h.mapping) > 0 {
		h.nudgeSoon(c)
	}
}

func (h *handle) spawned(c *kit.Context[handleMessage], m spawned) {
	w, starting := h.starting[m.id]
	if !starting { // an answer to a question that was repeated
		return
	}
	delete(h.starting, m.id)
	if m.err != nil {
		c.Log().Warn("a job could not be started", "container", h.id, "job", m.id, "error", m.err)
		delete(h.jobs, m.id)
		delete(h.note.Jobs, m.id)
		h.keep(c)
		h.fail(w.ask, helperFailed)
		h.settle(c)
		return
	}
	h.tag(c, m.id)
	if w.link {
		h.link(c, w.ask, m.id)
		return
	}
	h.answer(w.ask, messaging.JobSpawned{Job: m.id})
}

func (h *handle) written(id uint32, job *clientJob) Written { return Written{h.id, id, job.ended} }

// tag has what a job writes sent to the machine's log too, where it was asked for.
func (h *handle) tag(c *kit.Context[handleMessage], id uint32) {
	tag, job := h.note.Jobs[id].Tag, h.jobs[id]
	if tag == "" || job == nil {
		return
	}
	job.readers++
	kit.Pipe(c, "tag", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.w.Transcripts.Tag(ctx, h.written(id, job), tag)
	}, func(_ struct{}, err error) handleMessage { return tagged{id, err} })
}

func (h *handle) tagged(c *kit.Context[handleMessage], m tagged) {
	if m.err != nil {
		c.Log().Warn("a job's lines can't be followed", "container", h.id, "job", m.id, "error", m.err)
	}
	h.unread(c, m.id)
}

func (h *handle) jobEnded(c *kit.Context[handleMessage], exit isolation.Exit) {
	job, ok := h.jobs[exit.Job]
	if !ok || job.exit != nil {
		return
	}
	job.exit = &exit
	close(job.ended)
	h.letGo(c, exit.Job, job)
	h.settle(c)
}

// letGo drops a job that somebody got all of and nobody reads any more.
func (h *handle) letGo(c *kit.Context[handleMessage], id uint32, job *clientJob) {
	if !job.consumed || job.exit == nil || job.readers > 0 || h.jobs[id] != job {
		return
	}
	delete(h.jobs, id)
	delete(h.note.Jobs, id)
	h.dropped = append(h.dropped, id)
	h.keep(c)
	h.container.Tell(forgetJob{id})
}

// forget removes what is left of jobs, once no note speaks of them any more: a
// successor would find them without an end.
func (h *handle) forget(c *kit.Context[handleMessage], jobs []uint32) {
	for _, id := range jobs {
		kit.Pipe(c, "forget", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, h.w.Live.Forget(ctx, h.id, id)
		}, func(_ struct{}, err error) handleMessage { return forgotten{id, err} })
	}
}
