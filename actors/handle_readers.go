package actors

import (
	"context"
	"errors"
	"io/fs"

	"github.com/deacon-agent/deacon/actors/kit"
	"github.com/deacon-agent/deacon/isolation"
	"github.com/deacon-agent/deacon/messaging"
)

type (
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
)

func (gathered) handle() {}
func (streamed) handle() {}
func (looked) handle()   {}

// reading is what one request reads of a job.
type reading struct {
	id     uint32
	kind   readingKind
	cancel func()
	left   bool // its client has
	// handed: the answer is on its way to the client. Whoever dies before it is
	// there, the job waits for the next one who asks.
	handed   bool
	exceeded bool // and it says that the job wrote too much
}

type readingKind uint8

const (
	links readingKind = iota
	streams
)

// linkable finds a job that nobody has linked.
func (h *handle) linkable(ask messaging.Ask, id uint32) (*clientJob, bool) {
	job, ok := h.jobs[id]
	if _, starting := h.starting[id]; !ok || starting || job.consumed {
		h.fail(ask, noSuchJob)
		return nil, false
	}
	job.readers++
	h.reads[ask] = &reading{id: id}
	return job, true
}

// unread ends one reading.
func (h *handle) unread(c *kit.Context[handleMessage], id uint32) *clientJob {
	job := h.jobs[id]
	job.readers--
	h.letGo(c, id, job)
	h.settle(c)
	return job
}

// finish is unread of a client's. What nobody consumed is there for the next one.
func (h *handle) finish(c *kit.Context[handleMessage], ask messaging.Ask, consumed bool) {
	r := h.reads[ask]
	delete(h.reads, ask)
	job := h.jobs[r.id]
	job.consumed = job.consumed || consumed
	if r.left {
		job.left[r.kind] = false
	}
	h.unread(c, r.id)
}

// clientLeft lets one reading go on for nobody, for what becomes of the job
// (wire/warden.md c); of clients that come and go there may be any number.
func (h *handle) clientLeft(c *kit.Context[handleMessage], ask messaging.Ask) {
	r, reads := h.reads[ask]
	if !reads {
		return
	}
	if r.handed {
		h.sent(c, ask)
		return
	}
	if job := h.jobs[r.id]; !job.left[r.kind] {
		job.left[r.kind], r.left = true, true
		return
	}
	r.cancel()
	h.finish(c, ask, false)
}

// link waits for the job's end, or until it wrote too much, and then reads all.
func (h *handle) link(c *kit.Context[handleMessage], ask messaging.Ask, id uint32) {
	job, ok := h.linkable(ask, id)
	if !ok {
		return
	}
	t, most, discard := h.w.Transcripts, h.w.Designer.OutputMax(), h.note.Jobs[id].Discard
	written := h.written(id, job)
	h.reads[ask].kind = links
	h.reads[ask].cancel = kit.Pipe(c, "link", func(ctx context.Context) (g gathered, err error) {
		if discard {
			err = h.w.await(ctx, job.ended)
		} else if _, err = t.Exceeds(ctx, written, most); err == nil {
			g.stdout, g.stderr, g.exceeded, err = t.Gather(written, most)
		}
		if err != nil {
			return g, err
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
	if m.err != nil {
		c.Log().Warn("a job's output can't be read", "container", h.id, "job", m.id, "error", m.err)
	}
	if m.err != nil && !errors.Is(m.err, fs.ErrNotExist) { // it is there for who asks again
		h.fail(m.ask, helperFailed)
		h.finish(c, m.ask, false)
		return
	}
	if m.exceeded && h.note.event(eventOutput) {
		h.keep(c)
	}
	h.answer(m.ask, messaging.JobLinked{
		Status: job.status(m.exceeded), Stdout: m.stdout, Stderr: m.stderr, Info: h.info(m.stats),
	})
	h.hand(c, m.ask, m.exceeded)
}

// hand keeps the job until the client has the answer. One that has left waits for
// nothing.
func (h *handle) hand(c *kit.Context[handleMessage], ask messaging.Ask, exceeded bool) {
	r := h.reads[ask]
	r.handed, r.exceeded = true, exceeded
	h.jobs[r.id].consumed = true
	if r.left {
		h.sent(c, ask)
	}
}

// sent lets a job go whose end a client has.
func (h *handle) sent(c *kit.Context[handleMessage], ask messaging.Ask) {
	r, reads := h.reads[ask]
	if !reads || !r.handed {
		return
	}
	if r.exceeded {
		h.note.consumed(r.id)
		h.keep(c)
	}
	h.finish(c, ask, true)
}

// stream looks first: what a client learns of the container is from before the
// first chunk.
func (h *handle) stream(c *kit.Context[handleMessage], ask messaging.Ask, id uint32) {
	if _, ok := h.linkable(ask, id); !ok {
		return
	}
	h.reads[ask].kind = streams
	h.reads[ask].cancel = kit.Pipe(c, "look",
		func(ctx context.Context) (isolation.Stats, error) { return h.w.Live.Stats(ctx, h.id) },
		func(s isolation.Stats, err error) handleMessage { return looked{ask, id, s, err} })
}

// errTooMuch ends the reading of a job that wrote more than it may.
var errTooMuch = errors.New("more than the output's limit")

func (h *handle) looked(c *kit.Context[handleMessage], m looked) {
	if m.err != nil && !errors.Is(m.err, isolation.ErrGone) { // what a dead container's jobs wrote is there
		h.fail(m.ask, words("inspect", m.err))
		h.finish(c, m.ask, false)
		return
	}
	job, info, most := h.jobs[m.id], h.info(m.stats), h.w.Designer.OutputMax()
	discard, written := h.note.Jobs[m.id].Discard, h.written(m.id, job)
	h.reads[m.ask].cancel = kit.Pipe(c, "stream", func(ctx context.Context) (struct{}, error) {
		if discard {
			return struct{}{}, h.w.await(ctx, job.ended)
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
	if m.err != nil && !m.exceeded {
		if !errors.Is(m.err, ErrClientGone) {
			c.Log().Warn("a job's output can't be read", "container", h.id, "job", m.id, "error", m.err)
			h.fail(m.ask, helperFailed)
		}
		h.finish(c, m.ask, false)
		return
	}
	h.answer(m.ask, messaging.JobStreamed{Status: h.jobs[m.id].status(m.exceeded), Info: m.info})
	h.hand(c, m.ask, m.exceeded)
}
