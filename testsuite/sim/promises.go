package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/deacon-agent/deacon/messaging"
	"github.com/deacon-agent/deacon/testsuite/model"
)

// promise is a container that a client was told of: until somebody wants it gone,
// or nobody has named it for its grace time, it is there.
type promise struct {
	handle string
	grace  time.Duration
	seen   time.Time         // when a request that names it was answered last
	doomed bool              // somebody asked for its end
	jobs   map[uint32]string // what those write for others that a client was told of
}

// named is one job as clients name it.
type named struct {
	handle string
	job    uint32
}

// doom notes what may end by a request, or be nobody else's from then on.
func (c *clients) doom(a *asked) {
	switch m := a.command.(type) {
	case messaging.DestroyContainer:
		c.unwanted[m.Handle] = a.at
		for _, p := range c.kept {
			p.doomed = p.doomed || p.handle == m.Handle
		}
	default:
		if job, reads := readOf(m); reads {
			a.first = c.first(job)
		}
	}
}

// doomAll is a node's goodbye.
func (c *clients) doomAll() {
	for _, p := range c.kept {
		p.doomed = true
	}
}

func (c *clients) first(job named) bool {
	read := c.read[job]
	c.read[job] = true
	return !read
}

// holds says that nothing has happened yet that may end it.
func (c *clients) holds(id string, p *promise) bool {
	return !p.doomed && !c.w.store.leaving && !c.w.watch.excused(id) && c.w.clock.Now().Sub(p.seen) < p.grace
}

// destroyed says what is wrong with a container's end.
func (c *clients) destroyed(r model.Resident) string {
	p := c.kept[r.Spec.ID]
	if p == nil {
		return ""
	}
	delete(c.kept, r.Spec.ID)
	if c.holds(r.Spec.ID, p) {
		return fmt.Sprintf("%s (%s) is destroyed, which nobody wanted, %s after it was named last; its grace time is %s",
			r.Spec.ID, p.handle, c.w.clock.Now().Sub(p.seen), p.grace)
	}
	return ""
}

// broken says which promise an answer breaks, and takes down those that it makes.
func (c *clients) broken(a *asked, answer messaging.Answer) string {
	if list, is := answer.(messaging.ContainersListed); is {
		return c.unlisted(a, list)
	}
	if m, is := a.command.(messaging.CreateContainer); is {
		return c.created(a.at, m, answer)
	}
	m, is := a.command.(messaging.ContainerCommand)
	if !is {
		return ""
	}
	if failed, no := answer.(messaging.Failed); no && failed.Text == "unknown handle" {
		for id, p := range c.kept {
			if p.handle == m.Named() && p.seen.Before(a.at) && c.holds(id, p) {
				return fmt.Sprintf("%s: %s is there", describe(a.command), id)
			}
		}
		return ""
	}
	for _, r := range c.named(m.Named(), a) {
		if p := c.kept[r.Spec.ID]; p != nil {
			p.doomed = p.doomed || a.at.Sub(p.seen) >= p.grace // its end may have been on its way
			p.seen = c.w.clock.Now()
			if wrong := c.untrue(a, answer, r, p); wrong != "" {
				return fmt.Sprintf("%s in %s is answered %s: %s", describe(a.command), r.Spec.ID, describeAnswer(answer), wrong)
			}
		}
	}
	return ""
}

func (c *clients) created(at time.Time, m messaging.CreateContainer, answer messaging.Answer) string {
	done, is := answer.(messaging.ContainerCreated)
	if !is {
		return ""
	}
	doomed := c.w.store.leaving || !c.unwanted[done.Handle].Before(at) // by somebody who didn't wait for it
	found := c.named(done.Handle, &asked{ids: c.w.ids})
	switch {
	case len(found) > 0:
	case doomed: // the answer was slower than its end
		return ""
	default:
		return fmt.Sprintf("%s is told to be made, and isn't there", done.Handle)
	}
	c.kept[found[0].Spec.ID] = &promise{
		handle: done.Handle, grace: *m.Grace, seen: c.w.clock.Now(), jobs: map[uint32]string{},
		doomed: doomed,
	}
	return ""
}

// unlisted is what a list leaves out.
func (c *clients) unlisted(a *asked, list messaging.ContainersListed) string {
	for id, p := range c.kept {
		if p.seen.Before(a.at) && c.holds(id, p) && !slices.Contains(list.Handles, p.handle) {
			return fmt.Sprintf("%s (%s) is not listed: %q", id, p.handle, list.Handles)
		}
	}
	return ""
}

// untrue says what of an answer isn't as it is in the container.
func (c *clients) untrue(a *asked, answer messaging.Answer, r model.Resident, p *promise) string {
	switch m := answer.(type) {
	case messaging.JobSpawned:
		spawn, _ := a.command.(messaging.SpawnJob)
		words := strings.Join(strings.Fields(spawn.Script.Text), " ")
		if j, there := r.Jobs[m.Job]; !there || j.Words != words {
			return fmt.Sprintf("job %d is another: %q", m.Job, j.Words)
		}
		if spawn.Script.Discard {
			words = ""
		}
		p.jobs[m.Job] = words
	case messaging.JobLinked:
		if link, is := a.command.(messaging.LinkJob); is {
			return c.misread(reading{link.Job, m.Status, string(m.Stdout)}, r, p)
		}
	case messaging.JobStreamed:
		if stream, is := a.command.(messaging.StreamJob); is {
			return c.misread(reading{stream.Job, m.Status, string(a.chunks)}, r, p)
		}
	case messaging.PortMapped:
		for _, port := range r.Spec.Network.Ports {
			if uint32(port.Host) == m.Host && uint32(port.Container) == m.Container {
				return ""
			}
		}
		return fmt.Sprintf("its ports are %v", r.Spec.Network.Ports)
	case messaging.MemoryLimited:
		if r.Spec.Limits.MemoryBytes != int64(m.Bytes) {
			return fmt.Sprintf("its limits are %+v", r.Spec.Limits)
		}
	case messaging.Failed:
		return c.denied(a, m, r, p)
	default: // says nothing that could be wrong
	}
	return ""
}

// denied: a job that somebody was told of, and that nobody has read, is there.
func (c *clients) denied(a *asked, m messaging.Failed, r model.Resident, p *promise) string {
	link, is := a.command.(messaging.LinkJob)
	if _, told := p.jobs[link.Job]; is && told && a.first && m.Text == "no such job" && !c.unsure[r.Spec.ID] {
		return fmt.Sprintf("it was told to be started, and its end is %v", r.Jobs[link.Job].Exit)
	}
	return ""
}

// reading is what somebody was told who read all of a job.
type reading struct {
	job, status uint32
	output      string
}

// misread is what is wrong with that.
func (c *clients) misread(m reading, r model.Resident, p *promise) string {
	words, told := p.jobs[m.job]
	job, there := r.Jobs[m.job]
	want := uint32(255)
	if job.Exit != nil && job.Exit.Signal == 0 {
		want = uint32(job.Exit.Code)
	}
	switch {
	case c.w.watch.excused(r.Spec.ID): // who watched the job was given up
	case !there && !told: // it was asked for, and said not to be there: none was started
	case !there:
		return "there is no such job"
	case m.status != want:
		return fmt.Sprintf("it ended with %d", want)
	case told && m.output != words:
		return fmt.Sprintf("it wrote %q, and not %q", words, m.output)
	}
	return ""
}
