package actors

import (
	"context"
	"errors"
	"io/fs"
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
	consumed bool // somebody got all of it: it is nobody else's any more
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
	// gathered is a linked job's whole output.
	gathered struct {
		ask            messaging.Ask
		id             uint32
		stdout, stderr []byte
		exceeded       bool
		stats          isolation.Stats
		err            error
	}
	// streamed says that a stream came to its end, for whatever reason.
	streamed struct {
		ask      messaging.Ask
		id       uint32
		info     messaging.ContainerInfo
		exceeded bool
		err      error
	}
	// looked is what a stream needs before its first chunk.
	looked struct {
		ask   messaging.Ask
		id    uint32
		stats isolation.Stats
		err   error
	}
	forgotten struct {
		id  uint32
		err error
	}
)

func (spawned) handle()   {}
func (gathered) handle()  {}
func (streamed) handle()  {}
func (looked) handle()    {}
func (forgotten) handle() {}

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
	default:
	case forgotten:
		if m.err != nil {
			c.Log().Warn("what a job left can't be removed", "container", h.id, "job", m.id, "error", m.err)
		}
	}
}

// takeUpJobs takes what the note and PID 1 know of. How those ended that have
// is told by the container.
func (h *handle) takeUpJobs(c *kit.Context[handleMessage]) {
	for number := range h.note.Jobs {
		h.jobs[number] = newClientJob()
		h.tag(c, number)
	}
	for _, job := range h.status.Jobs {
		switch {
		case h.jobs[job.Number] != nil:
		case job.Exit != nil: // somebody got all of it, or nobody heard of it
			h.forget(c, []uint32{job.Number})
		default:
			h.jobs[job.Number] = newClientJob()
		}
	}
}

func (h *handle) lastJob() uint32 {
	last := h.note.LastJob
	for number := range h.jobs {
		last = max(last, number)
	}
	return last
}

// running are the jobs that have not ended.
func (h *handle) running() (numbers []uint32) {
	for number, job := range h.jobs {
		if job.exit == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// over says that no job runs any more, read that nobody reads one.
func (h *handle) over() bool { return len(h.running()) == 0 }

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
	for _, w := range h.starting {
		h.start(c, w)
	}
	for _, r := range h.mapping {
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
	kit.Pipe(c, "tag", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, h.w.Transcripts.Tag(ctx, h.written(id, job), tag)
	}, func(_ struct{}, err error) handleMessage { return forgotten{id, err} })
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

// linkable finds a job that nobody has linked.
func (h *handle) linkable(ask messaging.Ask, id uint32) (*clientJob, bool) {
	job, ok := h.jobs[id]
	if _, starting := h.starting[id]; !ok || starting || job.consumed {
		h.fail(ask, noSuchJob)
		return nil, false
	}
	job.readers++
	return job, true
}

// link waits for the job's end, or until it wrote too much, and then reads all.
func (h *handle) link(c *kit.Context[handleMessage], ask messaging.Ask, id uint32) {
	job, ok := h.linkable(ask, id)
	if !ok {
		return
	}
	t, most, discard := h.w.Transcripts, h.w.Designer.OutputMax(), h.note.Jobs[id].Discard
	written := h.written(id, job)
	kit.Pipe(c, "link", func(ctx context.Context) (g gathered, err error) {
		if discard {
			select {
			case <-job.ended:
			case <-ctx.Done():
				return g, ctx.Err()
			}
		} else {
			if _, err = t.Exceeds(ctx, written, most); err == nil {
				g.stdout, g.stderr, g.exceeded, err = t.Gather(written, most)
			}
			if err != nil {
				return g, err
			}
		}
		g.stats, _ = h.w.Live.Stats(ctx, h.id) // of a dead container there are none
		return g, nil
	}, func(g gathered, err error) handleMessage {
		g.ask, g.id, g.err = ask, id, err
		return g
	})
}

func (h *handle) gathered(c *kit.Context[handleMessage], m gathered) {
	job := h.jobs[m.id]
	job.readers--
	if m.err != nil {
		c.Log().Warn("a job's output can't be read", "container", h.id, "job", m.id, "error", m.err)
	}
	if m.err != nil && !errors.Is(m.err, fs.ErrNotExist) { // it is there for who asks again
		h.fail(m.ask, helperFailed)
		h.settle(c)
		return
	}
	if m.exceeded {
		h.note.event(eventOutput)
		h.keep(c)
	}
	job.consumed = true
	h.answer(m.ask, messaging.JobLinked{
		Status: job.status(m.exceeded), Stdout: m.stdout, Stderr: m.stderr, Info: h.info(m.stats),
	})
	h.letGo(c, m.id, job)
	h.settle(c)
}

// stream looks first: what a client learns of the container is from before the
// first chunk.
func (h *handle) stream(c *kit.Context[handleMessage], ask messaging.Ask, id uint32) {
	if _, ok := h.linkable(ask, id); !ok {
		return
	}
	kit.Pipe(c, "look", func(ctx context.Context) (isolation.Stats, error) { return h.w.Live.Stats(ctx, h.id) },
		func(s isolation.Stats, err error) handleMessage { return looked{ask, id, s, err} })
}

// errTooMuch ends the reading of a job that wrote more than it may.
var errTooMuch = errors.New("more than the output's limit")

func (h *handle) looked(c *kit.Context[handleMessage], m looked) {
	if m.err != nil {
		h.jobs[m.id].readers--
		h.fail(m.ask, words("inspect", m.err))
		h.settle(c)
		return
	}
	job, info, most := h.jobs[m.id], h.info(m.stats), h.w.Designer.OutputMax()
	discard, written := h.note.Jobs[m.id].Discard, h.written(m.id, job)
	kit.Pipe(c, "stream", func(ctx context.Context) (struct{}, error) {
		if discard {
			select {
			case <-job.ended:
			case <-ctx.Done():
			}
			return struct{}{}, ctx.Err()
		}
		read := int64(0)
		return struct{}{}, h.w.Transcripts.Follow(ctx, written, func(stream string, data []byte) error {
			if read += int64(len(data)); read > most {
				return errTooMuch
			}
			return h.w.Clients.Chunk(ctx, m.ask, stream, data)
		})
	}, func(_ struct{}, err error) handleMessage {
		return streamed{m.ask, m.id, info, errors.Is(err, errTooMuch), err}
	})
}

// streamed: a client that left while there was something to read leaves the job
// to the next one.
func (h *handle) streamed(c *kit.Context[handleMessage], m streamed) {
	job := h.jobs[m.id]
	job.readers--
	if m.err != nil && !m.exceeded {
		if !errors.Is(m.err, ErrClientGone) {
			c.Log().Warn("a job's output can't be read", "container", h.id, "job", m.id, "error", m.err)
			h.fail(m.ask, helperFailed)
		}
		h.settle(c)
		return
	}
	job.consumed = true
	h.answer(m.ask, messaging.JobStreamed{Status: job.status(m.exceeded), Info: m.info})
	h.letGo(c, m.id, job)
	h.settle(c)
}
